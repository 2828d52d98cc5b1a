// A provider that answers whatever the input says. The getter ends when the connection does, what it
// stored is true, and its buffers are back.
#include "peer_world.hpp"

#include <copse/blob/observe.hpp>

using namespace copse;
using namespace copse::fuzz;

namespace {

struct answers : fixture {
    answers()
    {
        requests.push_back(blob::encode_request(get_one(known.small_root)));
        requests.push_back(blob::encode_request(get_one(known.large_root)));
        requests.push_back(blob::encode_request(get_list(known.list_root)));
        requests.push_back(blob::encode_request(many()));
        for (const auto& request : requests) truths.push_back(true_answer(*this, request));
    }
    [[nodiscard]] blob::get_many_request many() const
    {
        return {{known.large_root, known.small_root}, blob::ranges_seq::all()};
    }
    std::vector<std::vector<std::byte>> requests;
    std::vector<std::vector<std::byte>> truths;
};

answers& shared()
{
    static answers a;
    return a;
}

awaitable<void> ask(std::shared_ptr<connection> c, unsigned mode, blob::fetch_environment& env,
                    bool& ended)
{
    answers& f = shared();
    blob::fetch_diagnostics where;
    blob::fetch_options options;
    options.max_blob_size = 1'000'000;
    if (mode == 4) {
        auto watching = co_await blob::observer::open(c, f.known.large_root);
        while (watching) {
            const auto next = co_await watching.value().next();
            if (!next) break;
            require(next.value().present.interval_count() <= 1U << 20);
        }
    } else if (mode == 3) {
        auto request = f.many();
        const auto report =
            co_await blob::fetch_many(c, std::move(request), env, std::move(options), where);
        static_cast<void>(report);
    } else {
        const hash::digest roots[] = {f.known.small_root, f.known.large_root, f.known.list_root};
        auto request = get_one(roots[mode]);
        if (mode == 2) request = get_list(roots[mode]);
        const auto report =
            co_await blob::fetch(c, std::move(request), env, std::move(options), where);
        if (report) require(env.store.status(roots[mode]).value().complete());
    }
    ended = true;
    c->close(0, {});
}

awaitable<void> answer(std::shared_ptr<connection> c, script in, unsigned mode)
{
    const auto& truth = shared().truths[mode % 4];
    auto s = co_await c->accept_bi();
    if (!s) co_return;
    send_stream& out = *s.value().send;
    std::size_t told = 0;
    while (!in.over() && !c->why_closed()) {
        const unsigned action = in.number();
        const unsigned amount = action >> 3;
        switch (action & 7) {
        case 0:
        case 1: {  // the truth, a part of it or all that is left
            const std::size_t step =
                action & 1 ? truth.size() : 1 + std::size_t{amount} * amount * 8;
            const std::size_t n = std::min(step, truth.size() - told);
            const auto sent = co_await out.write_copy(byte_view(truth).subspan(told, n));
            if (sent) told += n;
            break;
        }
        case 2: {  // the truth with a wrong byte
            const std::size_t n = std::min<std::size_t>(1 + amount * 64, truth.size() - told);
            std::vector<std::byte> part(truth.begin() + static_cast<std::ptrdiff_t>(told),
                                        truth.begin() + static_cast<std::ptrdiff_t>(told + n));
            const std::size_t at = n * in.number() / 256;
            const auto wrong = static_cast<std::byte>(in.number());
            if (at < n) part[at] ^= wrong;
            told += n;
            const auto sent = co_await out.write_copy(part);
            static_cast<void>(sent);
            break;
        }
        case 3: {
            const auto raw = in.bytes(amount);
            const auto sent = co_await out.write_copy(raw);
            static_cast<void>(sent);
            break;
        }
        case 4: co_await turns(1 + amount * 8); break;
        case 5: co_await wait(std::chrono::seconds(1 + amount)); break;
        case 6: told = truth.size() * amount / 32; break;  // leaves out or repeats
        default:
            if (amount < 8) out.finish();
            else if (amount < 16) out.reset(in.number() & 7);
            else if (amount < 20) s.value().recv->stop(in.number());
            else if (amount < 22) c->close(in.number(), "script");
            else co_await turns(40);
        }
    }
    co_await wait(std::chrono::milliseconds(1));
    c->close(1, "the script is over");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    answers& f = shared();
    if (size > 4096) return 0;
    script in(std::as_bytes(std::span(data, size)));
    const unsigned settings = in.number();
    const unsigned mode = settings % 5;
    auto transport = small_windows(in.number());
    if (settings & 128) transport.dialler.local_stream_window = 4000;
    {
        play both;
        store::memory_store received(settings & 64 ? 30'000 : 1U << 20);
        blob::fetch_environment env{received, *f.offload, f.buffers};
        bool ended = false;
        {
            auto pair = sim::make_connection_pair(both.get_executor(), transport);
            both.start(ask(std::move(pair.dialler), mode, env, ended));
            both.start(answer(std::move(pair.acceptor), in, mode));
            both.run();
            require(ended);
        }
        require(f.buffers.limits().used() == 0);
        f.known.check(received);
    }
    return 0;
}
