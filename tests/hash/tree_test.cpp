#include "catch.hpp"
#include "json.hpp"
#include "reference.hpp"
#include "support.hpp"

#include "copse/hash/blake3.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

using namespace copse;
using namespace copse::test;

namespace {

// Below, at and beyond every width and batch of the kernels, in chunks.
constexpr std::size_t counts[] = {1,   2,   3,   4,   5,   7,   8,   9,   12,  15,  16,  17,
                                  23,  24,  31,  32,  33,  47,  48,  49,  63,  64,  65,  100,
                                  127, 128, 129, 255, 256, 257, 300, 511, 512, 513, 1000};

std::uint64_t span_of(std::size_t chunks)
{
    return std::bit_ceil(static_cast<std::uint64_t>(chunks));
}

}  // namespace

TEST_CASE("subtree_cv: equals the naive recursion, as root and as a part", "[hash]")
{
    const auto seed = seed_or(2);
    INFO("seed " << seed);
    const auto data = seeded_rng(seed).bytes(1001 * 1024);
    for (const std::size_t chunks : counts) {
        for (const auto last : std::initializer_list<std::size_t>{1, 64, 65, 1023, 1024}) {
            const auto part = std::span(data).first((chunks - 1) * 1024 + last);
            // The last position straddles 2^32, where the counter's high word begins.
            const auto second = span_of(chunks);
            const auto high = std::uint64_t{1} << 32;
            const auto root = reference::subtree_of(part, 0, true);
            const auto left = reference::subtree_of(part, 0, false);
            const auto right = reference::subtree_of(part, second, false);
            const auto far = reference::subtree_of(part, high, false);
            with_every_instruction_set([&](std::string_view set) {
                INFO(set << ", " << part.size() << " bytes");
                CHECK(hash::subtree_cv(part, 0, true) == root);
                CHECK(hash::subtree_cv(part, 0, false) == left);
                CHECK(hash::subtree_cv(part, second, false) == right);
                CHECK(hash::subtree_cv(part, high, false) == far);
            });
        }
    }
}

TEST_CASE("subtree_cv: the empty blob", "[hash]")
{
    CHECK(hash::subtree_cv({}, 0, true) == hash::blake3_hash({}));
    CHECK(hash::subtree_cv({}, 0, false) == reference::subtree_of({}, 0, false));
}

TEST_CASE("subtree_cv: misaligned data", "[hash]")
{
    const auto data = pattern(70 * 1024);
    const auto expected = reference::subtree_of(std::span(data).first(65'537), 0, true);
    std::vector<std::byte> shifted(70 * 1024);
    with_every_instruction_set([&](std::string_view set) {
        for (std::size_t shift = 0; shift < 70; ++shift) {
            std::copy_n(data.begin(), 65'537, shifted.begin() + static_cast<std::ptrdiff_t>(shift));
            INFO(set << ", shifted by " << shift);
            CHECK(hash::subtree_cv(std::span(shifted).subspan(shift, 65'537), 0, true) == expected);
        }
    });
}

TEST_CASE("subtree_cv: the published chaining values", "[hash]")
{
    const auto vectors = load_vectors("bao.json")["chaining_values_of_pattern_65537"];
    const auto data = pattern(65'537);
    REQUIRE(vectors.size() == 11);
    with_every_instruction_set([&](std::string_view set) {
        for (const auto& vector : vectors) {
            const auto first = vector["start_chunk"].as_u64();
            const auto size = static_cast<std::size_t>(vector["len"].as_u64());
            INFO(set << ", " << size << " bytes from chunk " << first);
            const auto part = std::span(data).subspan(static_cast<std::size_t>(first) * 1024, size);
            CHECK(to_hex(hash::subtree_cv(part, first, false)) ==
                  vector["non_root_cv"].as_string());
        }
    });
}

TEST_CASE("group_cvs: equal to one subtree a group, adjacent or not", "[hash]")
{
    const auto seed = seed_or(3);
    INFO("seed " << seed);
    const auto data = seeded_rng(seed).bytes(40 * hash::group_size);
    for (const auto groups :
         std::initializer_list<std::size_t>{1, 2, 3, 4, 15, 16, 17, 18, 31, 33, 40}) {
        for (const auto last : std::initializer_list<std::size_t>{1, 1024, 1025, 16'383, 16'384}) {
            const auto part = std::span(data).first((groups - 1) * hash::group_size + last);
            // In the second position some of the counters of one batch are beyond 2^32, others not.
            for (const std::uint64_t first : {std::uint64_t{0}, (std::uint64_t{1} << 32) - 16}) {
                std::vector<hash::digest> expected;
                for (std::size_t g = 0; g < groups; ++g) {
                    const auto group = part.subspan(g * hash::group_size,
                                                    g + 1 == groups ? last : hash::group_size);
                    expected.push_back(reference::subtree_of(group, first + 16 * g, false));
                }
                // Groups in memory of their own, in reverse order.
                std::vector<std::byte> scattered(groups * hash::group_size);
                std::vector<std::span<const std::byte>> spans(groups);
                for (std::size_t g = 0; g < groups; ++g) {
                    const auto from = part.subspan(g * hash::group_size,
                                                   g + 1 == groups ? last : hash::group_size);
                    const auto to = std::span(scattered).subspan(
                        (groups - 1 - g) * hash::group_size, from.size());
                    std::copy(from.begin(), from.end(), to.begin());
                    spans[g] = to;
                }
                with_every_instruction_set([&](std::string_view set) {
                    INFO(set << ", " << groups << " groups, last " << last << ", from " << first);
                    std::vector<hash::digest> adjacent(groups);
                    hash::group_cvs(part, first, adjacent);
                    CHECK(adjacent == expected);
                    std::vector<hash::digest> apart(groups);
                    hash::group_cvs(spans, first, apart);
                    CHECK(apart == expected);
                });
            }
        }
    }
}

TEST_CASE("group_cvs: no groups", "[hash]")
{
    hash::group_cvs(std::span<const std::byte>(), 0, {});
    hash::group_cvs(std::span<const std::span<const std::byte>>(), 0, {});
}

TEST_CASE("parent_cvs: equal to one parent at a time, also in place", "[hash]")
{
    const auto seed = seed_or(4);
    INFO("seed " << seed);
    const auto data = seeded_rng(seed).bytes(100 * 64);
    for (std::size_t count = 0; count <= 100; ++count) {
        std::vector<hash::digest> expected;
        for (std::size_t i = 0; i < count; ++i) {
            hash::digest left;
            hash::digest right;
            std::copy_n(data.begin() + static_cast<std::ptrdiff_t>(64 * i), 32, left.bytes.begin());
            std::copy_n(data.begin() + static_cast<std::ptrdiff_t>(64 * i + 32), 32,
                        right.bytes.begin());
            expected.push_back(reference::parent_of(left, right, false));
            CHECK(hash::parent_cv(left, right, false) == expected.back());
            CHECK(hash::parent_cv(left, right, true) == reference::parent_of(left, right, true));
        }
        with_every_instruction_set([&](std::string_view set) {
            INFO(set << ", " << count << " parents");
            std::vector<hash::digest> out(count);
            hash::parent_cvs(std::span(data).first(64 * count), out);
            CHECK(out == expected);
            std::vector<hash::digest> values(2 * count);
            std::copy_n(data.begin(), 64 * count,
                        std::as_writable_bytes(std::span(values)).begin());
            hash::parent_cvs(std::as_bytes(std::span(values)), std::span(values).first(count));
            values.resize(count);
            CHECK(values == expected);
        });
    }
}
