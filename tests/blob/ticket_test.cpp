#include "catch.hpp"
#include "json.hpp"

#include <copse/blob/fetch.hpp>
#include <copse/blob/ticket.hpp>
#include <copse/codec/base32.hpp>
#include <copse/codec/hex.hpp>
#include <copse/codec/key_text.hpp>
#include <copse/codec/postcard.hpp>
#include <copse/core/bytes.hpp>

#include <cctype>

using namespace copse;
using namespace copse::blob;

namespace {

const test::json::value& vectors()
{
    static const auto loaded = test::load_vectors("iroh-blobs.json");
    return loaded;
}

hash::digest vector_hash()
{
    return parse_digest(vectors()["hash_used_in_requests"].as_string()).value();
}

endpoint_id vector_id()
{
    return parse_endpoint_id(vectors()["identities"][1]["endpoint_id_hex"].as_string()).value();
}

socket_address v4(std::array<std::uint8_t, 4> ip, std::uint16_t port)
{
    socket_address out;
    std::ranges::copy(ip, out.ip.begin());
    out.port = port;
    return out;
}

socket_address v6(std::array<std::uint8_t, 16> ip, std::uint16_t port)
{
    return {socket_address::family_type::v6, ip, port, 0};
}

// The addresses of the vectors, in an order that is not the wire's.
endpoint_address vector_address(const std::string& name)
{
    endpoint_address out{vector_id(), {}};
    const auto v4_address = v4({127, 0, 0, 1}, 1024);
    if (name == "relay_v4_v6") {
        out.paths.push_back(v6({0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 65535));
        out.paths.push_back(v4_address);
        out.paths.push_back(relay_address{"https://relay.example.com./"});
    } else if (name == "custom") {
        out.paths.push_back(custom_address{32, test::from_hex("010203")});
        out.paths.push_back(v4_address);
    } else if (name == "one_v4") {
        out.paths.push_back(v4_address);
    }
    return out;
}

std::string blob_text(byte_view bytes)
{
    return "blob" + codec::encode_base32(bytes, codec::base32_lower);
}

std::error_code blob_error(std::string_view text)
{
    const auto out = parse_blob_ticket(text);
    return out ? std::error_code{} : out.error();
}

// Bytes of a blob ticket with these parts between the id and the format.
std::vector<std::byte> ticket_bytes(std::string_view relay_hex, std::string_view addresses_hex,
                                    std::string_view format_hex = "00")
{
    auto out = test::from_hex("00");
    const auto append = [&out](byte_view more) { out.insert(out.end(), more.begin(), more.end()); };
    append(vector_id().bytes);
    append(test::from_hex(relay_hex));
    append(test::from_hex(addresses_hex));
    append(test::from_hex(format_hex));
    append(vector_hash().bytes);
    return out;
}

}  // namespace

TEST_CASE("tickets: the texts of the vectors, both ways", "[blob]")
{
    REQUIRE(vectors()["tickets"].size() == 4);
    for (const auto& v : vectors()["tickets"]) {
        const auto& name = v["name"].as_string();
        INFO(name);
        const endpoint_address address = vector_address(name);
        endpoint_address sorted = address;
        std::ranges::sort(sorted.paths);

        const auto& endpoint_text = v["endpoint_ticket"].as_string();
        CHECK(to_endpoint_ticket(address) == endpoint_text);
        CHECK(parse_endpoint_ticket(endpoint_text).value() == sorted);

        endpoint_address kept = sorted;  // a blob ticket has no room for custom addresses
        std::erase_if(kept.paths,
                      [](const auto& p) { return std::holds_alternative<custom_address>(p); });
        for (const auto format : {blob_format::raw, blob_format::hash_seq}) {
            const auto& text =
                v[format == blob_format::raw ? "blob_ticket_raw" : "blob_ticket_hash_seq"]
                    .as_string();
            CHECK(to_string(blob_ticket{address, format, vector_hash()}) == text);
            const auto parsed = parse_blob_ticket(text);
            REQUIRE(parsed);
            CHECK(parsed.value() == blob_ticket{kept, format, vector_hash()});

            std::string upper = text;
            for (std::size_t i = 4; i < upper.size(); ++i) {
                upper[i] = static_cast<char>(std::toupper(static_cast<unsigned char>(upper[i])));
            }
            CHECK(parse_blob_ticket(upper).value() == parsed.value());
        }
    }
}

TEST_CASE("tickets: every truncation of text and bytes is refused", "[blob]")
{
    for (const auto& v : vectors()["tickets"]) {
        const auto& text = v["blob_ticket_hash_seq"].as_string();
        for (std::size_t n = 0; n < text.size(); ++n) {
            INFO(text.substr(0, n));
            const auto error = blob_error(std::string_view(text).substr(0, n));
            if (n < 4) CHECK(error == blob_errc::unsupported_ticket);
            else
                CHECK(
                    (error == blob_errc::ticket_truncated || error == blob_errc::ticket_mistyped));
        }
        const auto bytes = v["blob_ticket_hash_seq_bytes"].as_bytes();
        for (std::size_t n = 0; n < bytes.size(); ++n) {
            CHECK(blob_error(blob_text(byte_view(bytes).first(n))) == blob_errc::ticket_truncated);
        }
        const auto endpoint_bytes = v["endpoint_ticket_bytes"].as_bytes();
        for (std::size_t n = 0; n < endpoint_bytes.size(); ++n) {
            const auto cut = "endpoint" + codec::encode_base32(byte_view(endpoint_bytes).first(n),
                                                               codec::base32_lower);
            CHECK(parse_endpoint_ticket(cut).error() == blob_errc::ticket_truncated);
        }
        // For the sake of later versions, more is fine.
        auto longer = bytes;
        longer.push_back(std::byte{1});
        CHECK(parse_blob_ticket(blob_text(longer)).value() == parse_blob_ticket(text).value());
    }
}

TEST_CASE("tickets: each mistake has its own error", "[blob]")
{
    const std::string good = blob_text(ticket_bytes("00", "00"));
    CHECK_FALSE(blob_error(good));
    const auto& endpoint_text = vectors()["tickets"][0]["endpoint_ticket"].as_string();
    CHECK(blob_error(endpoint_text) == blob_errc::unsupported_ticket);
    CHECK(parse_endpoint_ticket(good).error() == blob_errc::unsupported_ticket);
    CHECK(blob_error("doc" + good.substr(4)) == blob_errc::unsupported_ticket);
    CHECK(blob_error("BLOB" + good.substr(4)) == blob_errc::unsupported_ticket);
    CHECK(blob_error("") == blob_errc::unsupported_ticket);
    CHECK(blob_error(" " + good) == blob_errc::unsupported_ticket);
    CHECK(blob_error(good + "\n") == blob_errc::ticket_mistyped);
    CHECK(blob_error(good.substr(0, 30) + "1" + good.substr(31)) == blob_errc::ticket_mistyped);
    CHECK(blob_error("blob" + std::string(max_ticket_characters, 'a')) ==
          blob_errc::ticket_too_large);

    auto newer = ticket_bytes("00", "00");
    newer[0] = std::byte{1};
    CHECK(blob_error(blob_text(newer)) == blob_errc::unsupported_ticket);
    CHECK(blob_error(blob_text(ticket_bytes("02", "00"))) == blob_errc::bad_ticket);
    CHECK(blob_error(blob_text(ticket_bytes("00", "00", "02"))) == blob_errc::bad_ticket);
    CHECK(blob_error(blob_text(ticket_bytes("00", "0102"))) == blob_errc::bad_ticket);
    CHECK(blob_error(blob_text(ticket_bytes("00", "01007f000001ffff04"))) == blob_errc::bad_ticket);
    // A relay that is empty, not UTF-8, has a control character, a space, or is too long.
    CHECK(blob_error(blob_text(ticket_bytes("0100", "00"))) == blob_errc::bad_ticket);
    CHECK(blob_error(blob_text(ticket_bytes("0101ff", "00"))) == blob_errc::bad_ticket);
    CHECK(blob_error(blob_text(ticket_bytes("01021b61", "00"))) == blob_errc::bad_ticket);
    CHECK(blob_error(blob_text(ticket_bytes("01022061", "00"))) == blob_errc::bad_ticket);
    CHECK(blob_error(blob_text(ticket_bytes("018110", "00"))) == blob_errc::ticket_too_large);
    // Counts far beyond what is there.
    CHECK(blob_error(blob_text(ticket_bytes("00", "ffffffffffffffffff01"))) ==
          blob_errc::ticket_too_large);
    CHECK(blob_error(blob_text(ticket_bytes("00", "21"))) == blob_errc::ticket_too_large);
}

TEST_CASE("tickets: at most max_ticket_addresses are written and read", "[blob]")
{
    blob_ticket ticket{{vector_id(), {}}, blob_format::raw, vector_hash()};
    for (std::uint16_t port = 1; port <= 40; ++port) {
        ticket.address.paths.push_back(v4({10, 0, 0, 1}, port));
    }
    CHECK(parse_blob_ticket(to_string(ticket)).value().address.paths.size() ==
          max_ticket_addresses);
    CHECK(parse_endpoint_ticket(to_endpoint_ticket(ticket.address)).value().paths.size() ==
          max_ticket_addresses);
    ticket.address.paths.push_back(relay_address{"https://a/"});
    ticket.address.paths.push_back(relay_address{"https://b/"});
    const auto both = parse_blob_ticket(to_string(ticket)).value().address.paths;
    CHECK(both.size() == max_ticket_addresses);
    CHECK(std::get<relay_address>(both[0]).url == "https://a/");
    CHECK(std::holds_alternative<socket_address>(both[1]));
}

TEST_CASE("tickets: equal addresses are written once, interface indices not at all", "[blob]")
{
    auto link_local = v6({0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}, 7);
    auto elsewhere = link_local;
    elsewhere.scope_id = 3;
    const blob_ticket ticket{
        {vector_id(), {elsewhere, link_local}}, blob_format::raw, vector_hash()};
    const auto parsed = parse_blob_ticket(to_string(ticket)).value();
    CHECK(parsed.address.paths == std::vector<path_address>{link_local});
}

TEST_CASE("tickets: random ones survive", "[blob]")
{
    const auto seed = test::seed_or(5);
    INFO("seed " << seed);
    test::seeded_rng rng(seed);
    for (int round = 0; round < 500; ++round) {
        endpoint_address address{vector_id(), {}};
        std::ranges::copy(rng.bytes(32), address.id.bytes.begin());
        if (rng.between(0, 1)) address.paths.push_back(relay_address{"https://relay.test/"});
        for (auto n = rng.between(0, 10); n > 0; --n) {
            socket_address ip;
            const bool is_v6 = rng.between(0, 1) == 1;
            ip.family = is_v6 ? socket_address::family_type::v6 : socket_address::family_type::v4;
            for (std::size_t i = 0; i < (is_v6 ? 16u : 4u); ++i)
                ip.ip[i] = rng.between<std::uint8_t>(0, 255);
            ip.port = rng.between<std::uint16_t>(0, 65535);
            address.paths.push_back(ip);
        }
        std::ranges::sort(address.paths);
        blob_ticket ticket{
            address, rng.between(0, 1) ? blob_format::raw : blob_format::hash_seq, {}};
        std::ranges::copy(rng.bytes(32), ticket.hash.bytes.begin());
        REQUIRE(parse_blob_ticket(to_string(ticket)).value() == ticket);

        address.paths.push_back(custom_address{rng(), rng.bytes(rng.between<std::size_t>(0, 40))});
        REQUIRE(parse_endpoint_ticket(to_endpoint_ticket(address)).value() == address);
    }
}

TEST_CASE("digest text: hexadecimal in lower case or base32 in any", "[blob]")
{
    const auto hash = vector_hash();
    CHECK(parse_digest(hash::to_hex(hash)).value() == hash);
    CHECK(parse_digest(codec::encode_base32(hash.bytes, codec::base32_lower)).value() == hash);
    CHECK(parse_digest(codec::encode_base32(hash.bytes, codec::base32_upper)).value() == hash);
    CHECK_FALSE(parse_digest("DADADADADADADADADADADADADADADADADADADADADADADADADADADADADADADADADA"));
    CHECK_FALSE(parse_digest(""));

    const endpoint_id id{hash.bytes};
    CHECK(to_string(id) == hash::to_hex(hash));
    CHECK(to_short_string(id) == hash::to_hex(hash).substr(0, 10));
    CHECK(blob::parse_endpoint_id(to_string(id)).value() == id);
    fetch_diagnostics where;
    where.hash = hash;
    where.peer = id;
    where.offset = 1024;
    CHECK(where.to_string() ==
          "blob " + hash::to_hex(hash) + " at byte 1024 from " + hash::to_hex(hash));
}
