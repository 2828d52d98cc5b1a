#include "catch.hpp"
#include "reference.hpp"
#include "support.hpp"

#include "copse/hash/parallel.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <system_error>
#include <vector>

using namespace copse;
using namespace copse::test;

namespace {

auto reader(std::span<const std::byte> data)
{
    return [data](std::uint64_t offset, std::span<std::byte> out) -> result<void> {
        const auto from = data.subspan(static_cast<std::size_t>(offset), out.size());
        std::copy(from.begin(), from.end(), out.begin());
        return outcome::success();
    };
}

}  // namespace

TEST_CASE("segment_plan: segments cover the input once, aligned to their size", "[hash]")
{
    for (const auto size : std::initializer_list<std::uint64_t>{0, 1, 1023, 1024, 1025, 4096, 4097,
                                                                100'000, 1 << 20}) {
        for (const auto wish :
             std::initializer_list<std::uint64_t>{0, 1, 1024, 1025, 3000, 4096, 65'536, 1 << 21}) {
            INFO(size << " bytes by " << wish);
            const hash::segment_plan plan(size, wish);
            CHECK(std::has_single_bit(plan.segment_bytes()));
            CHECK(plan.segment_bytes() >= std::max<std::uint64_t>(wish, 1024));
            std::uint64_t at = 0;
            for (std::uint64_t i = 0; i < plan.count(); ++i) {
                const auto part = plan[i];
                CHECK(part.offset == at);
                CHECK(part.offset % plan.segment_bytes() == 0);
                CHECK(part.size <= plan.segment_bytes());
                CHECK((part.size > 0 || size == 0));
                CHECK(plan.is_root(part) == (plan.count() == 1));
                at += part.size;
            }
            CHECK(at == size);
        }
    }
}

TEST_CASE("segment_plan: the largest input", "[hash]")
{
    const hash::segment_plan plan(~std::uint64_t{0}, ~std::uint64_t{0});
    CHECK(plan.count() == 4);
    CHECK(plan[3].offset + plan[3].size == ~std::uint64_t{0});
}

TEST_CASE("segment_cv: segments in any order join to the hash of the whole", "[hash]")
{
    const auto seed = seed_or(5);
    INFO("seed " << seed);
    const auto data = seeded_rng(seed).bytes(300'000);
    for (const auto size : std::initializer_list<std::size_t>{0, 1, 1024, 1025, 4096, 4097, 65'536,
                                                              65'537, 131'072, 300'000}) {
        const auto input = std::span(data).first(size);
        const auto expected = hash::blake3_hash(input);
        for (const auto segment_bytes :
             std::initializer_list<std::uint64_t>{1024, 2048, 4096, 32'768, 65'536, 1 << 20}) {
            for (const auto scratch_bytes :
                 std::initializer_list<std::size_t>{1024, 4096, 16'384, 1 << 20}) {
                INFO(size << " bytes by " << segment_bytes << ", scratch " << scratch_bytes);
                const hash::segment_plan plan(size, segment_bytes);
                std::vector<std::byte> scratch(scratch_bytes);
                std::vector<hash::digest> values(static_cast<std::size_t>(plan.count()));
                for (std::size_t i = values.size(); i-- > 0;) {
                    const auto value = hash::segment_cv(reader(input), plan, plan[i], scratch);
                    REQUIRE(value.has_value());
                    values[i] = value.value();
                }
                hash::subtree_merger merger;
                for (std::size_t i = 0; i < values.size(); ++i) {
                    merger.push(values[i], hash::chunk_count(plan[i].size));
                }
                CHECK(merger.chunks() == hash::chunk_count(size));
                CHECK(merger.root() == expected);
            }
        }
    }
}

TEST_CASE("segment_cv: a failed read ends it with the reader's error", "[hash]")
{
    const auto data = pattern(10'000);
    const hash::segment_plan plan(data.size(), 1 << 20);
    std::vector<std::byte> scratch(1024);
    int calls = 0;
    const auto broken = [&](std::uint64_t offset, std::span<std::byte> out) -> result<void> {
        if (++calls == 3) return std::make_error_code(std::errc::io_error);
        return reader(data)(offset, out);
    };
    const auto value = hash::segment_cv(broken, plan, plan[0], scratch);
    REQUIRE(value.has_error());
    CHECK(value.error() == std::errc::io_error);
    CHECK(calls == 3);
}

TEST_CASE("subtree_merger: subtrees of mixed sizes, as root and as a part", "[hash]")
{
    const auto data = pattern(27 * 1024 + 5);
    // 16 + 8 + 2 + 2 chunks, the last one short; then 27 single chunks and a short one.
    const auto join = [&](auto sizes) {
        hash::subtree_merger merger;
        std::size_t at = 0;
        for (const std::size_t chunks : sizes) {
            const auto part = std::span(data).subspan(
                at * 1024, std::min(chunks * 1024, data.size() - at * 1024));
            merger.push(hash::subtree_cv(part, at, false), hash::chunk_count(part.size()));
            at += chunks;
        }
        return merger;
    };
    auto mixed = join(std::vector<std::size_t>{16, 8, 2, 2});
    CHECK(mixed.root() == hash::blake3_hash(data));
    auto single = join(std::vector<std::size_t>(28, 1));
    CHECK(single.root() == hash::blake3_hash(data));
    auto part = join(std::vector<std::size_t>{16, 4, 4, 4});
    CHECK(part.subtree() == reference::subtree_of(data, 0, false));
}
