// Which TLS messages are taken behind the handshake, in whatever parts they come.
#include "tests/catch.hpp"
#include "tests/support.hpp"

#include <copse/quic/detail/post_handshake.hpp>

using copse::byte_view;
using copse::quic::detail::post_handshake;
using copse::test::from_hex;

TEST_CASE("post_handshake: a client reads past session tickets, split anywhere", "[quic]")
{
    const auto tickets = from_hex("04000003aabbcc 04000000 0400000105");
    for (std::size_t a = 0; a <= tickets.size(); ++a) {
        for (std::size_t b = a; b <= tickets.size(); ++b) {
            INFO("split at " << a << " and " << b);
            const byte_view all(tickets);
            post_handshake core;
            CHECK(core.receive(all.first(a), true));
            CHECK(core.receive(all.subspan(a, b - a), true));
            CHECK(core.receive(all.subspan(b), true));
        }
    }
}

TEST_CASE("post_handshake: key updates and requests for certificates are refused", "[quic]")
{
    for (const char* forbidden : {"1800000100", "0d000000", "00", "01", "14"}) {
        INFO(forbidden);
        post_handshake alone;
        CHECK(!alone.receive(from_hex(forbidden), true));
        post_handshake behind;
        CHECK(behind.receive(from_hex("040000021818"), true));
        CHECK(!behind.receive(from_hex(forbidden), true));
    }
}

TEST_CASE("post_handshake: a client may send nothing", "[quic]")
{
    post_handshake core;
    CHECK(core.receive({}, false));
    CHECK(!core.receive(from_hex("04"), false));
}

TEST_CASE("post_handshake: a ticket of the longest length is not kept", "[quic]")
{
    post_handshake core;
    CHECK(core.receive(from_hex("04ffffff"), true));
    const std::vector<std::byte> part(65535, std::byte{0x18});
    for (int i = 0; i < 256; ++i) CHECK(core.receive(part, true));
    CHECK(core.receive(std::vector<std::byte>(255, std::byte{0x18}), true));
    CHECK(core.receive(from_hex("04000000"), true));
    CHECK(!core.receive(from_hex("18"), true));
}
