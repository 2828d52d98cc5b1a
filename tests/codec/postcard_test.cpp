#include "catch.hpp"
#include "support.hpp"

#include <copse/codec/postcard.hpp>

using namespace copse;
using namespace copse::codec;
using copse::test::from_hex;

TEST_CASE("postcard: what is written is read back, and every truncation is noticed", "[codec]")
{
    std::vector<std::byte> wire;
    postcard_writer to(wire);
    to.u8(0xff);
    to.unsigned_integer(65535);
    to.unsigned_integer(300);
    to.unsigned_integer(1u << 20);
    to.signed_integer(-5);
    to.boolean(true);
    to.option(false);
    to.enum_index(2);
    to.count(2);
    to.u8(7);
    to.u8(8);
    to.raw(test::bytes("abcd"));
    to.bytes(test::bytes("xyz"));
    to.string("h\xc3\xa9");
    CHECK(test::hex(wire) == "ff"
                             "ffff03"
                             "ac02"
                             "808040"
                             "09"
                             "01"
                             "00"
                             "02"
                             "020708"
                             "61626364"
                             "0378797a"
                             "0368c3a9");

    const auto read_all = [](byte_view from) -> result<void> {
        postcard_reader r(from);
        COPSE_TRY(const auto a, r.u8());
        COPSE_TRY(const auto b, r.u16());
        COPSE_TRY(const auto c, r.u32());
        COPSE_TRY(const auto d, r.u64());
        COPSE_TRY(const auto e, r.i64());
        COPSE_TRY(const bool f, r.boolean());
        COPSE_TRY(const bool g, r.option());
        COPSE_TRY(const auto h, r.enum_index(3));
        COPSE_TRY(const auto n, r.count(2, 1));
        COPSE_TRY(const auto i, r.raw(2));
        COPSE_TRY(const auto j, r.array<4>());
        COPSE_TRY(const auto k, r.bytes(3));
        COPSE_TRY(const auto l, r.string(3));
        CHECK((a == 0xff && b == 65535 && c == 300 && d == 1u << 20 && e == -5 && f && !g));
        CHECK((h == 2 && n == 2));
        CHECK(test::hex(i) == "0708");
        CHECK(test::text(j) == "abcd");
        CHECK(test::text(k) == "xyz");
        CHECK(l == "h\xc3\xa9");
        CHECK(r.offset() + r.rest().size() == from.size());
        return r.finish();
    };
    CHECK(read_all(wire));
    for (std::size_t n = 0; n < wire.size(); ++n) {
        INFO("cut at " << n);
        CHECK(read_all(byte_view(wire).first(n)).error() == codec_errc::truncated);
    }
    wire.push_back(std::byte{0});
    CHECK(read_all(wire).error() == codec_errc::trailing_bytes);
}

TEST_CASE("postcard: a count is checked against limit and input before it is believed", "[codec]")
{
    const auto count = [](std::string_view hex, std::size_t max, std::size_t element) {
        const auto wire = from_hex(hex);
        postcard_reader r(wire);
        const auto out = r.count(max, element);
        if (!out) CHECK(r.offset() == 0);
        return out;
    };
    CHECK(count("020000", 2, 1).value() == 2);
    CHECK(count("030000", 9, 1).error() == codec_errc::truncated);
    CHECK(count("0200000000", 9, 3).error() == codec_errc::truncated);
    CHECK(count("020000", 1, 1).error() == codec_errc::limit_exceeded);
    CHECK(count("ffffffffffffffffff01", SIZE_MAX, 1).error() == codec_errc::truncated);
    CHECK(count("ffffffffffffffffff01", 100, 1).error() == codec_errc::limit_exceeded);
    CHECK(count("ffffffffffffffffff02", 100, 1).error() == codec_errc::overflow);
}

TEST_CASE("postcard: a failed read leaves the reader where the value began", "[codec]")
{
    const auto stays = [](std::string_view hex, auto read, codec_errc expected) {
        INFO(hex);
        const auto wire = from_hex(hex);
        postcard_reader r(wire);
        CHECK(read(r).error() == expected);
        CHECK(r.offset() == 0);
    };
    stays(
        "02", [](auto& r) { return r.boolean(); }, codec_errc::bad_tag);
    stays(
        "ff", [](auto& r) { return r.option(); }, codec_errc::bad_tag);
    stays(
        "03", [](auto& r) { return r.enum_index(3); }, codec_errc::bad_tag);
    stays(
        "02c328", [](auto& r) { return r.string(9); }, codec_errc::bad_utf8);
    stays(
        "ffff04", [](auto& r) { return r.u16(); }, codec_errc::overflow);
    stays(
        "0102", [](auto& r) { return r.raw(3); }, codec_errc::truncated);
    stays(
        "04616263", [](auto& r) { return r.bytes(4); }, codec_errc::truncated);
    stays(
        "0461626364", [](auto& r) { return r.bytes(3); }, codec_errc::limit_exceeded);
    stays(
        "", [](auto& r) { return r.u8(); }, codec_errc::truncated);
}
