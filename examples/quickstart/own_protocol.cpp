// A protocol of one's own over quic: a request is text, the answer is the same text in capitals. Client
// and server run in one process here; they share nothing but an address.
#include <copse/copse.hpp>

#include <cctype>
#include <iostream>

using namespace copse;

namespace {

constexpr std::string_view protocol = "/example/shout/1";

// [serve]
awaitable<void> answer(bidi_stream stream)
{
    std::vector<std::byte> part(4096);
    for (;;) {
        const auto n = co_await stream.recv->read(part);
        if (!n) co_return;          // dropping the stream resets it
        if (n.value() == 0) break;  // the request has ended
        const byte_span text = byte_span(part).first(n.value());
        for (std::byte& b : text) b = std::byte(std::toupper(std::to_integer<int>(b)));
        const auto sent = co_await stream.send->write_copy(text);  // waits while the peer is slow
        if (!sent) co_return;
    }
    stream.send->finish();
    const auto done = co_await stream.send->acknowledged();
    static_cast<void>(done);  // the peer has it, or is gone: nothing is left to do either way
}

awaitable<void> serve(std::shared_ptr<connection> peer)
{
    scope requests(peer->get_executor());
    for (;;) {
        const std::error_code stopped = co_await requests.wait_below(16);
        if (stopped) break;
        auto stream = co_await peer->accept_bi();
        if (!stream) break;  // the connection has ended, or we were asked to stop
        requests.spawn(answer(std::move(stream).value()));
    }
    requests.request_stop();
    const auto joined = co_await requests.join();
    static_cast<void>(joined);  // answers handle their own failures
}

awaitable<void> listen(quic::listener listener)
{
    const executor ex = co_await asio::this_coro::executor;
    scope peers(ex);
    for (;;) {
        auto peer = co_await listener.accept();
        if (!peer) break;
        peers.spawn(serve(std::move(peer).value()));
    }
    peers.request_stop();
    const auto joined = co_await peers.join();
    static_cast<void>(joined);  // so do connections
}
// [serve]

// [ask]
awaitable<result<std::string>> ask(quic::endpoint& endpoint, endpoint_address server,
                                   std::string text)
{
    COPSE_CO_TRY(const auto peer, co_await endpoint.connect(server, std::string(protocol)));
    COPSE_CO_TRY(const bidi_stream stream, co_await peer->open_bi());
    COPSE_CO_TRYV(co_await stream.send->write_copy(as_bytes(text)));
    stream.send->finish();
    std::string reply;
    std::vector<std::byte> part(4096);
    for (;;) {
        COPSE_CO_TRY(const std::size_t n, co_await stream.recv->read(part));
        if (n == 0) co_return reply;
        if (reply.size() + n > 1'000'000) co_return make_error_code(std::errc::message_size);
        reply += as_text(byte_view(part).first(n));
    }
}
// [ask]

awaitable<result<void>> run(std::string& reply)
{
    const executor ex = co_await asio::this_coro::executor;
    quic::endpoint_options options;
    options.bind = {socket_address::loopback_v4(0)};
    COPSE_CO_TRY(quic::endpoint server, quic::endpoint::make(ex, options));
    scope serving(ex);
    serving.spawn(listen(server.listen(protocol)));
    options.identity = quic::secret_key::generate();
    auto client = quic::endpoint::make(ex, options);
    std::error_code failed;
    if (client) {
        auto asked = co_await ask(client.value(), server.address(), "hello, copse");
        if (asked) reply = std::move(asked).value();
        else failed = asked.error();
        co_await client.value().close();
    } else {
        failed = client.error();
    }
    co_await server.close();  // ends listen() too
    const auto joined = co_await serving.join();
    if (failed) co_return failed;
    co_return joined;
}

}  // namespace

int main()
{
    std::string reply;
    const auto done = run_until_complete(run(reply));
    if (!done) std::cerr << "error: " << done.error().message() << '\n';
    std::cout << reply << '\n';
    return done && reply == "HELLO, COPSE" ? 0 : 1;
}
