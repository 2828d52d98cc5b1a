#include "catch.hpp"
#include "reference.hpp"

#include <copse/bao/encode_core.hpp>
#include <copse/bao/outboard.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

using namespace copse;
using namespace copse::bao;
using namespace copse::test;

namespace {

chunk_ranges random_request(seeded_rng& rng, std::uint64_t chunks)
{
    switch (rng.between(0, 9)) {
    case 0: return chunk_ranges::all();
    case 1: return chunk_ranges::last_chunk();
    case 2: {  // every other chunk: the most pairs
        std::vector<std::uint64_t> boundaries;
        for (std::uint64_t c = rng.between<std::uint64_t>(0, 3);
             c < chunks && boundaries.size() < 1500; ++c)
            boundaries.push_back(c);
        return ranges_of(std::move(boundaries));
    }
    default: break;
    }
    std::vector<std::uint64_t> boundaries(rng.between<std::size_t>(0, 7));
    for (auto& b : boundaries) {
        b = rng.between<std::uint64_t>(0, chunks + 2);
        if (rng.between(0, 1) == 0) b = b / 16 * 16;
    }
    return ranges_of(std::move(boundaries));
}

std::size_t random_size(seeded_rng& rng)
{
    const std::size_t limit = std::size_t{1} << rng.between(0, 20);
    return rng.between<std::size_t>(0, limit + 20000);
}

}  // namespace

TEST_CASE("encode_core: every way to produce an extent gives the encoding of the specification",
          "[bao]")
{
    const std::uint64_t seed = seed_or(11);
    INFO("seed " << seed);
    seeded_rng rng{seed};
    const byte_vector all = rng.bytes((1 << 20) + 20000);
    for (int round = 0; round < 1500; ++round) {
        const std::size_t size = random_size(rng);
        const byte_view data = byte_view(all).first(size);
        const std::size_t unit = std::size_t{1} << rng.between(0, 6);
        const chunk_ranges request = random_request(rng, chunk_count(size));
        INFO("round " << round << ", size " << size << ", unit " << unit);
        const byte_vector want = reference::encode(data, request.boundaries());
        REQUIRE(encoded_size(size, request) == want.size());

        const outboard full = outboard::build(data);
        const outboard coarse = outboard::build(data, unit);
        mismatch where;
        encode_core core{full.root(), size, request, unit};
        REQUIRE(core.total_bytes() == want.size());
        byte_vector out;
        for (;;) {
            const std::size_t before = out.size();
            auto next = core.next(
                [&](const upper_pair& at) { return coarse.pair(at.extent_index); }, out, where);
            REQUIRE(next);
            REQUIRE(out.size() - before <= header_size + max_depth * pair_size);
            if (!next.value()) break;
            const extent_job& job = *next.value();
            const byte_view extent =
                data.subspan(static_cast<std::size_t>(job.offset()), job.length());

            byte_vector wire(job.wire_bytes);
            REQUIRE(encode_extent(job, extent, {}, wire, where));

            // With the stored pairs, and nothing but the groups that are needed.
            const std::size_t pairs = (job.groups() - 1) * pair_size;
            const byte_view stored =
                pairs == 0 ? byte_view{}
                           : full.pairs().subspan(
                                 static_cast<std::size_t>(job.pair_index) * pair_size, pairs);
            byte_vector scratch(extent.size(), std::byte{0x5a});
            const chunk_ranges needed = job.needed_groups();
            for (std::size_t i = 0; i < needed.interval_count(); ++i) {
                const auto part = needed.interval(i);
                const auto first =
                    static_cast<std::size_t>(byte_offset(part.first - job.node.first));
                const auto end = static_cast<std::size_t>(byte_end(part.end, size) - job.offset());
                std::copy(extent.begin() + static_cast<std::ptrdiff_t>(first),
                          extent.begin() + static_cast<std::ptrdiff_t>(end),
                          scratch.begin() + static_cast<std::ptrdiff_t>(first));
            }
            byte_vector partial(job.wire_bytes);
            REQUIRE(encode_extent(job, scratch, stored, partial, where));
            REQUIRE(partial == wire);

            if (job.whole) {
                byte_vector placed(job.wire_bytes);
                const extent_layout plan = layout(job);
                REQUIRE(plan.wire_bytes() == job.wire_bytes);
                for (const leaf_placement& leaf : plan.leaves()) {
                    std::copy_n(data.begin() + static_cast<std::ptrdiff_t>(leaf.file_offset),
                                leaf.length,
                                placed.begin() + static_cast<std::ptrdiff_t>(leaf.out_offset));
                }
                REQUIRE(finish_extent(job, placed, where));
                REQUIRE(placed == wire);
            }
            reference::put(out, wire);
        }
        REQUIRE(out == want);
    }
}

TEST_CASE("encode_core: changed data or pairs are never sent", "[bao]")
{
    const byte_vector data = pattern(300000);
    const outboard full = outboard::build(data);
    const outboard coarse = outboard::build(data, 4);
    seeded_rng rng{5};
    mismatch where;
    for (const auto& request : {chunk_ranges::all(), ranges_of({3, 40, 100, 101, 250})}) {
        encode_core core{full.root(), data.size(), request, 4};
        for (;;) {
            if (core.step() == encode_core::step_kind::done) break;
            if (core.step() == encode_core::step_kind::pair) {
                const upper_pair at = core.pair();
                std::array<std::byte, 64> wrong;
                std::ranges::copy(coarse.pair(at.extent_index), wrong.begin());
                wrong[rng.between<std::size_t>(0, 63)] ^= std::byte{4};
                REQUIRE(core.supply(wrong, where).error() == bao_errc::parent_mismatch);
                REQUIRE(where == mismatch{at.node.first, at.node.count});
                REQUIRE(core.supply(full.pair(at.group_index), where));
                continue;
            }
            const extent_job job = core.take_extent();
            byte_vector extent{data.begin() + static_cast<std::ptrdiff_t>(job.offset()),
                               data.begin() +
                                   static_cast<std::ptrdiff_t>(job.offset() + job.length())};
            const std::size_t pairs = (job.groups() - 1) * pair_size;
            byte_vector stored(pairs);
            std::copy_n(full.pairs().begin() +
                            static_cast<std::ptrdiff_t>(job.pair_index * pair_size),
                        pairs, stored.begin());
            byte_vector out(job.wire_bytes);
            const std::size_t at = rng.between<std::size_t>(0, extent.size() - 1);
            const std::uint64_t chunk = job.node.first + at / 1024;

            extent[at] ^= std::byte{0x10};
            // Verified as one, the place is the extent; against pairs, it is the group.
            CHECK(encode_extent(job, extent, {}, out, where).error() == bao_errc::leaf_mismatch);
            CHECK(where == mismatch{job.node.first, job.node.count});
            if (!stored.empty()) {
                const auto against = encode_extent(job, extent, stored, out, where);
                if (job.needed_groups().contains(chunk)) {
                    REQUIRE(against.has_error());
                    CHECK(against.error() == bao_errc::leaf_mismatch);
                    CHECK(where.first_chunk == chunk / 16 * 16);
                } else {
                    CHECK(against);
                }
            }
            if (job.whole) {
                byte_vector placed(job.wire_bytes);
                const extent_layout plan = layout(job);
                for (const leaf_placement& leaf : plan.leaves()) {
                    const auto from = static_cast<std::ptrdiff_t>(leaf.file_offset - job.offset());
                    std::copy_n(extent.begin() + from, leaf.length,
                                placed.begin() + static_cast<std::ptrdiff_t>(leaf.out_offset));
                }
                CHECK(finish_extent(job, placed, where).error() == bao_errc::leaf_mismatch);
                CHECK(where == mismatch{job.node.first, job.node.count});
            }
            extent[at] ^= std::byte{0x10};
            CHECK(encode_extent(job, extent, stored, out, where));
            if (stored.empty()) continue;
            stored[rng.between<std::size_t>(0, 63)] ^=
                std::byte{1};  // the topmost is always visited
            CHECK(encode_extent(job, extent, stored, out, where).error() ==
                  bao_errc::parent_mismatch);
            CHECK(where == mismatch{job.node.first, job.node.count});
        }
    }
}

TEST_CASE("encode_core: after a wrong pair the walk goes on with the right one", "[bao]")
{
    const byte_vector data = pattern(300000);
    const outboard index = outboard::build(data, 4);
    const chunk_ranges request = ranges_of({3, 40, 100, 101, 250});
    byte_vector expected;
    mismatch where;
    const auto right = [&](const upper_pair& at) { return index.pair(at.extent_index); };
    encode_core sound{index.root(), data.size(), request, 4};
    CHECK(sound.selected() == request.effective(chunk_count(data.size())));
    REQUIRE(sound.next(right, expected, where).value());

    encode_core core{index.root(), data.size(), request, 4};
    std::array<std::byte, 64> wrong;
    std::ranges::copy(index.pair(1), wrong.begin());
    wrong[7] ^= std::byte{1};
    byte_vector out;
    const auto failed = core.next(
        [&](const upper_pair& at) {
            return at.extent_index == 1 ? pair_view(wrong) : pair_view(right(at));
        },
        out, where);
    REQUIRE_FALSE(failed);
    CHECK(failed.error() == bao_errc::parent_mismatch);
    CHECK(where.offset() == 0);
    CHECK(where.chunk_count == 256);
    CHECK(out.size() == header_size + pair_size);  // nothing of the wrong pair
    const auto again = core.next(right, out, where);
    REQUIRE(again.value());
    CHECK(out == expected);
}
