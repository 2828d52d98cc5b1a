#include "catch.hpp"
#include "json.hpp"
#include "reference.hpp"
#include "support.hpp"

#include "copse/hash/blake3.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <initializer_list>
#include <iterator>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace copse;
using namespace copse::test;
using hash::blake3;

namespace {

// The wider, the later.
constexpr hash::instruction_set all_sets[] = {
    hash::instruction_set::portable, hash::instruction_set::neon, hash::instruction_set::sse41,
    hash::instruction_set::avx2, hash::instruction_set::avx512};

std::vector<std::byte> extended(const blake3& hasher, std::size_t size)
{
    std::vector<std::byte> out(size);
    hasher.finalize(std::span(out));
    return out;
}

/// First 32 bytes of a vector's output.
std::string head(const json::value& output)
{
    return output.as_string().substr(0, 64);
}

}  // namespace

// tests/vectors/blake3-official.json: the test vectors that the BLAKE3 project publishes.
TEST_CASE("blake3: the official vectors in all three modes", "[hash]")
{
    const auto vectors = load_vectors("blake3-official.json");
    const auto key = bytes(vectors["key"].as_string());
    REQUIRE(key.size() == 32);
    const std::string context = vectors["context_string"].as_string();
    REQUIRE(vectors["cases"].size() == 35);
    with_every_instruction_set([&](std::string_view set) {
        for (const auto& vector : vectors["cases"]) {
            const auto size = static_cast<std::size_t>(vector["input_len"].as_u64());
            INFO(set << ", " << size << " bytes");
            const auto input = pattern(size);
            CHECK(to_hex(hash::blake3_hash(input)) == head(vector["hash"]));
            struct mode {
                blake3 hasher;
                const char* name;
            };
            for (auto& [hasher, name] :
                 {mode{blake3(), "hash"},
                  mode{blake3::keyed(std::span(key).first<32>()), "keyed_hash"},
                  mode{blake3::derive_key(context), "derive_key"}}) {
                INFO(name);
                auto once = hasher;
                once.update(input);
                CHECK(to_hex(once.finalize()) == head(vector[name]));
                const auto expected = vector[name].as_bytes();
                REQUIRE(expected.size() == 131);
                CHECK(hex(extended(once, expected.size())) == hex(expected));
            }
        }
    });
}

TEST_CASE("blake3: extended output is a prefix of any longer one", "[hash]")
{
    blake3 hasher;
    hasher.update(pattern(5000));
    const auto longest = extended(hasher, 300);
    for (const auto size :
         std::initializer_list<std::size_t>{0, 1, 31, 32, 33, 63, 64, 65, 127, 128, 129, 299}) {
        INFO(size);
        const auto output = extended(hasher, size);
        CHECK(std::equal(output.begin(), output.end(), longest.begin()));
    }
    CHECK(to_hex(hasher.finalize()) == hex(std::span(longest).first(32)));
}

TEST_CASE("blake3: every split of the input in two gives the same hash", "[hash]")
{
    with_every_instruction_set([](std::string_view set) {
        for (const auto size : std::initializer_list<std::size_t>{1, 63, 64, 65, 1024, 1025, 2048,
                                                                  2049, 3073, 5120}) {
            const auto input = pattern(size);
            const auto expected = reference::subtree_of(input, 0, true);
            for (std::size_t cut = 0; cut <= size; ++cut) {
                blake3 hasher;
                hasher.update(std::span(input).first(cut)).update(std::span(input).subspan(cut));
                if (hasher.finalize() != expected) {
                    FAIL(set << ", " << size << " bytes cut at " << cut);
                }
            }
        }
    });
}

TEST_CASE("blake3: pieces of any one size give the same hash", "[hash]")
{
    constexpr std::size_t size = 200'000;
    const auto input = pattern(size);
    const auto expected = reference::subtree_of(input, 0, true);
    with_every_instruction_set([&](std::string_view set) {
        for (const auto piece : std::initializer_list<std::size_t>{
                 1, 63, 64, 65, 1000, 1023, 1024, 1025, 2048, 3000, 4096, 10'000, 16'384, 16'385,
                 65'536, 70'000, 131'072, 199'999, 200'000}) {
            INFO(set << ", pieces of " << piece);
            blake3 hasher;
            for (std::size_t at = 0; at < size; at += piece) {
                hasher.update(std::span(input).subspan(at, std::min(piece, size - at)));
            }
            CHECK(hasher.finalize() == expected);
        }
    });
}

TEST_CASE("blake3: random pieces, with a look at the hash in between", "[hash]")
{
    const auto seed = seed_or(1);
    INFO("seed " << seed);
    seeded_rng rng(seed);
    const auto input = rng.bytes(300'000);
    with_every_instruction_set([&](std::string_view set) {
        for (int run = 0; run < 20; ++run) {
            blake3 hasher;
            std::size_t at = 0;
            while (at < input.size()) {
                const auto limit = std::size_t{1} << rng.between(0, 17);
                const auto piece = std::min(rng.between<std::size_t>(0, limit), input.size() - at);
                hasher.update(std::span(input).subspan(at, piece));
                at += piece;
            }
            INFO(set << ", run " << run);
            CHECK(hasher.finalize() == hash::blake3_hash(input));
        }
        blake3 hasher;
        for (std::size_t at = 0; at < 40 * 1024; at += 512) {
            hasher.update(std::span(input).subspan(at, 512));
            INFO(set << ", " << at + 512 << " bytes");
            CHECK(hasher.finalize() == hash::blake3_hash(std::span(input).first(at + 512)));
        }
    });
}

TEST_CASE("blake3: what is appended after finalize counts", "[hash]")
{
    blake3 hasher;
    CHECK(to_hex(hasher.finalize()) ==
          "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
    hasher.update(pattern(2048));
    CHECK(hasher.finalize() == hash::blake3_hash(pattern(2048)));
    hasher.update({});
    CHECK(hasher.finalize() == hash::blake3_hash(pattern(2048)));
}

TEST_CASE("blake3: an unsupported instruction set changes nothing", "[hash]")
{
    const auto before = hash::active_instruction_set();
    CHECK(hash::is_supported(before));
    CHECK(hash::is_supported(hash::instruction_set::portable));
#if defined(__x86_64__)
    REQUIRE_FALSE(hash::is_supported(hash::instruction_set::neon));
    CHECK_FALSE(hash::set_instruction_set(hash::instruction_set::neon));
#else
    REQUIRE_FALSE(hash::is_supported(hash::instruction_set::avx2));
    CHECK_FALSE(hash::set_instruction_set(hash::instruction_set::avx2));
#endif
    CHECK(hash::active_instruction_set() == before);
}

TEST_CASE("blake3: the environment chooses the instruction set, else the widest is taken",
          "[hash][environment]")
{
    // CTest runs this again for COPSE_BLAKE3=portable, and for a name that does not exist.
    const char* const wish = std::getenv("COPSE_BLAKE3");
    auto expected = hash::instruction_set::portable;
    for (const auto set : all_sets) {
        if (hash::is_supported(set)) expected = set;
    }
    for (const auto set : all_sets) {
        if (wish && hash::to_string(set) == wish && hash::is_supported(set)) expected = set;
    }
    CHECK(hash::active_instruction_set() == expected);

    std::set<std::string_view> names;
    for (const auto set : all_sets) names.insert(hash::to_string(set));
    CHECK(names.size() == std::size(all_sets));
    CHECK(names.count("unknown") == 0);
    CHECK(hash::to_string(static_cast<hash::instruction_set>(99)) == "unknown");
}

TEST_CASE("digest: order and text", "[hash]")
{
    hash::digest low;
    hash::digest high;
    low.bytes[31] = std::byte{0xff};
    high.bytes[0] = std::byte{0x80};
    CHECK(low < high);
    CHECK(low != high);
    CHECK(to_hex(low) == std::string(62, '0') + "ff");
    CHECK(to_hex(high) == "80" + std::string(62, '0'));
    CHECK(low.span()[31] == std::byte{0xff});
}
