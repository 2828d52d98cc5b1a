// copse, with standalone Asio, in a program that has Boost.Asio in another file: the two run at the same
// time, each with an io_context, sockets and coroutines of its own.
#include <copse/copse.hpp>

#include <cstdio>
#include <future>
#include <string>

using namespace copse;

std::string datagram_with_boost();  // theirs.cpp

namespace {

awaitable<result<void>> handshake()
{
    const executor ex = co_await asio::this_coro::executor;
    quic::endpoint_options options;
    options.bind = {socket_address::loopback_v4(0)};
    COPSE_CO_TRY(quic::endpoint server, quic::endpoint::make(ex, options));
    const quic::listener listener = server.listen("/consumer/1");
    options.identity = quic::secret_key::generate();
    auto client = quic::endpoint::make(ex, options);
    std::error_code failed;
    if (client) {
        const auto peer = co_await client.value().connect(server.address(), "/consumer/1");
        if (!peer) failed = peer.error();
        co_await client.value().close();
    } else {
        failed = client.error();
    }
    co_await server.close();
    if (failed) co_return failed;
    co_return outcome::success();
}

}  // namespace

int main()
{
    auto theirs = std::async(std::launch::async, datagram_with_boost);
    const auto done = run_until_complete(handshake());
    const std::string text = theirs.get();
    if (!done) std::fprintf(stderr, "%s\n", done.error().message().c_str());
    if (!done || text != "hello") return 1;
    std::puts("copse and Boost.Asio work");
}
