#include "catch.hpp"
#include "json.hpp"

#include <copse/codec/varint.hpp>

#include <limits>

using namespace copse;
using namespace copse::codec;
using copse::test::from_hex;

namespace {

template <class T>
std::error_code error_of(std::string_view hex)
{
    return decode_varint<T>(from_hex(hex)).error();
}

}  // namespace

TEST_CASE("varint: the published vectors in both directions, and every truncation", "[codec]")
{
    for (const auto& v : test::load_vectors("iroh-blobs.json")["postcard_varints_u64"]) {
        const auto wire = v["postcard"].as_bytes();
        INFO(v["postcard"].as_string());
        std::vector<std::byte> out;
        append_varint(out, v["value"].as_u64());
        CHECK(out == wire);
        CHECK(varint_size(v["value"].as_u64()) == wire.size());
        const auto read = decode_varint<std::uint64_t>(wire).value();
        CHECK(read.value == v["value"].as_u64());
        CHECK(read.size == wire.size());
        for (std::size_t n = 0; n < wire.size(); ++n) {
            CHECK(decode_varint<std::uint64_t>(byte_view(wire).first(n)).error() ==
                  codec_errc::truncated);
        }
    }
}

TEST_CASE("varint: the last byte holds only the bits that the type has left", "[codec]")
{
    CHECK(decode_varint<std::uint16_t>(from_hex("ffff03")).value().value == 0xffff);
    CHECK(error_of<std::uint16_t>("ffff04") == codec_errc::overflow);
    CHECK(error_of<std::uint16_t>("808080") == codec_errc::overflow);
    CHECK(decode_varint<std::uint32_t>(from_hex("ffffffff0f")).value().value == 0xffffffff);
    CHECK(error_of<std::uint32_t>("ffffffff10") == codec_errc::overflow);
    CHECK(error_of<std::uint64_t>("ffffffffffffffffff02") == codec_errc::overflow);
    CHECK(error_of<std::uint64_t>("8080808080808080808000") == codec_errc::overflow);
}

TEST_CASE("varint: zero padding within the length of the type is accepted", "[codec]")
{
    const auto padded = decode_varint<std::uint64_t>(from_hex("81808080808080808000")).value();
    CHECK(padded.value == 1);
    CHECK(padded.size == 10);
    CHECK(decode_varint<std::uint16_t>(from_hex("800000")).value().size == 2);
}

TEST_CASE("varint: random integers of all lengths survive", "[codec]")
{
    const auto seed = test::seed_or(1);
    INFO("seed " << seed);
    test::seeded_rng rng(seed);
    for (int i = 0; i < 20000; ++i) {
        const std::uint64_t value = rng() >> rng.between(0, 63);
        std::vector<std::byte> out;
        append_varint(out, value);
        const auto read = decode_varint<std::uint64_t>(out);
        REQUIRE(read);
        REQUIRE(read.value().value == value);
        REQUIRE(read.value().size == varint_size(value));
        const auto s = static_cast<std::int64_t>(value);
        REQUIRE(unzigzag(zigzag(s)) == s);
    }
    CHECK(zigzag(0) == 0);
    CHECK(zigzag(-1) == 1);
    CHECK(zigzag(1) == 2);
    CHECK(zigzag(std::numeric_limits<std::int64_t>::min()) ==
          std::numeric_limits<std::uint64_t>::max());
    CHECK(unzigzag(std::numeric_limits<std::uint64_t>::max()) ==
          std::numeric_limits<std::int64_t>::min());
}
