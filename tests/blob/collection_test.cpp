#include "catch.hpp"
#include "json.hpp"

#include <copse/blob/collection.hpp>
#include <copse/codec/postcard.hpp>

#include <set>

using namespace copse;
using namespace copse::blob;

namespace {

using names_type = std::vector<std::string>;

std::error_code name_error(std::string_view name)
{
    const auto out = check_name(name);
    return out ? std::error_code{} : out.error();
}

std::error_code meta_error(std::string_view hex, std::uint64_t hashes)
{
    const auto bytes = test::from_hex("436f6c6c656374696f6e56302e" + std::string(hex));
    const auto out = decode_collection_meta(bytes, hashes);
    return out ? std::error_code{} : out.error();
}

}  // namespace

TEST_CASE("collection: the vector, both ways, and every truncation", "[blob]")
{
    const auto v = test::load_vectors("iroh-blobs.json")["collection"];
    names_type names;
    std::vector<hash::digest> hashes(1);
    std::ranges::copy(v["meta_hash"].as_bytes(), hashes[0].bytes.begin());
    for (const auto& file : v["files"]) {
        names.push_back(file["name"].as_string());
        std::ranges::copy(file["hash"].as_bytes(), hashes.emplace_back().bytes.begin());
    }
    const auto meta = v["meta_blob"].as_bytes();
    CHECK(encode_collection_meta(names).value() == meta);
    CHECK(decode_collection_meta(meta, v["hash_seq_len"].as_u64()).value() == names);
    CHECK(check_names(names));
    for (std::size_t n = 0; n < meta.size(); ++n) {
        INFO("cut at " << n);
        CHECK(decode_collection_meta(byte_view(meta).first(n), 4).error() ==
              blob_errc::bad_collection);
    }
    CHECK(decode_collection_meta(meta, 3).error() == blob_errc::bad_collection);
    CHECK(decode_collection_meta(meta, 5).error() == blob_errc::bad_collection);

    const auto sequence = v["hash_seq_blob"].as_bytes();
    CHECK(encode_hash_sequence(hashes) == sequence);
    const auto read = hash_sequence::from_bytes(sequence).value();
    REQUIRE(read.size() == hashes.size());
    for (std::size_t i = 0; i < hashes.size(); ++i) CHECK(read[i] == hashes[i]);
    for (std::size_t n = 0; n < sequence.size(); ++n) {
        const auto cut = hash_sequence::from_bytes(byte_view(sequence).first(n));
        CHECK(cut.has_value() == (n % 32 == 0));
        if (!cut) CHECK(cut.error() == blob_errc::bad_hash_sequence);
    }
}

TEST_CASE("hash sequence: its size is limited", "[blob]")
{
    CHECK(hash_sequence::is_valid_size(0));
    CHECK(hash_sequence::is_valid_size(max_hash_sequence_bytes));
    CHECK_FALSE(hash_sequence::is_valid_size(max_hash_sequence_bytes + 32));
    CHECK_FALSE(hash_sequence::is_valid_size(33));
    CHECK(hash_sequence::from_bytes({}).value().empty());
}

TEST_CASE("collection: wrong headers, counts and names are refused", "[blob]")
{
    CHECK_FALSE(meta_error("00", 1));
    CHECK_FALSE(meta_error("010161", 2));
    CHECK(meta_error("", 1) == blob_errc::bad_collection);
    CHECK(meta_error("00", 0) == blob_errc::bad_collection);
    CHECK(meta_error("0101ff", 2) == blob_errc::bad_name_encoding);
    CHECK(meta_error("01ffffffffffffffffff01", 2) == blob_errc::bad_collection);
    CHECK(meta_error("ffffffffffffffffff01", 0) == blob_errc::collection_too_large);
    CHECK(meta_error("c0843d", 1'000'001) ==
          blob_errc::bad_collection);  // 1,000,000 names, no bytes
    CHECK(meta_error("c1843d", 1'000'002) == blob_errc::collection_too_large);
    auto wrong = test::bytes("CollectionV1.");
    wrong.push_back(std::byte{0});
    CHECK(decode_collection_meta(wrong, 1).error() == blob_errc::bad_collection);

    CHECK(encode_collection_meta(names_type(max_collection_names + 1)).error() ==
          blob_errc::collection_too_large);
    const names_type huge(17, std::string(4u << 20, 'x'));
    CHECK(encode_collection_meta(huge).error() == blob_errc::collection_too_large);
    CHECK(
        decode_collection_meta(std::vector<std::byte>(max_collection_meta_bytes + 1), 1).error() ==
        blob_errc::collection_too_large);
}

TEST_CASE("names: ordinary ones of all scripts pass", "[blob]")
{
    for (const char* good : {"a", "a/b", "dir/sub/\xc3\xa9.bin", "with space", " lead", "...",
                             "..a", "a..", ".hidden", "a/.copse-partial", ".copse-partial2",
                             "\xf0\x9f\x98\x80", "a:b*c?\"<>|", "\xc2\xa0", "-rf", "~"}) {
        INFO(good);
        CHECK_FALSE(name_error(good));
    }
    CHECK_FALSE(name_error(std::string(255, 'x')));
    std::string deep;
    while (deep.size() + 2 <= max_name_bytes - 1) deep += "d/";
    deep += "f";
    CHECK_FALSE(name_error(deep));
}

TEST_CASE("names: hostile ones are refused, each for its reason", "[blob]")
{
    for (const char* unsafe : {"", "/", "/etc/passwd", "..", ".", "../x", "a/../../b", "a/..",
                               "a/./b", "a//b", "a/", "//", "./a"}) {
        INFO(unsafe);
        CHECK(name_error(unsafe) == blob_errc::unsafe_name);
    }
    for (const std::string_view unprintable :
         {std::string_view("a\\b"), std::string_view("a\0b", 3), std::string_view("\n"),
          std::string_view("a\x1b[2J"), std::string_view("\x7f"), std::string_view("\xc2\x80"),
          std::string_view("x\xc2\x9f"), std::string_view("..\\a"), std::string_view("C:\\x")}) {
        CHECK(name_error(unprintable) == blob_errc::unprintable_name);
    }
    for (const char* encoding : {"\xff", "a\xc0\xaf", "\xed\xa0\x80", "x/\xc3"}) {
        CHECK(name_error(encoding) == blob_errc::bad_name_encoding);
    }
    for (const char* reserved : {".copse-partial", ".copse-partial/x", ".Copse-PARTIAL/a/b"}) {
        CHECK(name_error(reserved) == blob_errc::reserved_name);
    }
    CHECK(name_error(std::string(256, 'x')) == blob_errc::name_too_long);
    CHECK(name_error("a/" + std::string(256, 'x') + "/b") == blob_errc::name_too_long);
    std::string deep;
    while (deep.size() <= max_name_bytes) deep += "d/";
    CHECK(name_error(deep + "f") == blob_errc::name_too_long);
}

TEST_CASE("names: a list has neither duplicates nor files that are folders", "[blob]")
{
    const auto refused = [](const names_type& names, blob_errc expected) {
        std::size_t index = 99;
        const auto out = check_names(names, &index);
        REQUIRE_FALSE(out);
        CHECK(out.error() == expected);
        CHECK_FALSE(check_names(names));
        return index;
    };
    CHECK(check_names({}));
    CHECK(check_names(names_type{"a", "a b", "a.txt", "a0", "ab", "b/a", "b/a-", "b/a0/x"}));
    CHECK(refused({"b", "a", "c", "a"}, blob_errc::duplicate_name) == 3);
    CHECK(refused({"a/b", "x", "a"}, blob_errc::conflicting_name) == 0);
    CHECK(refused({"a", "a b", "a.c", "a!", "a/b/c"}, blob_errc::conflicting_name) == 4);
    CHECK(refused({"d/e", "d/e f", "d/e/f"}, blob_errc::conflicting_name) == 2);
    CHECK(refused({"ok", "../x"}, blob_errc::unsafe_name) == 1);
}

TEST_CASE("names: the list check agrees with a slow one on random lists", "[blob]")
{
    const auto seed = test::seed_or(6);
    INFO("seed " << seed);
    test::seeded_rng rng(seed);
    int good = 0;
    for (int round = 0; round < 5000; ++round) {
        names_type names(rng.between<std::size_t>(1, 6));
        for (auto& name : names) {
            for (auto parts = rng.between(1, 3); parts > 0; --parts) {
                if (!name.empty()) name += '/';
                for (auto n = rng.between(1, 2); n > 0; --n)
                    name += "ab -\xc3\xa9"[rng.between(0, 3)];
            }
        }
        bool clash = false;
        for (std::size_t i = 0; i < names.size(); ++i) {
            for (std::size_t j = 0; j < names.size(); ++j) {
                if (i != j)
                    clash = clash || names[i] == names[j] || names[i].starts_with(names[j] + "/");
            }
        }
        REQUIRE(check_names(names).has_value() == !clash);
        if (clash) continue;
        ++good;
        const auto meta = encode_collection_meta(names).value();
        REQUIRE(decode_collection_meta(meta, names.size() + 1).value() == names);
    }
    CHECK(good > 500);
    CHECK(good < 4900);
}

TEST_CASE("names: messages show them without what a terminal would obey", "[blob]")
{
    CHECK(escape_name("plain \xc3\xa9/\xf0\x9f\x98\x80") == "plain \xc3\xa9/\xf0\x9f\x98\x80");
    CHECK(escape_name("a\x1b[2J\n") == "a\\x1b[2J\\x0a");
    CHECK(escape_name(std::string_view("\0", 1)) == "\\x00");
    CHECK(escape_name("a\\b") == "a\\\\b");
    CHECK(escape_name("\xff\xc3") == "\\xff\\xc3");
    CHECK(escape_name("\xc2\x9b") == "\\u009b");
    CHECK(escape_name("\xe2\x80\xae"
                      "gpj.exe") == "\\u202egpj.exe");
    CHECK(escape_name("\xef\xbb\xbf") == "\\ufeff");
    CHECK(escape_name("") == "");
    CHECK(escape_name(std::string(5000, 'x')).size() == 203);
    CHECK(escape_name("abcd", 3) == "abc...");
    CHECK(escape_name("abc", 3) == "abc");

    const auto seed = test::seed_or(7);
    INFO("seed " << seed);
    test::seeded_rng rng(seed);
    for (int i = 0; i < 5000; ++i) {
        const auto shown = escape_name(test::text(rng.bytes(rng.between<std::size_t>(0, 24))));
        REQUIRE(codec::is_utf8(shown));
        for (const char c : shown) REQUIRE(static_cast<unsigned char>(c) >= 0x20);
    }
}
