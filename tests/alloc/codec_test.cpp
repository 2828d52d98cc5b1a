// Codecs: encoders allocate what they return and give up whole; decoders of fixed sizes never allocate.
#include "failing.hpp"

#include <copse/codec/base32.hpp>
#include <copse/codec/hex.hpp>
#include <copse/codec/key_text.hpp>
#include <copse/codec/postcard.hpp>
#include <copse/codec/utf8.hpp>
#include <copse/codec/varint.hpp>
#include <copse/core/address.hpp>
#include <copse/core/bytes.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/hash/digest.hpp>
#include <copse/hash/parallel.hpp>

using namespace copse;
using namespace copse::codec;
using namespace copse::test;

namespace {

const std::vector<std::byte> key = pattern(32);

endpoint_id some_id()
{
    endpoint_id out;
    std::copy(key.begin(), key.end(), out.bytes.begin());
    return out;
}

}  // namespace

TEST_CASE("alloc: copse::codec::encode_hex, copse::codec::decode_hex", "[alloc]")
{
    CHECK(fail_each_allocation_of([] { return encode_hex(key); }) == 1);
    std::array<std::byte, 32> into;
    const std::string text = encode_hex(key);
    CHECK(fail_each_allocation_of([&] { return decode_hex(text, into).has_value(); }) == 0);
}

TEST_CASE("alloc: copse::codec::encode_base32, copse::codec::decode_base32", "[alloc]")
{
    CHECK(fail_each_allocation_of([] { return encode_base32(key, base32_z); }) == 1);
    const std::string text = encode_base32(key, base32_z);
    CHECK(fail_each_allocation_of([&] { return decode_base32(text, base32_z, 32).value(); }) == 1);
    std::array<std::byte, 32> into;
    CHECK(fail_each_allocation_of(
              [&] { return decode_base32(text, into, base32_z).has_value(); }) == 0);
}

TEST_CASE("alloc: copse::codec::parse_key_text, copse::codec::parse_endpoint_id, "
          "copse::codec::to_string, copse::codec::to_short_string, copse::codec::to_z_base32",
          "[alloc]")
{
    const endpoint_id id = some_id();
    const std::string text = codec::to_string(id);
    CHECK(fail_each_allocation_of([&] { return parse_key_text(text).has_value(); }) == 0);
    CHECK(fail_each_allocation_of([&] { return codec::parse_endpoint_id(text).value() == id; }) ==
          0);
    CHECK(fail_each_allocation_of([&] { return codec::to_string(id); }) == 1);
    CHECK(fail_each_allocation_of([&] { return codec::to_short_string(id); }) <= 1);
    CHECK(fail_each_allocation_of([&] { return to_z_base32(id); }) == 1);
}

TEST_CASE("alloc: copse::codec::decode_varint, copse::codec::append_varint", "[alloc]")
{
    std::vector<std::byte> text;
    append_varint(text, ~std::uint64_t{0});
    CHECK(fail_each_allocation_of(
              [&] { return decode_varint<std::uint64_t>(text).value().value; }) == 0);
    const auto append = [] {
        std::vector<std::byte> out;
        append_varint(out, ~std::uint64_t{0});
        return out;
    };
    CHECK(fail_each_allocation_of(append) > 0);
}

TEST_CASE("alloc: copse::codec::decode_utf8, copse::codec::is_utf8", "[alloc]")
{
    CHECK(fail_each_allocation_of([] { return is_utf8("a\xc3\xa4\xf0\x9f\x8c\xb2"); }) == 0);
    CHECK(fail_each_allocation_of([] { return decode_utf8("\xc3\xa4").code_point; }) == 0);
}

TEST_CASE("alloc: copse::codec::postcard_writer", "[alloc]")
{
    const auto write = [] {
        std::vector<std::byte> out;
        postcard_writer to(out);
        to.u8(1);
        to.unsigned_integer(1 << 20);
        to.signed_integer(-5);
        to.boolean(true);
        to.option(false);
        to.enum_index(3);
        to.bytes(key);
        to.string("a text that is longer than what fits into the object");
        return out;
    };
    CHECK(fail_each_allocation_of(write) > 2);
}

TEST_CASE("alloc: copse::codec::postcard_reader (never allocates)", "[alloc]")
{
    std::vector<std::byte> from;
    postcard_writer to(from);
    to.u8(1);
    to.unsigned_integer(1 << 20);
    to.signed_integer(-5);
    to.boolean(true);
    to.option(true);
    to.enum_index(3);
    to.bytes(key);
    to.string("text");
    const auto read = [&] {
        postcard_reader in(from);
        bool good = in.u8().has_value();
        good = good && in.u64().has_value();
        good = good && in.i64().has_value();
        good = good && in.boolean().has_value();
        good = good && in.option().has_value();
        good = good && in.enum_index(4).has_value();
        good = good && in.bytes(32).has_value();
        good = good && in.string(4).has_value();
        return good && in.finish().has_value();
    };
    REQUIRE(read());
    CHECK(fail_each_allocation_of(read) == 0);
}

TEST_CASE("alloc: copse::socket_address::parse, copse::socket_address::to_string", "[alloc]")
{
    const std::string text = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535";
    const auto address = socket_address::parse(text).value();
    const auto parse = [&] {
        return socket_address::parse("[2001:db8:1111:2222:3333:4444:5555:6666]:65535").value() ==
               address;
    };
    fail_each_allocation_of(parse);
    CHECK(fail_each_allocation_of([&] { return address.to_string(); }) > 0);
}

TEST_CASE("alloc: copse::hash::to_hex", "[alloc]")
{
    CHECK(fail_each_allocation_of([] { return hash::to_hex(hash::blake3_hash(key)); }) == 1);
}

TEST_CASE("alloc: copse::hash::blake3, copse::hash::blake3_hash, copse::hash::subtree_cv, "
          "copse::hash::group_cvs, copse::hash::parent_cvs, copse::hash::segment_cv, "
          "copse::hash::subtree_merger (never allocate)",
          "[alloc]")
{
    const auto data = pattern(300'000);
    std::vector<std::byte> scratch(64 << 10);
    const auto all = [&] {
        hash::blake3 hasher;
        hasher.update(data);
        const auto root = hasher.finalize();
        std::array<hash::digest, 2> groups;
        hash::group_cvs(std::span(data).first(2 * hash::group_size), 0, groups);
        std::array<hash::digest, 1> parents;
        hash::parent_cvs(std::as_bytes(std::span(groups)), parents);
        const hash::segment_plan plan(data.size(), 128 << 10);
        hash::subtree_merger merger;
        for (std::uint64_t i = 0; i < plan.count(); ++i) {
            const auto read = [&](std::uint64_t at, std::span<std::byte> out) -> result<void> {
                std::copy_n(data.begin() + static_cast<std::ptrdiff_t>(at), out.size(),
                            out.begin());
                return outcome::success();
            };
            const auto cv = hash::segment_cv(read, plan, plan[i], scratch);
            merger.push(cv.value(), hash::chunk_count(plan[i].size));
        }
        return root == hash::blake3_hash(data) && root == merger.root();
    };
    REQUIRE(all());
    CHECK(fail_each_allocation_of(all) == 0);
}
