// Memory of the cores: counted by replacing operator new for this executable.
#include "catch.hpp"
#include "reference.hpp"

#include <copse/bao/decode_core.hpp>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

namespace {

std::atomic<std::size_t> allocations{0};
std::atomic<std::size_t> allocated_bytes{0};

}  // namespace

// Out of line, since GCC otherwise takes one half of a pair for a mismatch.
[[gnu::noinline]] void* operator new(std::size_t size)
{
    allocations.fetch_add(1, std::memory_order_relaxed);
    allocated_bytes.fetch_add(size, std::memory_order_relaxed);
    if (void* p = std::malloc(size ? size : 1)) return p;
    throw std::bad_alloc{};
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept
{
    return std::malloc(size ? size : 1);
}
[[gnu::noinline]] void operator delete(void* p) noexcept
{
    std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept
{
    std::free(p);
}

using namespace copse;
using namespace copse::bao;
using namespace copse::test;

TEST_CASE("decode_core: allocates a few times an extent, never a packet", "[bao]")
{
    const byte_vector data = pattern(4 << 20);
    const digest root = hash::blake3_hash(data);
    const byte_vector wire = reference::encode(data, chunk_ranges::all().boundaries());
    constexpr std::size_t extent_bytes = 256 * 1024;
    constexpr std::size_t extents = (4 << 20) / extent_bytes;
    byte_vector buffer(extent_bytes);

    const std::size_t before = allocations;
    decode_core core{root, chunk_ranges::all(), {.extent_bytes = extent_bytes}};
    mismatch where;
    std::size_t verified = 0;
    bool failed = false;
    for (std::size_t at = 0; at < wire.size();) {
        byte_view packet =
            byte_view(wire).subspan(at, std::min<std::size_t>(1200, wire.size() - at));
        at += packet.size();
        while (!failed && !core.finished()) {
            const auto used = core.push(packet);
            failed = !used;
            if (failed) break;
            packet = packet.subspan(used.value());
            if (auto filled = core.take_extent()) {
                const auto extent = verify(std::move(*filled), where);
                if (extent) ++verified;
            } else if (core.needs_buffer()) {
                core.provide_buffer(buffer);
            } else {
                break;
            }
        }
    }
    const std::size_t used = allocations - before;
    CHECK_FALSE(failed);
    CHECK(verified == extents);
    CHECK(used <= 8 * extents);
}

TEST_CASE("decode_core: a hostile size or request costs bounded memory", "[bao]")
{
    // The worst request: single chunks, each opening its group, under a size that promises 2^54 chunks.
    std::vector<std::uint64_t> alternating;
    for (std::uint64_t c = 0; c < 2048; ++c) alternating.push_back(c);
    const chunk_ranges request = chunk_ranges::from_boundaries(alternating).value();
    for (const std::uint64_t size :
         {~std::uint64_t{0}, std::uint64_t{1} << 63, std::uint64_t{1} << 21}) {
        // Pairs that verify down to the first extent: zeros on their right, the path on their left.
        const std::uint64_t chunks = chunk_count(size);
        std::vector<std::array<std::byte, 64>> pairs(54);
        digest cv;
        std::size_t depth = 54;
        for (std::uint64_t span = 2048; span <= chunks; span *= 2) {
            auto& pair = pairs[--depth];
            pair.fill(std::byte{0});
            std::ranges::copy(cv.bytes, pair.begin());
            cv = hash::parent_cv(left_of(pair), right_of(pair), span == chunks);
        }
        byte_vector buffer(max_extent_bytes);
        const byte_vector rubbish(2 << 20);
        const std::size_t before = allocated_bytes;
        decode_core core{
            cv, request, {.extent_bytes = max_extent_bytes, .max_size = ~std::uint64_t{0}}};
        bool pushed = core.push(encode_header(size)).has_value();
        for (; depth < pairs.size(); ++depth)
            pushed = pushed && core.push(pairs[depth]).has_value();
        const bool opened = core.needs_buffer();
        std::size_t taken = 0;
        if (opened) {
            core.provide_buffer(buffer);
            const auto result = core.push(rubbish);
            if (result) taken = result.value();
        }
        const std::size_t used = allocated_bytes - before;
        INFO("size " << size);
        CHECK(pushed);
        CHECK(opened);
        CHECK(taken >= 1023 * pair_size + 512 * chunk_size);
        auto filled = core.take_extent();
        REQUIRE(filled);
        mismatch where;
        CHECK(verify(std::move(*filled), where).error() == bao_errc::parent_mismatch);
        // Growing vectors allocate up to three times what they hold in the end.
        constexpr std::size_t boundaries = 2 * 2048 * sizeof(std::uint64_t);
        CHECK(used <= 3 * (2 * decode_core::max_extent_pairs * pair_size + 2 * boundaries));
    }
}
