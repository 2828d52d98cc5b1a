#include "catch.hpp"
#include "json.hpp"

#include <copse/blob/wire.hpp>
#include <copse/codec/postcard.hpp>
#include <copse/core/error.hpp>

#include <map>
#include <set>

using namespace copse;
using namespace copse::blob;
using bao::chunk_ranges;
using codec::codec_errc;
using test::from_hex;

namespace {

hash::digest digest_of(std::string_view hex)
{
    hash::digest out;
    std::ranges::copy(from_hex(hex), out.bytes.begin());
    return out;
}

chunk_ranges ranges_of(const test::json::value& boundaries)
{
    std::vector<std::uint64_t> out;
    for (const auto& b : boundaries) out.push_back(b.as_u64());
    return chunk_ranges::from_boundaries(std::move(out)).value();
}

std::vector<std::byte> encoded(const ranges_seq& seq)
{
    std::vector<std::byte> out;
    codec::postcard_writer to(out);
    seq.encode(to);
    return out;
}

result<ranges_seq> decoded(byte_view from)
{
    codec::postcard_reader reader(from);
    return ranges_seq::decode(reader);
}

result<ranges_seq> decoded(std::string_view hex)
{
    return decoded(from_hex(hex));
}

std::error_code request_error(byte_view stream)
{
    const auto out = decode_request(stream);
    return out ? std::error_code{} : out.error();
}

// All wanted indices below `end` with their ranges.
std::map<std::uint64_t, chunk_ranges> walk(const ranges_seq& seq, std::uint64_t end)
{
    std::map<std::uint64_t, chunk_ranges> out;
    ranges_seq::cursor cursor(seq);
    for (auto i = cursor.next_wanted(0); i && *i < end; i = cursor.next_wanted(*i + 1)) {
        out.emplace(*i, cursor.ranges());
    }
    return out;
}

const test::json::value& vectors()
{
    static const auto loaded = test::load_vectors("iroh-blobs.json");
    return loaded;
}

}  // namespace

TEST_CASE("range spec: the bytes of the vectors, both ways, and every truncation", "[blob]")
{
    for (const auto& v : vectors()["range_specs"]) {
        INFO(v["range_spec"].as_string());
        const auto ranges = ranges_of(v["boundaries"]);
        const auto wire = v["range_spec"].as_bytes();
        std::vector<std::byte> out;
        codec::postcard_writer to(out);
        encode_range_spec(to, ranges);
        CHECK(out == wire);
        codec::postcard_reader from(wire);
        CHECK(decode_range_spec(from).value() == ranges);
        CHECK(from.finish());
        for (std::size_t n = 0; n < wire.size(); ++n) {
            codec::postcard_reader cut(byte_view(wire).first(n));
            CHECK(decode_range_spec(cut).error() == codec_errc::truncated);
        }
    }
}

TEST_CASE("range spec: zero widths and sums over 64 bits are refused", "[blob]")
{
    const auto error = [](std::string_view hex) {
        const auto wire = from_hex(hex);
        codec::postcard_reader from(wire);
        return decode_range_spec(from).error();
    };
    CHECK(error("03000005") == codec_errc::not_canonical);
    CHECK(error("020000") == codec_errc::not_canonical);
    CHECK(error("0201ffffffffffffffffff01") == codec_errc::overflow);
    CHECK(error("02ffffffffffffffffff0101") == codec_errc::overflow);
    CHECK(error("ffffffffffffffffff01") == codec_errc::limit_exceeded);
    CHECK(error("8080401111") == codec_errc::truncated);  // claims 2^20 boundaries, has two
}

TEST_CASE("ranges_seq: the bytes of the vectors, both ways, and every truncation", "[blob]")
{
    for (const auto& v : vectors()["requests"]) {
        INFO(v["name"].as_string());
        const auto& prefix = v["per_blob_ranges"]["finite_prefix"];
        ranges_seq::builder builder;
        for (std::size_t i = 0; i < prefix.size(); ++i) builder.from(i, ranges_of(prefix[i]));
        const ranges_seq seq = builder.build();
        const auto wire = v["chunk_ranges_seq"].as_bytes();
        CHECK(encoded(seq) == wire);
        CHECK(decoded(wire).value() == seq);

        const bool infinite = v["per_blob_ranges"]["infinite"].as_bool();
        const auto found = walk(seq, prefix.size() + 3);
        for (std::size_t i = 0; i < prefix.size() + 3; ++i) {
            chunk_ranges expected;
            if (i < prefix.size()) expected = ranges_of(prefix[i]);
            else if (infinite) expected = ranges_of(prefix[prefix.size() - 1]);
            CHECK(seq.at(i) == expected);
            CHECK(found.count(i) == (expected.empty() ? 0 : 1));
            if (!expected.empty()) CHECK(found.at(i) == expected);
        }
        for (std::size_t n = 0; n < wire.size(); ++n) {
            CHECK(decoded(byte_view(wire).first(n)).error() == codec_errc::truncated);
        }
    }
}

TEST_CASE("ranges_seq: the named shapes", "[blob]")
{
    CHECK(test::hex(encoded(ranges_seq())) == "00");
    CHECK(test::hex(encoded(ranges_seq::root(chunk_ranges::all()))) == "020001000100");
    CHECK(test::hex(encoded(ranges_seq::root(chunk_ranges::none()))) == "00");
    CHECK(test::hex(encoded(ranges_seq::all())) == "01000100");
    CHECK(test::hex(encoded(ranges_seq::root_and_child_sizes())) ==
          "020001000101ffffffffffffffffff01");

    CHECK(ranges_seq::root(chunk_ranges::all()).is_single_blob());
    CHECK(ranges_seq::root(chunk_ranges::last_chunk()).is_single_blob());
    CHECK_FALSE(ranges_seq().is_single_blob());
    CHECK_FALSE(ranges_seq::all().is_single_blob());
    CHECK_FALSE(ranges_seq::root_and_child_sizes().is_single_blob());
    CHECK_FALSE(decoded("020101000100").value().is_single_blob());  // child 0 only
    CHECK_FALSE(decoded("020001000200").value().is_single_blob());  // root and child 0

    CHECK(ranges_seq().empty());
    CHECK(ranges_seq::root_and_child_sizes().entry_count() == 2);
    CHECK_FALSE(ranges_seq().wants_children());
    CHECK_FALSE(ranges_seq::root(chunk_ranges::all()).wants_children());
    CHECK(ranges_seq::all().wants_children());
    CHECK(decoded("020101000100").value().wants_children());
}

TEST_CASE("ranges_seq: only the canonical form is accepted", "[blob]")
{
    CHECK(decoded("020001000100").has_value());
    CHECK(decoded("010000").error() == codec_errc::not_canonical);            // first entry empty
    CHECK(decoded("020001000000").error() == codec_errc::not_canonical);      // index repeated
    CHECK(decoded("020001000101 00").error() == codec_errc::not_canonical);   // same ranges again
    CHECK(decoded("0300010001000100").error() == codec_errc::not_canonical);  // empty twice
    CHECK(decoded("010003000005").error() == codec_errc::not_canonical);      // width of 0
    CHECK(decoded("02ffffffffffffffffff0101000100").error() == codec_errc::overflow);
    CHECK(decoded("ffffffffff0f").error() == codec_errc::limit_exceeded);
    CHECK(decoded("80801e0001000100").error() == codec_errc::truncated);
    // Padded integers are another spelling of the same numbers; what is kept is the short one.
    CHECK(test::hex(encoded(decoded("82008000018000"
                                    "81008000")
                                .value())) == "020001000100");
    // Equal ranges in another spelling are still equal.
    CHECK(decoded("02000100018100800000").error() == codec_errc::not_canonical);
}

TEST_CASE("ranges_seq: claimed indices cost nothing", "[blob]")
{
    // All children from 2^63 on, and from 2^64-1 on only the first chunk.
    const auto seq = ranges_seq::builder()
                         .from(std::uint64_t{1} << 63, chunk_ranges::all())
                         .from(UINT64_MAX, chunk_ranges::range(0, 1))
                         .build();
    CHECK(decoded(encoded(seq)).value() == seq);
    ranges_seq::cursor cursor(seq);
    CHECK(cursor.next_wanted(0) == std::uint64_t{1} << 63);
    CHECK(cursor.ranges() == chunk_ranges::all());
    CHECK(cursor.next_wanted(UINT64_MAX) == UINT64_MAX);
    CHECK(cursor.ranges() == chunk_ranges::range(0, 1));
    CHECK(seq.at(0).empty());
    CHECK(seq.at(UINT64_MAX - 1) == chunk_ranges::all());
}

TEST_CASE("ranges_seq: random sequences survive and equal a plain map", "[blob]")
{
    const auto seed = test::seed_or(3);
    INFO("seed " << seed);
    test::seeded_rng rng(seed);
    for (int round = 0; round < 2000; ++round) {
        ranges_seq::builder builder;
        std::vector<chunk_ranges> plain;
        const auto length = rng.between<std::size_t>(0, 12);
        for (std::size_t i = 0; i < length; ++i) {
            std::set<std::uint64_t> boundaries;
            for (auto n = rng.between(0, 3); n > 0; --n)
                boundaries.insert(rng() >> rng.between(40, 63));
            plain.push_back(
                chunk_ranges::from_boundaries({boundaries.begin(), boundaries.end()}).value());
            builder.from(i, plain.back());
        }
        const ranges_seq seq = builder.build();
        const auto wire = encoded(seq);
        REQUIRE(decoded(wire).value() == seq);
        REQUIRE(encoded(decoded(wire).value()) == wire);
        const auto found = walk(seq, length);
        for (std::size_t i = 0; i < length; ++i) {
            REQUIRE(seq.at(i) == plain[i]);
            REQUIRE(found.count(i) == (plain[i].empty() ? 0 : 1));
        }
    }
}

TEST_CASE("requests: the bytes of the vectors, both ways, and every truncation", "[blob]")
{
    const auto hash = digest_of(vectors()["hash_used_in_requests"].as_string());
    const auto second = digest_of(vectors()["second_hash"].as_string());
    const auto check = [](const auto& request_value, const std::vector<std::byte>& wire) {
        INFO(test::hex(wire));
        CHECK(encode_request(request_value) == wire);
        CHECK(decode_request(wire).value() == request(request_value));
        CHECK(request_error({}) == blob_errc::malformed_request);
        for (std::size_t n = 1; n < wire.size(); ++n) {
            CHECK(request_error(byte_view(wire).first(n)) == blob_errc::malformed_request);
        }
    };
    for (const auto& v : vectors()["requests"]) {
        INFO(v["name"].as_string());
        const auto seq = decoded(v["chunk_ranges_seq"].as_bytes()).value();
        check(get_request{hash, seq}, v["get"].as_bytes());
        check(push_request{{hash, seq}}, v["push_as_sent"].as_bytes());
        check(get_many_request{{hash, second}, seq}, v["get_many_two_hashes"].as_bytes());
    }
    check(observe_request{hash, chunk_ranges::all()}, vectors()["observe_request"].as_bytes());
    check(get_many_request{{second, hash},
                           ranges_seq::builder()
                               .from(0, chunk_ranges::all())
                               .from(2, chunk_ranges::none())
                               .build()},
          vectors()["get_many_from_iterator_sorted"].as_bytes());
    check(get_many_request{{second, hash},
                           ranges_seq::builder()
                               .from(0, chunk_ranges::range(0, 1))
                               .from(1, chunk_ranges::all())
                               .from(2, chunk_ranges::none())
                               .build()},
          vectors()["get_many_builder_da_all_11_first_chunk"].as_bytes());
}

TEST_CASE("requests: those that a real provider drops are refused, with the reason", "[blob]")
{
    const auto& wire = vectors()["wire"];
    const auto sent = [&](const char* name) { return wire[name]["sent"].as_bytes(); };
    CHECK(request_error(sent("reserved_request_type_2")) == blob_errc::unknown_request);
    CHECK(request_error(sent("unknown_request_type_200")) == blob_errc::unknown_request);
    CHECK(request_error(sent("truncated_get")) == blob_errc::malformed_request);
    CHECK(request_error(sent("empty_stream")) == blob_errc::malformed_request);
    CHECK(request_error(sent("get_repeated_spec_rejected")) == blob_errc::malformed_request);
    CHECK(request_error(sent("get_zero_width_rejected")) == blob_errc::malformed_request);

    auto large = sent("get_small_blob");
    large.resize(1 + max_request_bytes);
    CHECK(decode_request(large));
    large.push_back({});
    CHECK(request_error(large) == blob_errc::request_too_large);
}

TEST_CASE("requests: those that a real provider answers are understood", "[blob]")
{
    const auto& wire = vectors()["wire"];
    for (const char* name :
         {"get_small_blob", "get_empty_blob", "get_40000_first_chunk", "get_40000_size_proof",
          "get_collection_all", "get_collection_sizes", "get_empty_ranges", "get_child_beyond_end",
          "get_with_trailing_bytes"}) {
        INFO(name);
        const auto sent = wire[name]["sent"].as_bytes();
        const auto read = decode_request(sent);
        REQUIRE(read);
        const auto& get = std::get<get_request>(read.value());
        const auto again = encode_request(get);
        REQUIRE(again.size() <= sent.size());
        CHECK(std::equal(again.begin(), again.end(), sent.begin()));
    }
    CHECK(std::get<get_request>(decode_request(wire["get_small_blob"]["sent"].as_bytes()).value())
              .ranges.is_single_blob());
    CHECK(decode_request_type(std::byte{9}).value() == request_type::get_many);
    CHECK(decode_request_type(std::byte{7}).error() == blob_errc::unknown_request);
}

TEST_CASE("requests: random bytes are refused or read, never more than there is", "[blob]")
{
    const auto seed = test::seed_or(4);
    INFO("seed " << seed);
    test::seeded_rng rng(seed);
    const auto& all = vectors()["requests"];
    int read = 0;
    for (int i = 0; i < 20000; ++i) {
        auto wire = all[rng.between<std::size_t>(0, all.size() - 1)]["get"].as_bytes();
        for (auto n = rng.between(1, 3); n > 0; --n) {
            wire[rng.between<std::size_t>(0, wire.size() - 1)] =
                static_cast<std::byte>(rng() >> rng.between(56, 63));
        }
        const auto got = decode_request(wire);
        if (!got) continue;
        ++read;
        std::visit(
            [&](const auto& r) {
                const auto again = encode_request(r);
                REQUIRE(again.size() <= wire.size());
                REQUIRE(decode_request(again).value() == got.value());
            },
            got.value());
    }
    CHECK(read > 100);
}

TEST_CASE("wire codes: failures to codes and back", "[blob]")
{
    CHECK(from_wire_code(1) == blob_errc::refused);
    CHECK(from_wire_code(2) == blob_errc::rate_limited);
    CHECK(from_wire_code(3) == blob_errc::not_available);
    CHECK(from_wire_code(0) == blob_errc::aborted_by_peer);
    CHECK(from_wire_code(UINT64_MAX) == blob_errc::aborted_by_peer);
    CHECK(to_wire_code(blob_errc::refused) == wire_code::permission);
    CHECK(to_wire_code(blob_errc::malformed_request) == wire_code::permission);
    CHECK(to_wire_code(blob_errc::unknown_request) == wire_code::permission);
    CHECK(to_wire_code(blob_errc::unsupported_request) == wire_code::permission);
    CHECK(to_wire_code(blob_errc::request_too_large) == wire_code::permission);
    CHECK(to_wire_code(blob_errc::rate_limited) == wire_code::limit);
    CHECK(to_wire_code(transport_errc::limit_reached) == wire_code::limit);
    CHECK(to_wire_code(blob_errc::not_available) == wire_code::internal);
    CHECK(to_wire_code(blob_errc::leaf_mismatch) == wire_code::internal);
    CHECK(to_wire_code(std::make_error_code(std::errc::io_error)) == wire_code::internal);
}

TEST_CASE("blob errors: each has a message of its own", "[blob]")
{
    std::set<std::string> messages;
    const int last = static_cast<int>(blob_errc::not_confirmed);
    for (int i = 1; i <= last; ++i) messages.insert(blob_category().message(i));
    CHECK(messages.size() == static_cast<std::size_t>(last));
    CHECK(messages.count("unknown blob error") == 0);
    CHECK(blob_category().message(last + 1) == "unknown blob error");
}
