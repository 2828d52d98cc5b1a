#include <copse/core/file.hpp>
#include <copse/disk/leaf_pool.hpp>

#include "catch.hpp"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

using namespace copse;
using disk::leaf_pool;

namespace {

constexpr std::size_t extent = 64 * 1024;

// Takes a buffer when it is told, and leaves the queue.
class taker final : public leaf_pool::waiter {
public:
    explicit taker(leaf_pool& pool) : pool_(pool) { pool_.wait(*this); }
    taker(const taker&) = delete;
    taker& operator=(const taker&) = delete;
    ~taker() { pool_.leave(*this); }

    void buffer_available() noexcept override
    {
        ++told;
        if (holds || !takes) return;
        holds = pool_.try_take(extent, this);
        if (holds) pool_.leave(*this);
    }

    std::optional<leaf_pool::buffer> holds;
    int told = 0;
    bool takes = true;

private:
    leaf_pool& pool_;
};

}  // namespace

TEST_CASE("leaf_pool: lends up to its capacity, in whole pages", "[disk]")
{
    leaf_pool pool("test", 2 * extent, extent);
    auto small = pool.try_take(1);
    REQUIRE(small);
    CHECK(small->bytes().size() == direct_alignment);
    CHECK(pool.limits().used() == direct_alignment);
    auto nothing = pool.try_take(0);  // the empty blob's
    REQUIRE(nothing);
    CHECK(nothing->bytes().size() == direct_alignment);
    nothing.reset();
    // From half an extent on it is one that is kept.
    auto half = pool.try_take(extent / 2);
    REQUIRE(half);
    CHECK(half->bytes().size() == extent / 2);
    half = pool.try_take(extent / 2 + 1);
    REQUIRE(half);
    CHECK(half->bytes().size() == extent);
    CHECK_FALSE(pool.try_take(extent));
    CHECK(pool.limits().refusals() == 1);
    small.reset();
    auto whole = pool.try_take(extent);
    REQUIRE(whole);
    CHECK(pool.limits().used() == 2 * extent);
    std::ranges::fill(whole->bytes(), std::byte{1});  // all of it is memory of the pool's own
    CHECK_FALSE(pool.try_take(1));
    whole.reset();
    half.reset();
    CHECK(pool.limits().used() == 0);
}

TEST_CASE("leaf_pool: buffers are used again, and move with what they hold", "[disk]")
{
    leaf_pool pool("test", 2 * extent, extent);
    auto first = pool.try_take(extent);
    const std::byte* const where = first->bytes().data();
    first.reset();
    first = pool.try_take(extent);
    CHECK(first->bytes().data() == where);

    auto second = pool.try_take(extent);
    leaf_pool::buffer kept = std::move(*second);
    CHECK_FALSE(*second);
    CHECK(second->bytes().empty());
    CHECK(pool.limits().used() == 2 * extent);
    kept = std::move(*first);  // gives back what it held
    CHECK_FALSE(*first);
    CHECK(kept.bytes().data() == where);
    CHECK(pool.limits().used() == extent);
    auto& same = kept;
    kept = std::move(same);
    CHECK(kept.bytes().data() == where);
    kept = {};
    CHECK(pool.limits().used() == 0);
}

TEST_CASE("leaf_pool: who waits longest is served first", "[disk]")
{
    leaf_pool pool("test", extent, extent);
    auto only = pool.try_take(extent);
    CHECK_FALSE(pool.contended());
    taker first(pool);
    taker second(pool);
    pool.wait(first);  // a second time changes nothing
    CHECK(pool.contended());
    only.reset();
    CHECK(first.holds);
    CHECK_FALSE(second.holds);
    CHECK(second.told == 1);  // its turn, but there is no second buffer
    CHECK_FALSE(pool.try_take(1));
    first.holds.reset();
    CHECK(second.holds);
    CHECK_FALSE(pool.contended());
}

TEST_CASE("leaf_pool: nobody overtakes the queue, though there is room", "[disk]")
{
    leaf_pool pool("test", 2 * extent, extent);
    auto a = pool.try_take(extent);
    auto b = pool.try_take(extent);
    taker slow(pool);
    slow.takes = false;
    taker next(pool);
    a.reset();
    CHECK(slow.told == 1);
    CHECK_FALSE(pool.try_take(1));
    CHECK_FALSE(pool.try_take(1, &next));
    CHECK(next.told == 0);
    // The first one loses interest: the turn passes on.
    pool.leave(slow);
    CHECK(next.told == 1);
    CHECK(next.holds);
    pool.leave(slow);  // harmless
    CHECK(next.told == 1);
}

TEST_CASE("leaf_pool: who leaves from the middle wakes nobody", "[disk]")
{
    leaf_pool pool("test", extent, extent);
    auto only = pool.try_take(extent);
    taker first(pool);
    taker second(pool);
    taker third(pool);
    pool.leave(second);
    CHECK(first.told == 0);
    CHECK(third.told == 0);
    only.reset();
    CHECK(first.holds);
    CHECK(second.told == 0);
    CHECK(third.told == 1);
}
