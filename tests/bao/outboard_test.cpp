#include "catch.hpp"
#include "reference.hpp"

#include <copse/bao/outboard.hpp>

#include <cstdint>
#include <vector>

using namespace copse;
using namespace copse::bao;
using namespace copse::test;

TEST_CASE("geometry: sizes at the end of the number range", "[bao]")
{
    constexpr std::uint64_t most = ~std::uint64_t{0};
    CHECK(chunk_count(0) == 1);
    CHECK(chunk_count(1) == 1);
    CHECK(chunk_count(1024) == 1);
    CHECK(chunk_count(1025) == 2);
    CHECK(group_count(0) == 1);
    CHECK(group_count(16384) == 1);
    CHECK(group_count(16385) == 2);
    CHECK(group_count(most) == std::uint64_t{1} << 50);
    CHECK(chunk_count(most) == std::uint64_t{1} << 54);
    CHECK(byte_length({0, chunk_count(most)}, most) == most);
    CHECK(byte_length({chunk_count(most) - 1, 1}, most) == 1023);
    CHECK(encoded_size(most, chunk_ranges::all()) == most);
    CHECK(encoded_size(most, chunk_ranges::last_chunk()) == 8 + 54 * 64 + 1023);
    CHECK(encoded_size(most, chunk_ranges::none()) == 8);
    CHECK(decode_header(encode_header(most)) == most);
    CHECK(decode_header(encode_header(0x0102030405060708)) == 0x0102030405060708);
    CHECK(hex(encode_header(0x0102030405060708)) == "0807060504030201");
}

TEST_CASE("outboard: a node's position is its turn in the walk, for every unit", "[bao]")
{
    for (const std::uint64_t chunks :
         {1u, 2u, 15u, 16u, 17u, 33u, 47u, 64u, 65u, 129u, 1000u, 1025u}) {
        for (const std::size_t unit : {1u, 2u, 16u, 64u}) {
            INFO(chunks << " chunks, units of " << unit << " groups");
            const std::uint64_t size = byte_offset(chunks);
            std::uint64_t turn = 0;
            std::vector<bool> seen(
                static_cast<std::size_t>(pair_count(chunks, unit * group_chunks)));
            for_each_upper_pair(size, unit, [&](subtree node, std::uint64_t group_index) {
                CHECK(pre_order_index(chunks, node, unit * group_chunks) == turn);
                CHECK(pre_order_index(chunks, node) == group_index);
                const auto post =
                    static_cast<std::size_t>(post_order_index(chunks, node, unit * group_chunks));
                REQUIRE(post < seen.size());
                CHECK_FALSE(seen[post]);
                seen[post] = true;
                ++turn;
            });
            CHECK(turn == seen.size());
        }
    }
}

TEST_CASE("outboard: the coarse index holds the upper pairs and the value of each unit", "[bao]")
{
    seeded_rng rng{3};
    const byte_vector all = rng.bytes(3 * 1024 * 1024 + 777);
    for (const std::size_t size :
         {0ul, 1ul, 16384ul, 16385ul, 300000ul, 1048576ul, 1048577ul, 3146505ul}) {
        const byte_view data = byte_view(all).first(size);
        const outboard full = outboard::build(data);
        CHECK(full.root() == hash::blake3_hash(data));
        mismatch where;
        CHECK(full.check(where));
        for (const std::size_t unit : {1u, 2u, 16u, 64u}) {
            INFO("size " << size << ", units of " << unit << " groups");
            const outboard coarse = outboard::build(data, unit);
            CHECK(coarse.root() == full.root());
            CHECK(coarse.check(where));
            const auto same = [](byte_view a, byte_view b) { return std::ranges::equal(a, b); };
            CHECK(same(coarse.pairs(), full.coarsened(unit).pairs()));
            for (std::uint64_t i = 0; i < coarse.units(); ++i) {
                const std::uint64_t first = i * coarse.unit();
                const std::size_t at = static_cast<std::size_t>(byte_offset(first));
                const byte_view part = data.subspan(at, std::min(size - at, unit * group_size));
                REQUIRE(coarse.unit_cv(i) == hash::subtree_cv(part, first, coarse.units() == 1));
            }
        }
    }
}

TEST_CASE("outboard: a wrong pair is found at its node", "[bao]")
{
    const byte_vector data = pattern(200000);
    const outboard good = outboard::build(data);
    for_each_upper_pair(good.size(), 1, [&](subtree node, std::uint64_t index) {
        byte_vector pairs{good.pairs().begin(), good.pairs().end()};
        pairs[static_cast<std::size_t>(index) * 64 + 40] ^= std::byte{1};
        const auto bad = outboard::from_pairs(good.size(), good.root(), pairs).value();
        mismatch where;
        CHECK(bad.check(where).error() == bao_errc::parent_mismatch);
        CHECK(where == mismatch{node.first, node.count});
    });
    CHECK(outboard::from_pairs(good.size(), good.root(), byte_vector(64)).error() ==
          bao_errc::invalid_outboard);
    CHECK(outboard::from_pairs(16384, good.root(), {}).has_value());
}
