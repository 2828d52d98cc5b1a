// A protocol of one's own, the server: sends back each stream and each datagram until Ctrl-C. The client
// is echo_client.cpp; tests/interop/rust has both sides for the iroh crate.
#include <copse/codec/key_text.hpp>
#include <copse/copse.hpp>

#include <iostream>

using namespace copse;

namespace {

// [serve]
constexpr std::string_view protocol = "copse/echo/1";

awaitable<void> echo_stream(bidi_stream stream)
{
    std::vector<std::byte> part(16384);
    for (;;) {
        const auto n = co_await stream.recv->read(part);
        if (!n) co_return;          // dropping the stream resets it
        if (n.value() == 0) break;  // the peer has said everything
        const byte_view text = byte_view(part).first(n.value());
        const auto sent = co_await stream.send->write_copy(text);  // waits while the peer is slow
        if (!sent) co_return;
    }
    stream.send->finish();
    const auto done = co_await stream.send->acknowledged();
    static_cast<void>(done);  // the peer has it, or is gone: nothing is left to do either way
}

awaitable<void> echo_datagrams(std::shared_ptr<connection> peer)
{
    for (;;) {
        auto message = co_await peer->receive_datagram();
        if (!message) break;  // the connection has ended, or we were asked to stop
        const auto sent = peer->send_datagram(std::move(message).value());
        static_cast<void>(sent);  // a full queue loses it, as the network may
    }
}

awaitable<void> serve(std::shared_ptr<connection> peer)
{
    scope work(peer->get_executor());
    work.spawn(echo_datagrams(peer));
    for (;;) {
        auto stream = co_await peer->accept_bi();  // at most max_remote_streams at the same time
        if (!stream) break;
        work.spawn(echo_stream(std::move(stream).value()));
    }
    work.request_stop();
    const auto joined = co_await work.join();
    static_cast<void>(joined);  // streams handle their own failures
}

awaitable<void> listen(quic::listener listener)
{
    const executor ex = co_await asio::this_coro::executor;
    scope peers(ex);
    for (;;) {
        auto peer = co_await listener.accept();
        if (!peer) break;  // Ctrl-C
        peers.spawn(serve(std::move(peer).value()));
    }
    peers.request_stop();
    const auto joined = co_await peers.join();
    static_cast<void>(joined);  // so do connections
}
// [serve]

awaitable<result<void>> run(quic::endpoint_options options)
{
    const executor ex = co_await asio::this_coro::executor;
    COPSE_CO_TRY(quic::endpoint endpoint, quic::endpoint::make(ex, options));
    quic::listener listener = endpoint.listen(protocol);
    std::cout << "id " << codec::to_string(endpoint.id()) << '\n';
    for (const auto& bound : endpoint.bound_addresses()) {
        std::cout << "addr " << bound.to_string() << '\n';
    }
    std::cout << "ready" << std::endl;
    co_await listen(std::move(listener));
    co_await endpoint.close();
    co_return outcome::success();
}

}  // namespace

int main(int argc, char** argv)
{
    if (argc > 2) {
        std::cerr << "usage: quickstart-echo [ADDRESS:PORT]\n";
        return 2;
    }
    const auto address = socket_address::parse(argc == 2 ? argv[1] : "127.0.0.1:0");
    if (!address) return 2;
    quic::endpoint_options options;
    options.bind = {address.value()};
    options.max_remote_streams = 64;  // of a peer at the same time; its further ones wait there
    const auto done = run_until_complete(run(options));
    if (!done) std::cerr << "error: " << done.error().message() << '\n';
    return done ? 0 : 1;
}
