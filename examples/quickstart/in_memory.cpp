// A protocol tested without sockets, keys or waiting: both of its ends run in this thread over a pair of
// connections in memory. The protocol is a counter: each request adds a byte, the answer is the sum.
#include <copse/copse.hpp>
#include <copse/sim/memory_transport.hpp>

#include <array>
#include <iostream>

using namespace copse;

namespace {

// ---- the protocol: what a user has written and wants to test -----------------------------------

constexpr std::uint64_t overflow_code = 7;

awaitable<result<void>> serve(std::shared_ptr<connection> peer)
{
    for (;;) {
        auto stream = co_await peer->accept_bi();
        if (!stream) co_return outcome::success();  // the connection has ended
        std::array<std::byte, 64> part;
        unsigned sum = 0;
        std::size_t got = 1;
        while (got > 0) {
            const auto n = co_await stream.value().recv->read(part);
            if (!n) break;  // this request was given up, the next may come
            got = n.value();
            for (const std::byte b : byte_view(part).first(got)) {
                sum += std::to_integer<unsigned>(b);
            }
        }
        if (got > 0) continue;
        if (sum > 255) {
            stream.value().send->reset(overflow_code);
            continue;
        }
        const std::array<std::byte, 1> answer{std::byte(sum)};
        COPSE_CO_TRYV(co_await stream.value().send->write_copy(answer));
        stream.value().send->finish();
    }
}

/// \par Errors std::errc::value_too_large when the server says so, transport codes.
awaitable<result<unsigned>> add(std::shared_ptr<connection> server, std::vector<std::byte> numbers)
{
    COPSE_CO_TRY(const bidi_stream stream, co_await server->open_bi());
    COPSE_CO_TRYV(co_await stream.send->write_copy(numbers));
    stream.send->finish();
    std::array<std::byte, 1> answer;
    const auto n = co_await stream.recv->read(answer);
    if (!n && stream.recv->reset_code() == overflow_code)
        co_return make_error_code(std::errc::value_too_large);
    if (!n) co_return n.error();
    if (n.value() == 0) co_return transport_errc::protocol_violation;
    co_return std::to_integer<unsigned>(answer[0]);
}

// ---- its tests -----------------------------------------------------------------------------------

int failures = 0;

void check(bool good, std::string_view what)
{
    if (good) return;
    std::cerr << "failed: " << what << '\n';
    ++failures;
}

// [test]
awaitable<result<void>> test(std::uint64_t seed)
{
    const executor ex = co_await asio::this_coro::executor;
    sim::memory_transport_options options;
    options.seed = seed;                           // other pieces, another order
    options.acceptor.remote_stream_window = 1000;  // long requests must wait for credit
    auto pair = sim::make_connection_pair(ex, options);
    scope serving(ex);
    serving.spawn(serve(std::move(pair.acceptor)));

    const std::vector<std::byte> twos(3, std::byte{2});
    const auto six = co_await add(pair.dialler, twos);
    check(six && six.value() == 6, "small numbers are added");
    const auto zeros = co_await add(pair.dialler, std::vector<std::byte>(10'000));
    check(zeros && zeros.value() == 0, "a long request goes through a small window");
    const std::vector<std::byte> too_much(2, std::byte{200});
    const auto large = co_await add(pair.dialler, too_much);
    check(!large && large.error() == std::errc::value_too_large, "an overflow has its own error");

    pair.link.cut();  // the peer is lost
    const auto lost = co_await add(pair.dialler, twos);
    check(!lost && lost.error() == transport_errc::idle_timeout, "a lost peer is noticed");
    co_return co_await serving.join();  // and the server ended by itself
}
// [test]

}  // namespace

int main()
{
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
        const auto done = run_until_complete(test(seed));
        check(done.has_value(), "the server ends cleanly");
        if (failures == 0) continue;
        std::cerr << "with seed " << seed << '\n';
        return 1;
    }
    std::cout << "passed with 100 seeds\n";
}
