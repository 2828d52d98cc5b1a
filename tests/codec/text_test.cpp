#include "catch.hpp"
#include "json.hpp"

#include <copse/codec/base32.hpp>
#include <copse/codec/hex.hpp>
#include <copse/codec/key_text.hpp>
#include <copse/codec/utf8.hpp>

#include <utility>

using namespace copse;
using namespace copse::codec;

namespace {

std::string upper(std::string text)
{
    for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return text;
}

result<std::vector<std::byte>> base32(std::string_view text, const base32_alphabet& alphabet)
{
    return decode_base32(text, alphabet, 64);
}

}  // namespace

TEST_CASE("base32: the vectors of RFC 4648, without their padding", "[codec]")
{
    const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                           {"f", "MY"},
                                                           {"fo", "MZXQ"},
                                                           {"foo", "MZXW6"},
                                                           {"foob", "MZXW6YQ"},
                                                           {"fooba", "MZXW6YTB"},
                                                           {"foobar", "MZXW6YTBOI"}};
    for (const auto& [plain, text] : vectors) {
        INFO(text);
        CHECK(encode_base32(as_bytes(plain), base32_upper) == text);
        CHECK(base32(text, base32_upper).value() == test::bytes(plain));
        CHECK(base32(text, base32_any_case).value() == test::bytes(plain));
        CHECK(base32_text_size(std::string_view(plain).size()) == std::string_view(text).size());
        CHECK(base32_byte_size(std::string_view(text).size()) == std::string_view(plain).size());
    }
    CHECK(encode_base32(as_bytes("foobar"), base32_hex_lower) == "cpnmuoj1e8");
    CHECK(base32("cpnmuoj1e8", base32_hex_lower).value() == test::bytes("foobar"));
}

TEST_CASE("base32: strict about characters, lengths, left-over bits and size", "[codec]")
{
    CHECK(base32("MY", base32_lower).error() == codec_errc::bad_character);
    CHECK(base32("my", base32_upper).error() == codec_errc::bad_character);
    for (const char* bad : {"m1", "m=", "m ", "m\xff", "m\n"}) {
        CHECK(base32(bad, base32_any_case).error() == codec_errc::bad_character);
    }
    for (const char* bad : {"a", "aaa", "aaaaaa"}) {  // no number of bytes has that many characters
        CHECK(base32(bad, base32_any_case).error() == codec_errc::bad_length);
    }
    CHECK(base32("mz", base32_any_case).error() == codec_errc::bad_padding);
    CHECK(base32("mzxb", base32_any_case).error() == codec_errc::bad_padding);
    CHECK(decode_base32("mzxw6ytb", base32_lower, 4).error() == codec_errc::limit_exceeded);
    std::array<std::byte, 4> four;
    CHECK(decode_base32("mzxw6ytb", four, base32_lower).error() == codec_errc::bad_length);
}

TEST_CASE("base32 and hex: random bytes of every length survive", "[codec]")
{
    const auto seed = test::seed_or(2);
    INFO("seed " << seed);
    test::seeded_rng rng(seed);
    for (std::size_t size = 0; size <= 64; ++size) {
        const auto data = rng.bytes(size);
        for (const auto* alphabet :
             {&base32_lower, &base32_upper, &base32_any_case, &base32_z, &base32_hex_lower}) {
            REQUIRE(base32(encode_base32(data, *alphabet), *alphabet).value() == data);
        }
        std::vector<std::byte> out(size);
        REQUIRE(decode_hex(encode_hex(data), out));
        REQUIRE(out == data);
    }
}

TEST_CASE("hex: lower case and exact length only", "[codec]")
{
    std::array<std::byte, 2> out;
    CHECK(encode_hex(test::from_hex("00ff1a")) == "00ff1a");
    CHECK(decode_hex("00ff", out));
    CHECK(out[1] == std::byte{0xff});
    CHECK(decode_hex("00fF", out).error() == codec_errc::bad_character);
    CHECK(decode_hex("0g00", out).error() == codec_errc::bad_character);
    CHECK(decode_hex("00f", out).error() == codec_errc::bad_length);
    CHECK(decode_hex("00", out).error() == codec_errc::bad_length);
    CHECK(decode_hex("00ff00", out).error() == codec_errc::bad_length);
}

TEST_CASE("utf8: each character has one form", "[codec]")
{
    for (const char* good :
         {"", "plain", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
          "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
        CHECK(is_utf8(good));
    }
    for (const char* bad : {"\x80", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41", "\xe0\x9f\xbf",
                            "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
                            "\xf5\x80\x80\x80", "\xff", "\xe2\x82", "a\xf0\x9f\x98"}) {
        INFO(test::hex(test::bytes(bad)));
        CHECK_FALSE(is_utf8(bad));
    }
    CHECK(is_utf8(std::string_view("\0", 1)));
    CHECK(decode_utf8("\xf0\x9f\x98\x80").code_point == 0x1f600);
    CHECK(decode_utf8("\xe2\x82\xac").code_point == 0x20ac);
    CHECK(decode_utf8("\xe2\x82\xac").size == 3);
}

TEST_CASE("key text: the forms of real endpoint ids", "[codec]")
{
    const auto vectors = test::load_vectors("iroh-blobs.json");
    for (const auto& v : vectors["identities"]) {
        const auto& hex = v["endpoint_id_hex"].as_string();
        const auto& base32_form = v["base32_rfc4648_lower"].as_string();
        INFO(hex);
        const endpoint_id id = parse_endpoint_id(hex).value();
        CHECK(to_string(id) == hex);
        CHECK(to_short_string(id) == v["fmt_short"].as_string());
        CHECK(to_z_base32(id) == v["z32"].as_string());
        CHECK(encode_base32(id.bytes, base32_hex_lower) + ".iroh.invalid" ==
              v["tls_server_name_local_only"].as_string());
        CHECK(parse_endpoint_id(base32_form).value() == id);
        CHECK(parse_endpoint_id(upper(base32_form)).value() == id);
        CHECK(base32(v["z32"].as_string(), base32_z).value() == v["endpoint_id_hex"].as_bytes());

        CHECK(parse_endpoint_id(upper(hex)).error() == codec_errc::bad_character);
        CHECK(parse_endpoint_id("").error() == codec_errc::bad_length);
        CHECK(parse_endpoint_id(hex + "0").error() == codec_errc::bad_length);
        for (std::size_t n = 0; n < hex.size(); ++n)
            CHECK_FALSE(parse_endpoint_id(hex.substr(0, n)));
        for (std::size_t n = 0; n < base32_form.size(); ++n) {
            CHECK(parse_endpoint_id(base32_form.substr(0, n)).error() == codec_errc::bad_length);
        }
        std::string left_over = base32_form;
        left_over.back() = 'b';
        CHECK(parse_endpoint_id(left_over).error() == codec_errc::bad_padding);
    }
}
