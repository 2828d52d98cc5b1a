// Real sockets over loopback, and what the system's calls may answer and hardly ever do.
#undef _FORTIFY_SOURCE  // its inline versions would be in the way of ours

#include <copse/core/run.hpp>
#include <copse/core/scope.hpp>
#include <copse/udp/socket.hpp>

#include "catch.hpp"
#include "support.hpp"
#include "tests/faulty_calls.hpp"

#include <dlfcn.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <utility>
#include <vector>

using namespace copse;
using test::planned_fault;

extern "C" {

ssize_t sendmsg(int fd, const msghdr* message, int flags)
{
    if (planned_fault::fails("sendmsg")) return -1;
    return ::syscall(SYS_sendmsg, fd, message, flags);
}

ssize_t recvmsg(int fd, msghdr* message, int flags)
{
    if (planned_fault::fails("recvmsg")) return -1;
    return ::syscall(SYS_recvmsg, fd, message, flags);
}

int setsockopt(int fd, int level, int option, const void* value, socklen_t size) noexcept
{
    if (planned_fault::fails(option == 103 && level == 17 ? "UDP_SEGMENT" : "setsockopt"))
        return -1;
    return static_cast<int>(::syscall(SYS_setsockopt, fd, level, option, value, size));
}

int getsockname(int fd, sockaddr* to, socklen_t* size) noexcept
{
    if (planned_fault::fails("getsockname")) return -1;
    return static_cast<int>(::syscall(SYS_getsockname, fd, to, size));
}

int socket(int domain, int type, int protocol) noexcept
{
    if (planned_fault::fails("socket")) return -1;
    return static_cast<int>(::syscall(SYS_socket, domain, type, protocol));
}

int getifaddrs(ifaddrs** list) noexcept
{
    if (planned_fault::fails("getifaddrs")) return -1;
    static const auto real = reinterpret_cast<int (*)(ifaddrs**)>(::dlsym(RTLD_NEXT, "getifaddrs"));
    return real(list);
}
}

namespace {

// Two sockets on loopback; small ones, so that they fill up.
struct sockets {
    explicit sockets(executor ex, const char* host = "127.0.0.1:0")
    {
        udp::socket_options options;
        options.send_buffer = options.receive_buffer = 1 << 20;
        const auto any = socket_address::parse(host).value();
        auto first = udp::bind(ex, any, options);
        auto second = udp::bind(ex, any, options);
        if (!first || !second) return;
        a = std::move(first).value();
        b = std::move(second).value();
    }

    // What `b` got: bytes of each receive, all together.
    awaitable<result<std::vector<std::byte>>> receive(std::size_t bytes)
    {
        std::vector<std::byte> buffer(datagram_socket::max_receive_bytes);
        std::vector<std::byte> out;
        while (out.size() < bytes) {
            auto got = b->try_receive(buffer);
            if (got) {
                last = got.value();
                out.insert(out.end(), last.bytes.begin(), last.bytes.end());
                continue;
            }
            if (got.error() != std::errc::operation_would_block) co_return got.error();
            const std::error_code ec = co_await b->wait_readable();
            if (ec) co_return ec;
        }
        co_return out;
    }

    [[nodiscard]] outgoing_datagrams to_b(byte_view bytes, std::size_t segment) const
    {
        outgoing_datagrams out;
        out.bytes = bytes;
        out.segment_size = segment;
        out.to = b->local_address();
        return out;
    }

    std::unique_ptr<datagram_socket> a;
    std::unique_ptr<datagram_socket> b;
    received_datagrams last;
};

}  // namespace

TEST_CASE("udp: datagrams carry their addresses and their ECN bits", "[udp]")
{
    const auto body = [](const char* host) -> awaitable<result<void>> {
        sockets s(co_await asio::this_coro::executor, host);
        if (!s.a) {
            SUCCEED("no such addresses here");
            co_return outcome::success();
        }
        const auto data = test::pattern(1000);
        for (std::uint8_t ecn = 0; ecn < 4; ++ecn) {
            auto out = s.to_b(data, data.size());
            out.ecn = ecn;
            out.from = s.a->local_address();
            CHECK(s.a->try_send(out));
            const auto got = co_await s.receive(data.size());
            CHECK(got.value() == data);
            CHECK(s.last.ecn == ecn);
            CHECK(s.last.from == s.a->local_address());
            CHECK(s.last.to == s.b->local_address());
            CHECK(s.last.segment_size == data.size());
        }
        CHECK(s.a->send_buffer_size() > 0);
        CHECK(s.b->receive_buffer_size() > 0);
        const std::error_code writable = co_await s.a->wait_writable();
        CHECK(!writable);
        co_return outcome::success();
    };
    CHECK(run_until_complete(body("127.0.0.1:0")));
    CHECK(run_until_complete(body("[::1]:0")));
}

TEST_CASE("udp: several datagrams in one call arrive as such, with and without offload", "[udp]")
{
    const auto body = []() -> awaitable<result<void>> {
        sockets s(co_await asio::this_coro::executor);
        const auto data = test::pattern(3500);
        const auto out = s.to_b(data, 1000);
        CHECK(s.a->try_send(out));
        const auto together = co_await s.receive(data.size());
        CHECK(together.value() == data);
        {
            const planned_fault no_offload({.call = "sendmsg", .error = EIO});
            CHECK(s.a->try_send(out));
            const auto one_by_one = co_await s.receive(data.size());
            CHECK(one_by_one.value() == data);
        }
        CHECK(s.a->max_send_segments() == 1);
        CHECK(s.a->try_send(out));
        const auto again = co_await s.receive(data.size());
        CHECK(again.value() == data);
        // The first datagram meets a full buffer: nothing was sent. A later one: as if lost on the way.
        const planned_fault full({.call = "sendmsg", .error = ENOBUFS});
        CHECK(s.a->try_send(out).error() == std::errc::operation_would_block);
        {
            const planned_fault later({.call = "sendmsg", .error = ENOBUFS, .skip = 1});
            CHECK(s.a->try_send(out));
        }
        const auto rest = co_await s.receive(2500);
        CHECK(rest.value().size() == 2500);
        co_return outcome::success();
    };
    CHECK(run_until_complete(body()));
}

TEST_CASE("udp: offload stays when it was not the cause", "[udp]")
{
    const auto body = []() -> awaitable<result<void>> {
        sockets s(co_await asio::this_coro::executor);
        if (s.a->max_send_segments() == 1) co_return outcome::success();
        const auto data = test::pattern(3000);
        const planned_fault refused({.call = "sendmsg", .error = EINVAL, .times = 100});
        CHECK(s.a->try_send(s.to_b(data, 1000)).error() == std::errc::invalid_argument);
        CHECK(s.a->max_send_segments() > 1);
        CHECK(s.a->try_send(s.to_b(data, 3000)).error() == std::errc::invalid_argument);
        co_return outcome::success();
    };
    CHECK(run_until_complete(body()));
}

TEST_CASE("udp: what the calls answer", "[udp]")
{
    const auto body = []() -> awaitable<result<void>> {
        sockets s(co_await asio::this_coro::executor);
        const auto data = test::pattern(100);
        const auto out = s.to_b(data, data.size());
        {
            const planned_fault too_large({.call = "sendmsg", .error = EMSGSIZE});
            CHECK(s.a->try_send(out));  // as lost on the path
        }
        {
            const planned_fault unreachable({.call = "sendmsg", .error = ENETUNREACH});
            CHECK(s.a->try_send(out).error() == std::errc::network_unreachable);
        }
        {
            const planned_fault interrupted({.call = "sendmsg", .error = EINTR, .times = 3});
            CHECK(s.a->try_send(out));
            CHECK(interrupted.happened());
        }
        const std::error_code readable = co_await s.b->wait_readable();
        CHECK(!readable);
        std::vector<std::byte> buffer(datagram_socket::max_receive_bytes);
        {
            const planned_fault interrupted({.call = "recvmsg", .error = EINTR, .times = 3});
            CHECK(s.b->try_receive(buffer).value().bytes.size() == data.size());
            CHECK(interrupted.happened());
        }
        CHECK(s.b->try_receive(buffer).error() == std::errc::operation_would_block);
        s.b->close();
        CHECK_FALSE(s.b->try_receive(buffer));
        const std::error_code ended = co_await s.b->wait_readable();
        CHECK(ended);
        co_return outcome::success();
    };
    CHECK(run_until_complete(body()));
}

TEST_CASE("udp: binding says why it fails, and does without what is optional", "[udp]")
{
    const auto body = []() -> awaitable<result<void>> {
        const executor ex = co_await asio::this_coro::executor;
        const auto loopback = socket_address::loopback_v4(0);
        const auto taken = udp::bind(ex, loopback, {}).value();
        CHECK(udp::bind(ex, taken->local_address(), {}).error() == std::errc::address_in_use);
        const auto foreign = socket_address::v4({192, 0, 2, 1}, 0);
        CHECK(udp::bind(ex, foreign, {}).error() == std::errc::address_not_available);
        {
            const planned_fault none({.call = "socket", .error = EMFILE});
            CHECK(udp::bind(ex, loopback, {}).error() == std::errc::too_many_files_open);
        }
        {
            const planned_fault blind({.call = "getsockname", .error = ENOBUFS});
            CHECK(udp::bind(ex, loopback, {}).error() == std::errc::no_buffer_space);
        }
        {
            const planned_fault old({.call = "UDP_SEGMENT", .error = ENOPROTOOPT});
            const auto plain = udp::bind(ex, loopback, {});
            CHECK(old.happened());
            CHECK(plain.value()->max_send_segments() == 1);
        }
        udp::socket_options off;
        off.segmentation_offload = false;
        off.receive_offload = false;
        CHECK(udp::bind(ex, loopback, off).value()->max_send_segments() == 1);
        const auto any_v6 = socket_address::parse("[::1]:0").value();
        const planned_fault dual({.call = "setsockopt", .error = ENOPROTOOPT});
        const auto v6 = udp::bind(ex, any_v6, {});
        CHECK_FALSE(v6);  // a socket that might also take IPv4 is none; or there is no IPv6 here
        co_return outcome::success();
    };
    CHECK(run_until_complete(body()));
}

TEST_CASE("udp: the addresses of interfaces", "[udp]")
{
    const auto loopback = socket_address::loopback_v4(0);
    const auto with = udp::interface_addresses(true);
    CHECK(std::count(with.begin(), with.end(), loopback) <= 1);
    for (const auto& address : with) {
        CHECK(address.port == 0);
        CHECK_FALSE(address.is_unspecified());
    }
    // Without any other, the loopback address is better than none.
    CHECK(udp::interface_addresses(false).size() <= with.size());
    CHECK(udp::interface_addresses(false).empty() == with.empty());
    const planned_fault blind({.call = "getifaddrs", .error = EMFILE});
    CHECK(udp::interface_addresses(true).empty());
}
