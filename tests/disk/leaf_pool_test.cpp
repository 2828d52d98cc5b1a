// Buffers out of a fixed budget, which is reserved of the program's memory.
#include "tests/catch.hpp"
#include "tests/limit_row.hpp"

#include <copse/disk/leaf_pool.hpp>

#include <system_error>
#include <vector>

using namespace copse;

namespace {

constexpr std::size_t extent = 64U << 10;

}  // namespace

TEST_CASE("leaf_pool: a pool that does not fit into memory throws and leaves it alone", "[disk]")
{
    memory_budget memory("test: for pools", 10 * extent);
    const disk::leaf_pool first("test: first pool", 6 * extent, extent, memory);
    CHECK(memory.used() == 6 * extent);
    try {
        const disk::leaf_pool second("test: second pool", 5 * extent, extent, memory);
        FAIL("it was made");
    } catch (const std::system_error& e) {
        CHECK(e.code() == std::errc::not_enough_memory);
    }
    CHECK(test::row_of("test: second pool").instances == 0);
    CHECK(memory.used() == 6 * extent);
    {
        const disk::leaf_pool third("test: third pool", 4 * extent, extent, memory);
        CHECK(memory.used() == 10 * extent);
    }
    CHECK(memory.used() == 6 * extent);
}

TEST_CASE("leaf_pool: it is a row of the table, with what it refused", "[disk]")
{
    disk::leaf_pool pool("test: pool", 2 * extent, extent);
    auto a = pool.try_take(extent);
    auto b = pool.try_take(extent / 2);  // rounded up to what half an extent takes
    REQUIRE(a);
    REQUIRE(b);
    CHECK(test::row_of("test: pool").used == 3 * extent / 2);
    CHECK(!pool.try_take(extent));
    CHECK(test::row_of("test: pool").refusals == 1);
    CHECK(test::row_of("test: pool").peak == 3 * extent / 2);
    a.reset();
    b.reset();
    CHECK(test::row_of("test: pool").used == 0);
}

TEST_CASE("leaf_pool: kept and lent buffers together stay within the capacity", "[disk]")
{
    disk::leaf_pool pool("test: kept", 4 * extent, extent);
    std::vector<disk::leaf_pool::buffer> large;
    while (auto one = pool.try_take(extent)) large.push_back(std::move(*one));
    CHECK(large.size() == 4);
    large.clear();
    CHECK(pool.kept() == 4 * extent);
    std::vector<disk::leaf_pool::buffer> small;
    while (auto one = pool.try_take(4096)) {
        small.push_back(std::move(*one));
        CHECK(pool.kept() + pool.limits().used() <= 4 * extent);
    }
    CHECK(small.size() == 4 * extent / 4096);
    CHECK(pool.kept() == 0);
    small.clear();
    auto again = pool.try_take(extent);
    CHECK(again);
}
