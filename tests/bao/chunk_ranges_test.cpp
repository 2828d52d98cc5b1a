#include "catch.hpp"
#include "reference.hpp"

#include <copse/bao/chunk_ranges.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

using namespace copse;
using namespace copse::bao;
using copse::test::ranges_of;

namespace {

constexpr std::uint64_t most = chunk_ranges::max_chunk;
constexpr std::size_t world =
    100;  // the model knows chunks below this; the state of the last one goes on

std::vector<bool> model(const chunk_ranges& from)
{
    std::vector<bool> out(world);
    for (std::size_t c = 0; c < world; ++c) {
        std::size_t passed = 0;
        for (const std::uint64_t b : from.boundaries()) passed += b <= c;
        out[c] = passed % 2 != 0;
    }
    return out;
}

chunk_ranges from_model(const std::vector<bool>& of)
{
    std::vector<std::uint64_t> boundaries;
    bool on = false;
    for (std::size_t c = 0; c < world; ++c) {
        if (of[c] != on) boundaries.push_back(c);
        on = of[c];
    }
    return chunk_ranges::from_boundaries(boundaries).value();
}

chunk_ranges random_ranges(test::seeded_rng& rng, std::uint64_t limit)
{
    std::vector<std::uint64_t> boundaries(rng.between<std::size_t>(0, 8));
    for (auto& b : boundaries) b = rng.between<std::uint64_t>(0, limit);
    return ranges_of(std::move(boundaries));
}

}  // namespace

TEST_CASE("chunk_ranges: named sets have the boundaries of the specification", "[bao]")
{
    const auto boundaries = [](const chunk_ranges& of) {
        return std::vector<std::uint64_t>(of.boundaries().begin(), of.boundaries().end());
    };
    CHECK(boundaries(chunk_ranges::none()).empty());
    CHECK(boundaries(chunk_ranges::all()) == std::vector<std::uint64_t>{0});
    CHECK(boundaries(chunk_ranges::last_chunk()) == std::vector<std::uint64_t>{most});
    CHECK(boundaries(chunk_ranges::range(2, 7)) == std::vector<std::uint64_t>{2, 7});
    CHECK(boundaries(chunk_ranges::range(7, 7)).empty());
    CHECK(boundaries(chunk_ranges::range(8, 7)).empty());
    CHECK(boundaries(chunk_ranges::from(5)) == std::vector<std::uint64_t>{5});
    CHECK(boundaries(chunk_ranges::from_bytes(0, 1)) == std::vector<std::uint64_t>{0, 1});
    CHECK(boundaries(chunk_ranges::from_bytes(1023, 1025)) == std::vector<std::uint64_t>{0, 2});
    CHECK(boundaries(chunk_ranges::from_bytes(1024, 2048)) == std::vector<std::uint64_t>{1, 2});
    CHECK(chunk_ranges::from_bytes(5, 5).empty());
    CHECK(boundaries(chunk_ranges::from_bytes(0, most)) ==
          std::vector<std::uint64_t>{0, std::uint64_t{1} << 54});
}

TEST_CASE("chunk_ranges: only strictly increasing boundaries are accepted", "[bao]")
{
    CHECK(chunk_ranges::from_boundaries({}));
    CHECK(chunk_ranges::from_boundaries({0}));
    CHECK(chunk_ranges::from_boundaries({0, 1, 17, most}));
    CHECK(chunk_ranges::from_boundaries({1, 1}).error() == bao_errc::invalid_ranges);
    CHECK(chunk_ranges::from_boundaries({2, 1}).error() == bao_errc::invalid_ranges);
    CHECK(chunk_ranges::from_boundaries({0, 5, 4, 9}).error() == bao_errc::invalid_ranges);
}

TEST_CASE("chunk_ranges: the effective set follows the specification's examples", "[bao]")
{
    const auto effective = [](std::vector<std::uint64_t> boundaries, std::uint64_t n) {
        return ranges_of(std::move(boundaries)).effective(n);
    };
    CHECK(effective({0}, 65) == chunk_ranges::range(0, 65));
    CHECK(effective({most}, 65) == chunk_ranges::range(64, 65));
    CHECK(effective({}, 65).empty());
    CHECK(effective({}, 1).empty());
    CHECK(effective({1000, 1001}, 1) == chunk_ranges::range(0, 1));
    CHECK(effective({0, 6, 12, 13}, 7) == chunk_ranges::range(0, 7));
    CHECK(effective({0, 5, 7, 8}, 7) == ranges_of({0, 5, 6, 7}));
    CHECK(effective({0, 7}, 7) == chunk_ranges::range(0, 7));
    CHECK(effective({7, 8}, 7) == chunk_ranges::range(6, 7));
    CHECK(effective({6, 7}, 7) == chunk_ranges::range(6, 7));
    CHECK(effective({0, 3, 7}, 7) == ranges_of({0, 3, 6, 7}));
}

TEST_CASE("chunk_ranges: every operation agrees with a set of flags", "[bao]")
{
    const std::uint64_t seed = test::seed_or(1);
    INFO("seed " << seed);
    test::seeded_rng rng{seed};
    for (int round = 0; round < 2000; ++round) {
        const chunk_ranges a = random_ranges(rng, world - 1);
        const chunk_ranges b = random_ranges(rng, world - 1);
        const auto x = model(a);
        const auto y = model(b);
        std::vector<bool> either(world), both(world), without(world), differ(world);
        for (std::size_t c = 0; c < world; ++c) {
            either[c] = x[c] || y[c];
            both[c] = x[c] && y[c];
            without[c] = x[c] && !y[c];
            differ[c] = x[c] != y[c];
            REQUIRE(a.contains(c) == x[c]);
        }
        REQUIRE((a | b) == from_model(either));
        REQUIRE((a & b) == from_model(both));
        REQUIRE((a - b) == from_model(without));
        REQUIRE((a ^ b) == from_model(differ));
        chunk_ranges changed = a;
        REQUIRE((changed &= b) == from_model(both));
        changed = a;
        REQUIRE((changed -= b) == from_model(without));

        const auto first = rng.between<std::size_t>(0, world - 2);
        const auto end = rng.between<std::size_t>(0, world - 1);
        bool all = true;
        bool any = false;
        auto added = x;
        auto removed = x;
        std::vector<bool> inside(world);
        std::uint64_t total = 0;
        for (std::size_t c = 0; c < end; ++c) total += x[c];
        for (std::size_t c = first; c < end; ++c) {
            all = all && x[c];
            any = any || x[c];
            added[c] = true;
            removed[c] = false;
            inside[c] = x[c];
        }
        REQUIRE(a.covers(first, end) == all);
        REQUIRE(a.meets(first, end) == any);
        REQUIRE(chunk_ranges(a).insert(first, end) == from_model(added));
        REQUIRE(chunk_ranges(a).erase(first, end) == from_model(removed));
        REQUIRE(a.clipped(first, end) == from_model(inside));
        REQUIRE(a.chunk_total(end) == total);

        const std::uint64_t n = rng.between<std::uint64_t>(1, world - 1);
        auto selected = test::reference::effective(n, a.boundaries());
        selected.resize(world);
        REQUIRE(a.effective(n) == from_model(selected));

        // Groups, in a world of whole ones.
        std::vector<bool> up(world), full(world), full_n(world);
        for (std::size_t c = 0; c < 96; ++c) {
            const std::size_t g = c / 16 * 16;
            bool g_any = false;
            bool g_all = true;
            bool g_all_n = c < n;
            for (std::size_t i = g; i < g + 16; ++i) {
                g_any = g_any || x[i];
                g_all = g_all && x[i];
                g_all_n = g_all_n && (x[i] || i >= n);
            }
            up[c] = g_any;
            full[c] = g_all;
            full_n[c] = g_all_n;
        }
        const chunk_ranges whole = chunk_ranges::range(0, 96);
        REQUIRE((a.round_up_to_groups() & whole) == (from_model(up) & whole));
        REQUIRE((a.full_groups() & whole) == (from_model(full) & whole));
        REQUIRE((a.full_groups(n) & whole) == (from_model(full_n) & whole));
    }
}

TEST_CASE("chunk_ranges: the ends of the number range do not overflow", "[bao]")
{
    const chunk_ranges last = chunk_ranges::last_chunk();
    CHECK(last.contains(most));
    CHECK_FALSE(last.contains(most - 1));
    CHECK(last.round_up_to_groups() == chunk_ranges::from(most - 15));
    CHECK(last.full_groups().empty());
    CHECK(chunk_ranges::range(3, most).round_up_to_groups() == chunk_ranges::all());
    CHECK(chunk_ranges::range(3, most).full_groups() == chunk_ranges::range(16, most - 15));
    CHECK(chunk_ranges::from(most - 15).full_groups() == chunk_ranges::from(most - 15));
    CHECK(chunk_ranges::all().chunk_total() == most);
    CHECK(chunk_ranges::all().chunk_total(65) == 65);
    CHECK(chunk_ranges::all().covers(0, most));
    CHECK(chunk_ranges::all().interval(0) == chunk_interval{0, most});
    CHECK((chunk_ranges::all() - chunk_ranges::range(0, 4)) == chunk_ranges::from(4));
    CHECK((chunk_ranges::from(9) | chunk_ranges::range(3, 9)) == chunk_ranges::from(3));
}
