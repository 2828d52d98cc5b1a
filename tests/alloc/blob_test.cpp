// What the blob protocol encodes and decodes: whole values or std::bad_alloc.
#include "failing.hpp"
#include "json.hpp"

#include <copse/blob/collection.hpp>
#include <copse/blob/observe.hpp>
#include <copse/blob/ticket.hpp>
#include <copse/blob/wire.hpp>
#include <copse/codec/postcard.hpp>
#include <copse/hash/blake3.hpp>

using namespace copse;
using namespace copse::blob;
using namespace copse::test;

namespace {

const hash::digest some_hash = hash::blake3_hash(pattern(9));

bao::chunk_ranges scattered()
{
    bao::chunk_ranges out;
    for (std::uint64_t at = 0; at < 60; at += 3) out.insert(100 * at, 100 * at + 7);
    return out;
}

ranges_seq some_ranges()
{
    ranges_seq::builder builder;
    for (std::uint64_t i = 0; i < 8; ++i) {
        builder.from(i, i % 2 ? scattered() : bao::chunk_ranges::all());
    }
    return builder.from(9, {}).build();
}

endpoint_address some_address()
{
    endpoint_address out;
    out.id.bytes = some_hash.bytes;
    out.paths.push_back(relay_address{"https://relay.example.org/with/a/long/path/"});
    for (std::uint16_t port = 1; port < 6; ++port) {
        out.paths.push_back(socket_address::loopback_v4(port));
    }
    return out;
}

const std::vector<std::string> names = {"a/file with a long name that is not kept in the object",
                                        "b/second name, as long as the first one of them all", "c"};

}  // namespace

TEST_CASE("alloc: copse::blob::encode_range_spec, copse::blob::decode_range_spec", "[alloc]")
{
    const auto ranges = scattered();
    const auto encode = [&] {
        std::vector<std::byte> out;
        codec::postcard_writer to(out);
        encode_range_spec(to, ranges);
        return out;
    };
    const auto text = encode();
    CHECK(fail_each_allocation_of(encode) > 0);
    const auto decode = [&] {
        codec::postcard_reader from(text);
        return decode_range_spec(from).value();
    };
    CHECK(decode() == ranges);
    CHECK(fail_each_allocation_of(decode) > 0);
}

TEST_CASE("alloc: copse::blob::ranges_seq::decode, copse::blob::ranges_seq::encode, "
          "copse::blob::ranges_seq::at, copse::blob::ranges_seq::builder, "
          "copse::blob::ranges_seq::cursor",
          "[alloc]")
{
    const auto seq = some_ranges();
    CHECK(fail_each_allocation_of([] { return some_ranges(); }) > 0);
    const auto encode = [&] {
        std::vector<std::byte> out;
        codec::postcard_writer to(out);
        seq.encode(to);
        return out;
    };
    const auto text = encode();
    CHECK(fail_each_allocation_of(encode) > 0);
    const auto decode = [&] {
        codec::postcard_reader from(text);
        return ranges_seq::decode(from).value();
    };
    CHECK(decode() == seq);
    CHECK(fail_each_allocation_of(decode) > 0);
    CHECK(fail_each_allocation_of([&] { return seq.at(3); }) > 0);
    // The cursor itself holds no ranges: a failed ranges() is asked again.
    const auto walk = [&](ranges_seq::cursor& at) {
        const auto index = at.next_wanted(1);
        return std::make_pair(index, at.ranges());
    };
    CHECK(fail_each_allocation([&] { return ranges_seq::cursor(seq); }, walk) > 0);
    CHECK(fail_each_allocation_of([] { return ranges_seq::all(); }) > 0);
    CHECK(fail_each_allocation_of([] { return ranges_seq::root(scattered()); }) > 0);
    CHECK(fail_each_allocation_of([] { return ranges_seq::root_and_child_sizes(); }) > 0);
}

TEST_CASE("alloc: copse::blob::encode_request, copse::blob::decode_request, "
          "copse::blob::decode_request_type",
          "[alloc]")
{
    const get_request get{some_hash, some_ranges()};
    const observe_request observe{some_hash, scattered()};
    const push_request push{get};
    const get_many_request many{{some_hash, hash::blake3_hash({}), some_hash}, some_ranges()};
    const auto check = [](const auto& value) {
        CHECK(fail_each_allocation_of([&] { return encode_request(value); }) > 0);
        const auto text = encode_request(value);
        const auto decode = [&] { return decode_request(text).value(); };
        CHECK(std::get<std::decay_t<decltype(value)>>(decode()) == value);
        CHECK(fail_each_allocation_of(decode) > 0);
        CHECK(fail_each_allocation_of([&] { return decode_request_type(text[0]).has_value(); }) ==
              0);
    };
    check(get);
    check(observe);
    check(push);
    check(many);
    // Refused ones.
    auto cut = encode_request(many);
    cut.resize(cut.size() / 2);
    fail_each_allocation_of([&] { return decode_request(cut).error(); });
}

TEST_CASE("alloc: copse::blob::encode_observation, copse::blob::decode_observation, "
          "copse::blob::change_between, copse::blob::apply_change, copse::blob::to_observation",
          "[alloc]")
{
    const observation before{1'000'000, scattered()};
    const observation now{2'000'000, bao::chunk_ranges::range(50, 4000)};
    CHECK(fail_each_allocation_of([&] { return encode_observation(before); }) > 0);
    auto text = encode_observation(before);
    codec::postcard_reader length(text);
    REQUIRE(length.u64());
    const byte_view item = length.rest();
    REQUIRE(decode_observation(item).value() == before);
    CHECK(fail_each_allocation_of([&] { return decode_observation(item).value(); }) > 0);
    const auto change = change_between(before, now);
    CHECK(fail_each_allocation_of([&] { return change_between(before, now); }) > 0);
    // Applied whole or not at all.
    const auto apply = [&](observation& state) {
        apply_change(state, change);
        return std::make_pair(state.size, state.ranges.chunk_total(10'000));
    };
    const auto intact = [&](observation& state) { REQUIRE(state == before); };
    CHECK(fail_each_allocation([&] { return before; }, apply, intact) > 0);
    store::availability partial;
    partial.size = 1'000'000;
    partial.present = scattered();
    CHECK(fail_each_allocation_of([&] { return to_observation(partial); }) > 0);
}

TEST_CASE("alloc: copse::blob::parse_blob_ticket, copse::blob::parse_endpoint_ticket, "
          "copse::blob::to_string, copse::blob::to_endpoint_ticket, copse::blob::parse_digest, "
          "copse::blob::parse_endpoint_id, copse::blob::to_short_string",
          "[alloc]")
{
    const blob_ticket ticket{some_address(), blob_format::hash_seq, some_hash};
    CHECK(fail_each_allocation_of([&] { return blob::to_string(ticket); }) > 0);
    const std::string text = blob::to_string(ticket);
    REQUIRE(parse_blob_ticket(text).value() == ticket);
    CHECK(fail_each_allocation_of([&] { return parse_blob_ticket(text).value(); }) > 0);

    const endpoint_address address = some_address();
    CHECK(fail_each_allocation_of([&] { return to_endpoint_ticket(address); }) > 0);
    const std::string where = to_endpoint_ticket(address);
    CHECK(fail_each_allocation_of([&] { return parse_endpoint_ticket(where).value(); }) > 0);

    const std::string digits = hash::to_hex(some_hash);
    CHECK(fail_each_allocation_of([&] { return parse_digest(digits).value(); }) == 0);
    CHECK(fail_each_allocation_of([&] { return blob::parse_endpoint_id(digits).value(); }) == 0);
    CHECK(fail_each_allocation_of([&] { return blob::to_string(address.id); }) == 1);
    fail_each_allocation_of([&] { return blob::to_short_string(address.id); });
    fail_each_allocation_of([&] { return parse_blob_ticket(where).error(); });
}

TEST_CASE("alloc: copse::blob::encode_collection_meta, copse::blob::decode_collection_meta, "
          "copse::blob::check_name, copse::blob::check_names, copse::blob::escape_name",
          "[alloc]")
{
    CHECK(fail_each_allocation_of([] { return encode_collection_meta(names).value(); }) > 0);
    const auto meta = encode_collection_meta(names).value();
    const auto decode = [&] { return decode_collection_meta(meta, names.size() + 1).value(); };
    REQUIRE(decode() == names);
    CHECK(fail_each_allocation_of(decode) > 0);
    CHECK(fail_each_allocation_of([] { return check_name(names[0]).has_value(); }) == 0);
    CHECK(fail_each_allocation_of([] { return check_names(names).has_value(); }) > 0);
    const std::vector<std::string> twice = {"x", "x"};
    fail_each_allocation_of([&] {
        std::size_t at = 0;
        return check_names(twice, &at).error();
    });
    CHECK(fail_each_allocation_of(
              [] { return escape_name("bell\a and \xff, and a longer rest"); }) > 0);
}

TEST_CASE("alloc: copse::blob::encode_hash_sequence, copse::blob::hash_sequence::from_bytes",
          "[alloc]")
{
    const std::vector<hash::digest> hashes(5, some_hash);
    CHECK(fail_each_allocation_of([&] { return encode_hash_sequence(hashes); }) > 0);
    const auto text = encode_hash_sequence(hashes);
    CHECK(fail_each_allocation_of([&] { return hash_sequence::from_bytes(text).value()[4]; }) == 0);
}
