#include "catch.hpp"

#include <copse/core/address.hpp>
#include <copse/core/bytes.hpp>

#include <net/if.h>

#include <array>
#include <string>

using namespace copse;

TEST_CASE("socket_address: what is written is read back", "[core]")
{
    for (const char* text : {"192.0.2.1:80", "0.0.0.0:0", "255.255.255.255:65535", "[::]:0",
                             "[2001:db8::1]:443", "[fe80::1%7]:1", "[::ffff:192.0.2.1]:9"}) {
        INFO(text);
        const auto parsed = socket_address::parse(text);
        REQUIRE(parsed);
        CHECK(parsed.value().to_string() == text);
        CHECK(parsed.value().is_v4() == (text[0] != '['));
    }
    CHECK(socket_address::parse("[fe80::1%7]:1").value().scope_id == 7);
    CHECK(socket_address::parse("0.0.0.0:5").value().is_unspecified());
    CHECK(socket_address::parse("[::]:5").value().is_unspecified());
    CHECK_FALSE(socket_address::loopback_v4(1).is_unspecified());
    CHECK(socket_address::loopback_v4(1).to_string() == "127.0.0.1:1");
}

TEST_CASE("socket_address: nothing else is read", "[core]")
{
    const std::string longest = "[" + std::string(99, '0') + "]:1";
    for (const std::string& text :
         std::initializer_list<std::string>{"",
                                            ":",
                                            "1",
                                            "192.0.2.1",
                                            "192.0.2.1:",
                                            "192.0.2.1:-1",
                                            "192.0.2.1:65536",
                                            "192.0.2.1:80x",
                                            "192.0.2.1: 80",
                                            "192.0.2:80",
                                            "192.0.2.1.5:80",
                                            "256.0.2.1:80",
                                            "localhost:80",
                                            ":80",
                                            "::1:80",
                                            "[]:80",
                                            "[::1:80",
                                            "::1]:80",
                                            "[::g]:80",
                                            "[192.0.2.1]:80",
                                            "[fe80::1%]:80",
                                            "[fe80::1%no such interface]:80",
                                            "[%1]:80",
                                            std::string("192.0.2.1\0:80", 13),
                                            longest}) {
        INFO(text);
        const auto parsed = socket_address::parse(text);
        REQUIRE_FALSE(parsed);
        CHECK(parsed.error() == std::errc::invalid_argument);
    }
}

TEST_CASE("socket_address: an interface may be named in place of its number", "[core]")
{
    const unsigned index = ::if_nametoindex("lo");
    if (index == 0) return;  // a machine without a loopback interface has nothing to name
    const auto parsed = socket_address::parse("[fe80::1%lo]:80");
    REQUIRE(parsed);
    CHECK(parsed.value().scope_id == index);
}

TEST_CASE("addresses: the order is that of kind, then of content", "[core]")
{
    const path_address relay = relay_address{"https://z.example"};
    const path_address low = socket_address::v4({1, 2, 3, 4}, 9);
    const path_address high = socket_address::v4({1, 2, 3, 5}, 8);
    const path_address custom = custom_address{0, {}};
    CHECK(relay < low);
    CHECK(low < high);
    CHECK(high < custom);
    CHECK(custom < path_address(custom_address{0, {std::byte{0}}}));
    endpoint_id a;
    endpoint_id b;
    b.bytes[31] = std::byte{1};
    CHECK(a < b);
    CHECK(endpoint_address{a, {custom}} < endpoint_address{b, {relay}});
    CHECK(endpoint_address{a, {relay}} < endpoint_address{a, {low}});
}

TEST_CASE("shared_bytes: a copy has an owner of its own", "[core]")
{
    std::string text = "copse";
    const auto copy = shared_bytes::copy(as_bytes(text));
    text = "other";
    CHECK(as_text(copy.bytes) == "copse");
    CHECK(copy.owner.use_count() == 1);
    CHECK(shared_bytes::copy({}).bytes.empty());
}
