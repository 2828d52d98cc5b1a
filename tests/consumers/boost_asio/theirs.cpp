// The part of the program that uses Boost.Asio. A file of its own: Boost before 1.75 and standalone Asio
// share names outside of their namespaces, so that no file can include both.
#include <string>
#include <utility>  // Boost 1.74 uses std::exchange without it

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>

namespace {

namespace net = boost::asio;

net::awaitable<void> receive(net::ip::udp::socket& socket, std::string& text)
{
    text.resize(16);
    const std::size_t n = co_await socket.async_receive(net::buffer(text), net::use_awaitable);
    text.resize(n);
}

net::awaitable<void> send_later(net::ip::udp::endpoint to)
{
    const auto ex = co_await net::this_coro::executor;
    net::steady_timer timer(ex);
    timer.expires_after(std::chrono::milliseconds(1));
    co_await timer.async_wait(net::use_awaitable);
    net::ip::udp::socket socket(ex, net::ip::udp::v4());
    co_await socket.async_send_to(net::buffer("hello", 5), to, net::use_awaitable);
}

}  // namespace

std::string datagram_with_boost()
{
    net::io_context context;
    net::ip::udp::socket socket(context, {net::ip::address_v4::loopback(), 0});
    std::string text;
    net::co_spawn(context, receive(socket, text), net::detached);
    net::co_spawn(context, send_later(socket.local_endpoint()), net::detached);
    context.run();
    return text;
}
