// A protocol of one's own, the client: opens streams at the same time, then sends datagrams, and checks
// that everything comes back. The server is echo.cpp.
#include <copse/codec/key_text.hpp>
#include <copse/copse.hpp>
#include <copse/core/race.hpp>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <iostream>

using namespace copse;
using namespace std::chrono_literals;

namespace {

constexpr std::string_view protocol = "copse/echo/1";

// [stream]
awaitable<result<void>> say(send_stream& to, byte_view text)
{
    COPSE_CO_TRYV(co_await to.write_copy(text));
    to.finish();
    co_return outcome::success();
}

awaitable<result<std::vector<std::byte>>> hear(recv_stream& from, std::size_t limit)
{
    std::vector<std::byte> out;
    std::vector<std::byte> part(16384);
    for (;;) {
        COPSE_CO_TRY(const std::size_t n, co_await from.read(part));
        if (n == 0) co_return out;
        if (out.size() + n > limit) co_return make_error_code(std::errc::message_size);
        out.insert(out.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(n));
    }
}

awaitable<result<void>> echo(std::shared_ptr<connection> peer, std::vector<std::byte> text)
{
    COPSE_CO_TRY(const bidi_stream stream, co_await peer->open_bi());
    scope speaking(peer->get_executor());  // at the same time: the server answers as it reads
    speaking.spawn(say(*stream.send, text));
    const auto heard = co_await hear(*stream.recv, text.size());
    if (!heard) speaking.request_stop();
    COPSE_CO_TRYV(co_await speaking.join());
    if (!heard) co_return heard.error();
    if (heard.value() != text) co_return make_error_code(std::errc::bad_message);
    co_return outcome::success();
}
// [stream]

// [datagram]
awaitable<result<void>> echo_datagram(std::shared_ptr<connection> peer, shared_bytes text)
{
    for (int tries = 0; tries < 10; ++tries) {
        COPSE_CO_TRYV(peer->send_datagram(text));
        auto answering = peer->receive_datagram();
        const auto heard = co_await with_timeout(std::move(answering), 500ms);
        if (heard && std::ranges::equal(heard.value().bytes, text.bytes)) {
            co_return outcome::success();
        }
        // Lost, or the late answer to an earlier one: datagrams promise nothing. Once more.
        if (!heard && heard.error() != std::errc::timed_out) co_return heard.error();
    }
    co_return make_error_code(std::errc::timed_out);
}
// [datagram]

std::vector<std::byte> pattern(std::size_t seed, std::size_t size)
{
    std::vector<std::byte> out(size);
    for (std::size_t i = 0; i < size; ++i)
        out[i] = std::byte(((i + seed) * 2654435761U >> 13) & 255);
    return out;
}

struct plan {
    endpoint_address server;
    std::size_t streams = 1;
    std::size_t bytes = 1000;
    std::size_t datagrams = 1;
};

awaitable<result<void>> talk(quic::endpoint& endpoint, const plan& p)
{
    COPSE_CO_TRY(const auto peer, co_await endpoint.connect(p.server, std::string(protocol)));
    scope streams(endpoint.get_executor());
    for (std::size_t i = 0; i < p.streams; ++i) streams.spawn(echo(peer, pattern(i, p.bytes)));
    COPSE_CO_TRYV(co_await streams.join());
    std::cout << "streams " << p.streams << '\n';
    if (p.datagrams == 0) co_return outcome::success();
    std::cout << "max-datagram " << peer->max_datagram_payload() << '\n';
    for (std::size_t i = 0; i < p.datagrams; ++i) {
        // It grows with what the path takes. The way back may take less, but 1,100 bytes always.
        const std::size_t most = std::min<std::size_t>(peer->max_datagram_payload(), 1100);
        const std::size_t size = p.datagrams == 1 ? most : most * i / (p.datagrams - 1);
        COPSE_CO_TRYV(co_await echo_datagram(peer, shared_bytes::copy(pattern(i, size))));
    }
    std::cout << "datagrams " << p.datagrams << '\n';
    co_return outcome::success();
}

awaitable<result<void>> run(const plan& p)
{
    quic::endpoint_options options;
    options.bind = {socket_address::loopback_v4(0)};
    const executor ex = co_await asio::this_coro::executor;
    COPSE_CO_TRY(quic::endpoint endpoint, quic::endpoint::make(ex, options));
    const auto done = co_await talk(endpoint, p);
    co_await endpoint.close();
    co_return done;
}

}  // namespace

int main(int argc, char** argv)
{
    plan p;
    bool good = argc >= 3 && argc <= 6;
    std::size_t* const numbers[] = {&p.streams, &p.bytes, &p.datagrams};
    for (int i = 3; good && i < argc; ++i) {
        const char* const end = argv[i] + std::strlen(argv[i]);
        good = std::from_chars(argv[i], end, *numbers[i - 3]).ptr == end;
    }
    const auto id = codec::parse_endpoint_id(good ? argv[1] : "");
    const auto address = socket_address::parse(good ? argv[2] : "");
    if (!id || !address) {
        std::cerr
            << "usage: quickstart-echo_client ID ADDRESS:PORT [STREAMS [BYTES [DATAGRAMS]]]\n";
        return 2;
    }
    p.server.id = id.value();
    p.server.paths.emplace_back(address.value());
    const auto done = run_until_complete(run(p));
    if (!done) std::cerr << "error: " << done.error().message() << '\n';
    return done ? 0 : 1;
}
