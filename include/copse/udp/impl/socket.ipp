#pragma once

#include <copse/core/cancellation.hpp>
#include <copse/udp/socket.hpp>

#include <asio/error.hpp>
#include <asio/ip/udp.hpp>

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace copse::udp {

namespace detail {

// Values of linux/udp.h, which older C library headers lack.
inline constexpr int udp_segment = 103;
inline constexpr int udp_gro = 104;
// The kernel takes at most 64 segments and 65507 bytes in one call.
inline constexpr std::size_t max_segments = 64;

inline socklen_t to_sockaddr(const socket_address& from, sockaddr_storage& out) noexcept
{
    std::memset(&out, 0, sizeof out);
    if (from.is_v4()) {
        auto& in = reinterpret_cast<sockaddr_in&>(out);
        in.sin_family = AF_INET;
        in.sin_port = htons(from.port);
        std::memcpy(&in.sin_addr, from.ip.data(), 4);
        return sizeof in;
    }
    auto& in = reinterpret_cast<sockaddr_in6&>(out);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(from.port);
    in.sin6_scope_id = from.scope_id;
    std::memcpy(&in.sin6_addr, from.ip.data(), 16);
    return sizeof in;
}

inline socket_address from_sockaddr(const sockaddr_storage& from) noexcept
{
    socket_address out;
    if (from.ss_family == AF_INET) {
        const auto& in = reinterpret_cast<const sockaddr_in&>(from);
        out.port = ntohs(in.sin_port);
        std::memcpy(out.ip.data(), &in.sin_addr, 4);
        return out;
    }
    const auto& in = reinterpret_cast<const sockaddr_in6&>(from);
    out.family = socket_address::family_type::v6;
    out.port = ntohs(in.sin6_port);
    out.scope_id = in.sin6_scope_id;
    std::memcpy(out.ip.data(), &in.sin6_addr, 16);
    return out;
}

inline std::error_code last_error() noexcept
{
    return {errno, std::generic_category()};
}

class real_socket final : public datagram_socket {
public:
    explicit real_socket(executor ex) : socket_(std::move(ex)) {}

    result<void> open(const socket_address& local, const socket_options& options)
    {
        v4_ = local.is_v4();
        std::error_code ec;
        socket_.open(v4_ ? asio::ip::udp::v4() : asio::ip::udp::v6(), ec);
        // As the other calls report theirs: only these compare equal to every std::errc.
        if (ec) return std::error_code(ec.value(), std::generic_category());
        const int fd = socket_.native_handle();
        socket_.native_non_blocking(true, ec);
        if (ec) return ec;
        if (!v4_ && !set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)) return last_error();
        sockaddr_storage address;
        const socklen_t length = to_sockaddr(local, address);
        if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), length) != 0)
            return last_error();
        socklen_t bound = sizeof address;
        if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &bound) != 0)
            return last_error();
        local_ = from_sockaddr(address);

        // Optional features: a system without one still works, slower or with less information.
        set(fd, v4_ ? IPPROTO_IP : IPPROTO_IPV6, v4_ ? IP_PKTINFO : IPV6_RECVPKTINFO, 1);
        set(fd, v4_ ? IPPROTO_IP : IPPROTO_IPV6, v4_ ? IP_RECVTOS : IPV6_RECVTCLASS, 1);
        // RFC 9000 s.14: datagrams must not be fragmented; PROBE also ignores a cached path MTU.
        set(fd, v4_ ? IPPROTO_IP : IPPROTO_IPV6, v4_ ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER,
            // NOLINTNEXTLINE(bugprone-branch-clone): Linux gives both the same number
            v4_ ? IP_PMTUDISC_PROBE : IPV6_PMTUDISC_PROBE);
        gro_ = options.receive_offload && set(fd, SOL_UDP, udp_gro, 1);
        gso_ = options.segmentation_offload && set(fd, SOL_UDP, udp_segment, 0);
        send_buffer_ = grow(fd, SO_SNDBUF, SO_SNDBUFFORCE, options.send_buffer);
        receive_buffer_ = grow(fd, SO_RCVBUF, SO_RCVBUFFORCE, options.receive_buffer);
        return outcome::success();
    }

    socket_address local_address() const noexcept override { return local_; }

    result<received_datagrams> try_receive(byte_span buffer) override
    {
        sockaddr_storage from;
        alignas(cmsghdr) char control[256];
        iovec vec{buffer.data(), buffer.size()};
        msghdr message{};
        message.msg_name = &from;
        message.msg_namelen = sizeof from;
        message.msg_iov = &vec;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        ssize_t n = 0;
        do {
            n = ::recvmsg(socket_.native_handle(), &message, 0);
        } while (n < 0 && errno == EINTR);
        if (n < 0) return last_error();
        received_datagrams out;
        out.bytes = buffer.first(static_cast<std::size_t>(n));
        out.segment_size = out.bytes.size();
        out.from = from_sockaddr(from);
        out.to = local_;
        for (cmsghdr* c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
            read_control(*c, out);
        }
        return out;
    }

    result<void> try_send(const outgoing_datagrams& out) override
    {
        const bool several = out.bytes.size() > out.segment_size;
        if (!several || gso_) return send_once(out, several);
        // Without offload one call a datagram. Those behind a full buffer are lost, as on a network.
        for (byte_view rest = out.bytes; !rest.empty();) {
            outgoing_datagrams one = out;
            one.bytes = rest.first(std::min(rest.size(), out.segment_size));
            rest = rest.subspan(one.bytes.size());
            const auto sent = send_once(one, false);
            if (!sent && one.bytes.data() == out.bytes.data()) return sent;
        }
        return outcome::success();
    }

    awaitable<std::error_code> wait_readable() override
    {
        return wait(asio::socket_base::wait_read);
    }
    awaitable<std::error_code> wait_writable() override
    {
        return wait(asio::socket_base::wait_write);
    }

    std::size_t max_send_segments() const noexcept override { return gso_ ? max_segments : 1; }
    std::size_t send_buffer_size() const noexcept override { return send_buffer_; }
    std::size_t receive_buffer_size() const noexcept override { return receive_buffer_; }

    void close() noexcept override
    {
        std::error_code ignored;  // nothing to do about a failing close of a datagram socket
        socket_.close(ignored);
    }

private:
    static bool set(int fd, int level, int option, int value) noexcept
    {
        return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
    }

    static std::size_t grow(int fd, int option, int force, std::size_t bytes) noexcept
    {
        const int value = static_cast<int>(std::min<std::size_t>(bytes, 1U << 30));
        if (!set(fd, SOL_SOCKET, force, value)) set(fd, SOL_SOCKET, option, value);
        int effective = 0;
        socklen_t length = sizeof effective;
        ::getsockopt(fd, SOL_SOCKET, option, &effective, &length);
        return static_cast<std::size_t>(effective) / 2;  // the kernel reports twice what is usable
    }

    void read_control(const cmsghdr& c, received_datagrams& out) const noexcept
    {
        const void* const data = CMSG_DATA(&c);
        if (c.cmsg_level == SOL_UDP && c.cmsg_type == udp_gro) {
            int size = 0;
            std::memcpy(&size, data, sizeof size);
            if (size > 0) out.segment_size = static_cast<std::size_t>(size);
        } else if (c.cmsg_level == IPPROTO_IP && c.cmsg_type == IP_PKTINFO) {
            in_pktinfo info;
            std::memcpy(&info, data, sizeof info);
            std::memcpy(out.to.ip.data(), &info.ipi_addr, 4);
        } else if (c.cmsg_level == IPPROTO_IPV6 && c.cmsg_type == IPV6_PKTINFO) {
            in6_pktinfo info;
            std::memcpy(&info, data, sizeof info);
            std::memcpy(out.to.ip.data(), &info.ipi6_addr, 16);
            if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr)) out.to.scope_id = info.ipi6_ifindex;
        } else if (c.cmsg_level == IPPROTO_IP && c.cmsg_type == IP_TOS) {
            std::uint8_t tos = 0;
            std::memcpy(&tos, data, sizeof tos);
            out.ecn = tos & 3U;
        } else if (c.cmsg_level == IPPROTO_IPV6 && c.cmsg_type == IPV6_TCLASS) {
            int tos = 0;
            std::memcpy(&tos, data, sizeof tos);
            out.ecn = static_cast<std::uint8_t>(tos & 3);
        }
    }

    template <class T>
    static void put_control(msghdr& message, int level, int type, const T& value) noexcept
    {
        auto* const c = reinterpret_cast<cmsghdr*>(static_cast<char*>(message.msg_control) +
                                                   message.msg_controllen);
        c->cmsg_level = level;
        c->cmsg_type = type;
        c->cmsg_len = CMSG_LEN(sizeof value);
        std::memcpy(CMSG_DATA(c), &value, sizeof value);
        message.msg_controllen += CMSG_SPACE(sizeof value);
    }

    result<void> send_once(const outgoing_datagrams& out, bool several)
    {
        sockaddr_storage to;
        alignas(cmsghdr) char control[128] = {};
        iovec vec{const_cast<std::byte*>(out.bytes.data()), out.bytes.size()};
        msghdr message{};
        message.msg_namelen = to_sockaddr(out.to, to);
        message.msg_name = &to;
        message.msg_iov = &vec;
        message.msg_iovlen = 1;
        message.msg_control = control;
        if (several) {
            put_control(message, SOL_UDP, udp_segment,
                        static_cast<std::uint16_t>(out.segment_size));
        }
        if (!out.from.is_unspecified()) {
            if (v4_) {
                in_pktinfo info{};
                std::memcpy(&info.ipi_spec_dst, out.from.ip.data(), 4);
                put_control(message, IPPROTO_IP, IP_PKTINFO, info);
            } else {
                in6_pktinfo info{};
                std::memcpy(&info.ipi6_addr, out.from.ip.data(), 16);
                info.ipi6_ifindex = out.from.scope_id;
                put_control(message, IPPROTO_IPV6, IPV6_PKTINFO, info);
            }
        }
        if (out.ecn != 0) {
            put_control(message, v4_ ? IPPROTO_IP : IPPROTO_IPV6, v4_ ? IP_TOS : IPV6_TCLASS,
                        static_cast<int>(out.ecn));
        }
        ssize_t n = 0;
        do {
            n = ::sendmsg(socket_.native_handle(), &message, 0);
        } while (n < 0 && errno == EINTR);
        if (n >= 0) return outcome::success();
        switch (errno) {
        case EMSGSIZE: return outcome::success();  // an MTU probe beyond the path: counts as lost
        case ENOBUFS: return make_error_code(std::errc::operation_would_block);
        case EIO:
        case EINVAL:
            // An interface that cannot segment (EIO) or a filter that forbids it: do without from now.
            if (several) {
                const std::error_code first = last_error();
                gso_ = false;
                const auto sent = try_send(out);
                // The same without offload: another cause, as a source address that is gone.
                gso_ = !sent && sent.error() == first;
                return sent;
            }
            return last_error();
        default: return last_error();
        }
    }

    awaitable<std::error_code> wait(asio::socket_base::wait_type type)
    {
        const bool before = co_await cancellation_requested();
        if (before) co_return make_error_code(std::errc::operation_canceled);
        auto [ec] = co_await socket_.async_wait(type, as_tuple);
        if (ec == asio::error::operation_aborted)
            co_return make_error_code(std::errc::operation_canceled);
        co_return ec;
    }

    asio::ip::udp::socket socket_;
    socket_address local_;
    bool v4_ = true;
    bool gso_ = false;
    bool gro_ = false;
    std::size_t send_buffer_ = 0;
    std::size_t receive_buffer_ = 0;
};

}  // namespace detail

result<std::unique_ptr<datagram_socket>> bind(executor ex, socket_address local,
                                              socket_options options)
{
    auto socket = std::make_unique<detail::real_socket>(std::move(ex));
    COPSE_TRYV(socket->open(local, options));
    return std::unique_ptr<datagram_socket>(std::move(socket));
}

std::vector<socket_address> interface_addresses(bool with_loopback)
{
    std::vector<socket_address> found;
    std::vector<socket_address> loopback;
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) != 0) return found;
    for (const ifaddrs* i = list; i; i = i->ifa_next) {
        if (!i->ifa_addr || !(i->ifa_flags & IFF_UP)) continue;
        const int family = i->ifa_addr->sa_family;
        if (family != AF_INET && family != AF_INET6) continue;
        sockaddr_storage address{};
        std::memcpy(&address, i->ifa_addr,
                    family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
        socket_address one = detail::from_sockaddr(address);
        one.port = 0;
        const bool link_local_v6 = !one.is_v4() && one.ip[0] == 0xfe && (one.ip[1] & 0xc0U) == 0x80;
        if (link_local_v6) continue;  // its scope means nothing on another machine
        ((i->ifa_flags & IFF_LOOPBACK) ? loopback : found).push_back(one);
    }
    ::freeifaddrs(list);
    if (with_loopback || found.empty()) {
        found.insert(found.end(), loopback.begin(), loopback.end());
    }
    return found;
}

}  // namespace copse::udp
