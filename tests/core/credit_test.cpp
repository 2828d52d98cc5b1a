#include "catch.hpp"

#include <copse/core/credit.hpp>

#include <string>
#include <utility>

using namespace copse;

TEST_CASE("credit: what is taken comes back, once", "[core]")
{
    budget memory("memory", 100);
    CHECK(std::string(memory.name()) == "memory");
    CHECK(memory.capacity() == 100);
    {
        credit a = memory.try_take(60);
        REQUIRE(a);
        credit b = std::move(a);
        CHECK_FALSE(a);  // NOLINT(bugprone-use-after-move): that is what is tested
        CHECK(a.amount() == 0);
        CHECK(b.amount() == 60);
        CHECK(memory.used() == 60);

        credit other = memory.try_take(40);
        CHECK(memory.available() == 0);
        b = std::move(other);  // gives the 60 back
        CHECK(memory.used() == 40);
        auto& same = b;
        b = std::move(same);
        CHECK(b.amount() == 40);
        b.give_back(15);
        CHECK(b.amount() == 25);
        CHECK(memory.used() == 25);
    }
    CHECK(memory.used() == 0);
    CHECK(memory.peak() == 100);
}

TEST_CASE("credit: all or nothing, or what is there", "[core]")
{
    budget slots("slots", 10);
    const credit most = slots.try_take(9);
    CHECK_FALSE(slots.try_take(2));
    CHECK_FALSE(slots.try_take(~std::size_t{0}));
    CHECK(slots.refusals() == 2);
    CHECK(slots.used() == 9);
    {
        const credit last = slots.take_up_to(5);
        CHECK(last.amount() == 1);
        CHECK(slots.take_up_to(5).amount() == 0);
    }
    const credit nothing = slots.try_take(0);
    CHECK(nothing);
    CHECK(slots.take_up_to(1).amount() == 1);
    CHECK(slots.refusals() == 2);
}

TEST_CASE("credit: one absorbs another", "[core]")
{
    budget bytes("bytes", 10);
    credit whole;
    CHECK_FALSE(whole);
    whole.absorb(bytes.try_take(3));
    CHECK(whole.amount() == 3);
    whole.absorb(bytes.try_take(4));
    CHECK(whole.amount() == 7);
    whole.absorb(credit());
    CHECK(whole.amount() == 7);
    CHECK(bytes.used() == 7);
    whole.reset();
    whole.reset();
    CHECK(bytes.used() == 0);
}
