// A node of one's own in the simulator: it keeps numbers that peers send, and answers once they are on its
// disk. In each of many worlds its machine loses power, its network fails, and what it promised is checked.
#include <copse/copse.hpp>
#include <copse/core/race.hpp>
#include <copse/sim/campaign.hpp>
#include <copse/sim/interpose.ipp>

#include <algorithm>
#include <array>
#include <set>

using namespace copse;
using namespace std::chrono_literals;

namespace {

// ---- the node: what a user has written; it knows nothing of simulation --------------------------------

constexpr std::string_view alpn = "example/numbers";

awaitable<void> keep_numbers(std::shared_ptr<connection> peer, file& book)
{
    for (;;) {
        auto stream = co_await peer->accept_bi();
        if (!stream) co_return;  // the connection has ended
        std::array<std::byte, 1> number{};
        const auto got = co_await stream.value().recv->read(number);
        if (!got || got.value() == 0) continue;
        const auto size = book.size();
        const bool kept = size && book.write_at(number, size.value()) && book.sync();
        if (!kept) {
            stream.value().send->reset(1);
            continue;
        }
        const auto answered = co_await stream.value().send->write_copy(number);
        if (answered) stream.value().send->finish();
    }
}

awaitable<result<void>> keeper(quic::endpoint& at, file_system& files)
{
    open_options how;
    how.write = how.create = true;
    std::unique_ptr<file> book;
    while (!book) {
        auto opened = files.open("/book", how);
        if (opened && files.sync_directory("/")) {
            book = std::move(opened).value();
        } else {
            const std::error_code stopped = co_await sleep_for(100ms);
            if (stopped) break;
        }
    }
    auto listening = at.listen(alpn);
    scope peers(at.get_executor());
    while (book) {
        auto peer = co_await listening.accept();
        if (!peer) break;  // asked to end
        peers.spawn(keep_numbers(std::move(peer).value(), *book));
    }
    peers.request_stop();
    const auto ended = co_await peers.join();
    co_await at.close();
    co_return ended;
}

awaitable<result<void>> send_number(quic::endpoint& from, endpoint_address to, std::byte number)
{
    COPSE_CO_TRY(auto peer, co_await from.connect(std::move(to), std::string(alpn)));
    COPSE_CO_TRY(const bidi_stream stream, co_await peer->open_bi());
    std::array<std::byte, 1> answer{number};
    COPSE_CO_TRYV(co_await stream.send->write_copy(answer));
    stream.send->finish();
    COPSE_CO_TRY(const std::size_t n, co_await stream.recv->read(answer));
    if (n == 0) co_return transport_errc::protocol_violation;
    co_return outcome::success();
}

// ---- its world ------------------------------------------------------------------------------------------

quic::endpoint endpoint_of(sim::host& h, quic::endpoint_options o = {}, std::uint16_t port = 0)
{
    std::vector<std::unique_ptr<datagram_socket>> sockets;
    sockets.push_back(h.bind(port).value());
    return quic::endpoint::make(h.computer().life().get_executor(), std::move(o),
                                std::move(sockets))
        .value();
}

// [world]
awaitable<result<void>> keep(sim::host& h, sim::disk& d, const quic::secret_key& key)
{
    quic::endpoint_options o;
    o.identity = key;
    const auto files = d.mount();
    auto at = endpoint_of(h, o, 4433);
    const auto ended = co_await keeper(at, *files);
    co_return ended;
}

awaitable<result<void>> sender(sim::host& h, const endpoint_address& to,
                               std::set<std::byte>& promised)
{
    auto from = endpoint_of(h);
    while (promised.size() < 20) {
        const auto next = static_cast<std::byte>(promised.size() + 1);
        const auto sent = co_await with_timeout(send_number(from, to, next), 3s);
        if (sent) promised.insert(next);
        const std::error_code stopped = co_await sleep_for(300ms);
        if (stopped) break;
    }
    co_await from.close();
    co_return outcome::success();
}

void play(sim::run& r)
{
    std::set<std::byte> promised;  // programs refer to it: it outlives their world
    endpoint_address where;
    sim::stage stage(r);
    auto& a = stage.world.add_machine("keeper");
    auto& b = stage.world.add_machine("sender");
    auto& on_a = stage.network.add_host(a);
    auto& on_b = stage.network.add_host(b, sim::nat_kind::symmetric);
    sim::disk disk(stage.world, a);
    on_a.up.loss = on_b.up.loss = static_cast<unsigned>(r.dice().below(50));

    const auto key = quic::secret_key::generate();
    where = {key.id(), {on_a.address(4433)}};
    const auto start_a = [&] { a.start(keep(on_a, disk, key)); };
    start_a();
    b.start(sender(on_b, where, promised));
    stage.start_faults({{&a, &on_a, &disk, start_a}, {&b, &on_b, nullptr, {}}});

    const auto ran = stage.world.run_until([&] { return b.running() == 0; }, 10min);
    r.check(ran.has_value(), "all numbers are taken at last");
    if (disk.statistics().sectors_lost > 0) r.reached("lost_writes");
    stage.shut_down();
    std::array<std::byte, 1000> book{};
    const auto files = disk.mount();
    const auto file = files->open("/book", {});
    const auto size = file ? file.value()->read_at(byte_span(book), 0).value() : 0;
    for (const std::byte number : promised) {
        const auto end = book.begin() + static_cast<std::ptrdiff_t>(size);
        r.check(std::find(book.begin(), end, number) != end, "what was promised is on the disk");
    }
}

// [world]

}  // namespace

// [main]
int main(int argc, char** argv)
{
    using kind = sim::fault_kind;
    sim::scenario numbers;
    numbers.name = "numbers";
    numbers.about = "a keeper of numbers loses power, its disk and network fail";
    numbers.faults.choices = {{kind::crash, 4, {0}}, {kind::partition},   {kind::freeze},
                              {kind::loss},          {kind::disk_errors}, {kind::forget_mappings}};
    numbers.states = {"lost_writes"};
    numbers.play = play;
    return sim::campaign_main(argc, argv, {numbers});
}
// [main]
