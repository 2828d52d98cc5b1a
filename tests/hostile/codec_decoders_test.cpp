// Decoders of text and of postcard values against input of every kind.
#include "tests/hostile/decoder.hpp"

#include <copse/codec/base32.hpp>
#include <copse/codec/hex.hpp>
#include <copse/codec/key_text.hpp>
#include <copse/codec/postcard.hpp>
#include <copse/codec/utf8.hpp>
#include <copse/core/address.hpp>
#include <copse/quic/identity.hpp>

using namespace copse;
using namespace copse::hostile;

namespace {

const std::string key_hex = test::hex(test::pattern(32));
const std::string key_base32 = codec::encode_base32(test::pattern(32), codec::base32_any_case);

}  // namespace

TEST_CASE("hostile: copse::codec::decode_hex", "[hostile][decoders]")
{
    decoder d{"hex", {encoding_of(key_hex), {}, encoding_of("00ff")}, {}, true};
    d.decode = [](byte_view in) -> std::optional<encoding> {
        encoding out(in.size() / 2);
        if (!codec::decode_hex(as_text(in), out)) return std::nullopt;
        return encoding_of(codec::encode_hex(out));
    };
    torment(d);
}

TEST_CASE("hostile: copse::codec::decode_base32", "[hostile][decoders]")
{
    decoder d{"base32",
              {encoding_of(codec::encode_base32(test::pattern(32), codec::base32_z)), {}},
              {},
              true};
    d.decode = [](byte_view in) -> std::optional<encoding> {
        const auto out = codec::decode_base32(as_text(in), codec::base32_z, in.size());
        if (!out) return std::nullopt;
        return encoding_of(codec::encode_base32(out.value(), codec::base32_z));
    };
    torment(d);
}

TEST_CASE("hostile: copse::codec::parse_key_text, copse::codec::parse_endpoint_id",
          "[hostile][decoders]")
{
    decoder d{"key text", {encoding_of(key_hex), encoding_of(key_base32)}, {}};
    d.decode = [](byte_view in) -> std::optional<encoding> {
        const auto out = codec::parse_key_text(as_text(in));
        const auto id = codec::parse_endpoint_id(as_text(in));
        CHECK(out.has_value() == id.has_value());
        if (!id) return std::nullopt;
        CHECK(id.value().bytes == out.value());
        return encoding_of(codec::to_string(id.value()));
    };
    torment(d);
}

TEST_CASE("hostile: copse::codec::is_utf8, copse::codec::decode_utf8", "[hostile][decoders]")
{
    decoder d{"utf8", {encoding_of("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x8c\xb3"), {}}, {}, true};
    d.decode = [](byte_view in) -> std::optional<encoding> {
        std::string_view rest = as_text(in);
        bool good = true;
        while (!rest.empty() && good) {
            const auto c = codec::decode_utf8(rest);
            good = c.size > 0;
            must(c.size <= rest.size(), "nothing behind the end");
            rest.remove_prefix(c.size);
        }
        CHECK(codec::is_utf8(as_text(in)) == good);
        if (!good) return std::nullopt;
        return encoding_of(in);
    };
    torment(d);
}

TEST_CASE("hostile: copse::codec::decode_varint", "[hostile][decoders]")
{
    decoder d{"varint", {{}, {}, {}}, {}};
    codec::append_varint(d.examples[0], 0);
    codec::append_varint(d.examples[1], 300);
    codec::append_varint(d.examples[2], ~std::uint64_t{0});
    d.decode = [](byte_view in) -> std::optional<encoding> {
        const auto small = codec::decode_varint<std::uint16_t>(in);
        const auto out = codec::decode_varint<std::uint64_t>(in);
        if (small) CHECK((out && out.value().value == small.value().value));
        if (!out) return std::nullopt;
        CHECK(out.value().size <= in.size());
        encoding again;
        codec::append_varint(again, out.value().value);
        return again;
    };
    torment(d);
}

TEST_CASE("hostile: copse::codec::postcard_reader", "[hostile][decoders]")
{
    // A value of every kind, in the order of the bytes' choice.
    decoder d{"postcard", {}, {}};
    for (std::uint8_t kind = 0; kind < 11; ++kind) {
        encoding e;
        for (int i = 0; i < 3; ++i) {
            e.push_back(std::byte{kind});
            e.push_back(std::byte{1});
            e.push_back(std::byte{'x'});
        }
        d.examples.push_back(e);
    }
    d.decode = [](byte_view in) -> std::optional<encoding> {
        codec::postcard_reader r(in);
        while (!r.rest().empty()) {
            const std::size_t at = r.offset();
            const auto kind = r.u8();
            bool good = true;
            switch (kind.value() % 11) {
            case 0: good = r.u8().has_value(); break;
            case 1: good = r.u16().has_value(); break;
            case 2: good = r.u32().has_value(); break;
            case 3: good = r.u64().has_value(); break;
            case 4: good = r.i64().has_value(); break;
            case 5: good = r.boolean().has_value(); break;
            case 6: good = r.enum_index(3).has_value(); break;
            case 7: {
                const auto n = r.count(1000, 8);
                good = n.has_value();
                must(!n || n.value() * 8 <= r.rest().size(), "a count fits");
                break;
            }
            case 8: good = r.array<2>().has_value(); break;
            case 9: good = r.bytes(100).has_value(); break;
            default: {
                const auto s = r.string(100);
                good = s.has_value();
                must(!s || codec::is_utf8(s.value()), "strings are UTF-8");
                break;
            }
            }
            must(r.offset() > at && r.offset() <= in.size(), "it goes on within its input");
            if (!good) break;
        }
        CHECK(r.finish().has_value() == r.rest().empty());
        return encoding_of(in);
    };
    torment(d);
}

TEST_CASE("hostile: copse::socket_address::parse", "[hostile][decoders]")
{
    decoder d{"socket address",
              {encoding_of("192.0.2.1:80"), encoding_of("[2001:db8::1]:443"),
               encoding_of("[fe80::1%3]:9")},
              {}};
    if (!socket_address::parse("[fe80::1%3]:9")) d.examples.pop_back();
    d.decode = [](byte_view in) -> std::optional<encoding> {
        const auto out = socket_address::parse(as_text(in));
        if (!out) return std::nullopt;
        return encoding_of(out.value().to_string());
    };
    torment(d);
}

TEST_CASE("hostile: copse::quic::verify", "[hostile][decoders]")
{
    // Key, signature, message: only the one that was signed is accepted.
    const auto seed = test::pattern(32);
    const auto key = quic::secret_key::from_seed(std::span<const std::byte, 32>(seed));
    const auto message = test::pattern(40);
    const auto signature = key.sign(message);
    encoding e(key.id().bytes.begin(), key.id().bytes.end());
    const byte_view signed_bytes(std::as_bytes(std::span(&signature, 1)));
    static_assert(sizeof signature == 64);
    e.insert(e.end(), signed_bytes.begin(), signed_bytes.end());
    e.insert(e.end(), message.begin(), message.end());
    decoder d{"signature", {e}, {}, true};
    d.longest = 16384;
    d.decode = [&](byte_view in) -> std::optional<encoding> {
        if (in.size() < 96) return std::nullopt;
        endpoint_id id;
        std::copy_n(in.begin(), 32, id.bytes.begin());
        auto s = signature;
        const auto out = std::as_writable_bytes(std::span(&s, 1));
        std::copy_n(in.begin() + 32, 64, out.begin());
        if (!quic::verify(id, in.subspan(96), s)) return std::nullopt;
        return e;
    };
    torment(d);
}
