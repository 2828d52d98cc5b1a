// A peer that does whatever the input says to a provider. Afterwards everything has ended, every budget
// is whole again, and the store holds nothing unverified.
#include "peer_world.hpp"

using namespace copse;
using namespace copse::fuzz;

namespace {

constexpr std::size_t max_opened = 24;  // fits our windows and limits: opening never waits

struct peer {
    std::vector<std::shared_ptr<bidi_stream>> streams;
    std::size_t opened = 0;
};

struct answers : fixture {
    answers() { pushed = true_answer(*this, blob::encode_request(get_list(known.list_root))); }
    std::vector<std::byte> pushed;  ///< what follows a push of the list and its children
};

answers& shared()
{
    static answers a;
    return a;
}

awaitable<void> read_once(std::shared_ptr<bidi_stream> s, std::size_t n)
{
    std::vector<std::byte> part(n);
    const auto got = co_await s->recv->read(part);
    static_cast<void>(got);
}

std::vector<std::byte> request_of(unsigned kind, script& in)
{
    const contents& known = shared().known;
    std::vector<std::byte> out;
    switch (kind % 7) {
    case 0: return blob::encode_request(get_one(known.small_root));
    case 1: return blob::encode_request(get_list(known.list_root));
    case 2: {
        const blob::observe_request request{known.large_root, {}};
        return blob::encode_request(request);
    }
    case 3: {
        const blob::get_many_request request{{known.large_root, known.small_root, {}},
                                             blob::ranges_seq::all()};
        return blob::encode_request(request);
    }
    case 4: {
        const blob::push_request request{get_list(known.list_root)};
        return blob::encode_request(request);
    }
    case 5: {  // a push with data, maybe with one wrong byte
        const blob::push_request request{get_list(known.list_root)};
        out = blob::encode_request(request);
        const std::size_t head = out.size();
        const auto& data = shared().pushed;
        const std::size_t most = data.size() * (1 + in.number()) / 256;
        out.insert(out.end(), data.begin(), data.begin() + static_cast<std::ptrdiff_t>(most));
        const std::size_t at = most * in.number() / 256;
        const auto wrong = static_cast<std::byte>(in.number());
        if (head + at < out.size()) out[head + at] ^= wrong;
        return out;
    }
    default: {
        const std::size_t n = in.number();
        const byte_view raw = in.bytes(n);
        return {raw.begin(), raw.end()};
    }
    }
}

awaitable<void> act(std::shared_ptr<connection> c, script in)
{
    scope reading(c->get_executor());
    peer p;
    while (!in.over()) {
        const unsigned action = in.number();
        const unsigned which = action >> 4;
        const auto s = p.streams.empty() ? nullptr : p.streams[which % p.streams.size()];
        switch (action & 15) {
        case 0:
        case 1:
        case 2: {
            if (p.opened == max_opened) break;
            auto opened = co_await c->open_bi();
            if (!opened) break;
            ++p.opened;
            p.streams.push_back(std::make_shared<bidi_stream>(std::move(opened).value()));
            const auto request = request_of(which, in);
            const auto sent = co_await p.streams.back()->send->write_copy(request);
            static_cast<void>(sent);
            if ((action & 15) > 0) p.streams.back()->send->finish();
            break;
        }
        case 3: {
            const auto raw = in.bytes(in.number() & 63);
            if (!s) break;
            const auto sent = co_await s->send->write_copy(raw);
            static_cast<void>(sent);
            break;
        }
        case 4:
            if (s) s->send->finish();
            break;
        case 5:
            if (s) s->send->reset(in.number());
            break;
        case 6:
            if (s) s->recv->stop(in.number());
            break;
        case 7:
            if (s && reading.running() < 64) reading.spawn(read_once(s, 1 + 64 * in.number()));
            break;
        case 8: co_await turns(1 + which); break;
        case 9: co_await turns(1 + in.number()); break;
        case 10: co_await wait(std::chrono::milliseconds(1) * (1U << which)); break;
        case 11: co_await wait(std::chrono::seconds(1 + which)); break;
        case 12:
            if (!p.streams.empty()) {
                p.streams.erase(p.streams.begin() +
                                static_cast<std::ptrdiff_t>(which % p.streams.size()));
            }
            break;
        case 13:
            if (p.opened < max_opened) {
                auto uni = co_await c->open_uni();
                ++p.opened;
                if (uni) uni.value()->finish();
            }
            break;
        case 14: {
            const auto sent = c->send_datagram(shared_bytes::copy(in.bytes(which)));
            static_cast<void>(sent);
            break;
        }
        default: {
            if (which != 0) break;
            c->close(in.number(), "script");
            break;
        }
        }
    }
    c->close(0, "the script is over");
    const auto joined = co_await reading.join();
    static_cast<void>(joined);
}

awaitable<void> serve(std::shared_ptr<connection> c, blob::provide_environment& env,
                      blob::provide_options options, bool& ended)
{
    const auto why = co_await blob::provide(std::move(c), env, std::move(options));
    require(static_cast<bool>(why.error));
    ended = true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    answers& f = shared();
    if (size > 4096) return 0;
    script in(std::as_bytes(std::span(data, size)));
    const unsigned settings = in.number();
    auto transport = small_windows(in.number());
    if (settings & 1) transport.dialler.local_stream_window = 2000;
    if (settings & 2) transport.dialler.connection_window = 3000;
    blob::provide_options options;
    options.max_requests = settings & 4 ? 2 : 32;
    options.max_observers = 3;
    options.max_pushed_blob = 100'000;
    if (settings & 8) options.upload_bytes_per_s = 100'000;
    if (settings & 16) {
        options.hooks.authorise_push = [](const blob::request_info&, const blob::push_request&) {
            return blob::verdict::allow;
        };
    }
    {
        play both;
        store::memory_store provided(1U << 20);
        // With pushes only a part is there already.
        require(provided.add(f.known.large).has_value());
        if (!(settings & 16)) {
            require(provided.add(f.known.small).has_value());
            require(provided.add(f.known.list).has_value());
        }
        const blob::provide_limits limits{1, 20, 5, 0, 64U << 20};
        blob::provide_share share(limits);
        blob::provide_environment env{provided, *f.offload, f.buffers, &share};
        bool ended = false;
        {
            auto pair = sim::make_connection_pair(both.get_executor(), transport);
            both.start(serve(std::move(pair.acceptor), env, std::move(options), ended));
            both.start(act(std::move(pair.dialler), in));
            both.run();
            require(ended);
        }
        require(f.buffers.limits().used() == 0);
        require(share.connections.used() == 0 && share.requests.used() == 0 &&
                share.observers.used() == 0);
        require(provided.used() <= (1U << 20));
        f.known.check(provided);
    }
    return 0;
}
