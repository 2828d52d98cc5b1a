// The replacement of operator new for this executable, and that it does what it says.
#include "failing.hpp"

#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace copse::test {

namespace {

struct marking {
    bool armed = false;  ///< there is a marked scope
    bool on = false;     ///< and this is part of it
    bool failed = false;
    std::size_t count = 0;
    std::size_t nth = 0;
};

constinit thread_local marking now;

bool must_fail() noexcept
{
    if (!now.on) return false;
    if (now.count++ != now.nth) return false;
    now.failed = true;
    return true;
}

void* allocate(std::size_t size) noexcept
{
    return must_fail() ? nullptr : std::malloc(size ? size : 1);
}

void* allocate(std::size_t size, std::align_val_t alignment) noexcept
{
    if (must_fail()) return nullptr;
    const auto to = static_cast<std::size_t>(alignment);
    return std::aligned_alloc(to, (size + to - 1) / to * to);
}

void* or_throw(void* p)
{
    if (!p) throw std::bad_alloc{};
    return p;
}

}  // namespace

failing_allocation::failing_allocation(std::size_t nth) noexcept
{
    now = {true, true, false, 0, nth};
}

failing_allocation::~failing_allocation()
{
    now.armed = now.on = false;
}

bool failing_allocation::failed() const noexcept
{
    return now.failed;
}

std::size_t failing_allocation::count() const noexcept
{
    return now.count;
}

unmarked::unmarked() noexcept : before_(std::exchange(now.on, false)) {}

unmarked::~unmarked()
{
    now.on = before_;
}

marked_again::marked_again() noexcept : before_(std::exchange(now.on, now.armed)) {}

marked_again::~marked_again()
{
    now.on = before_;
}

}  // namespace copse::test

// Out of line, since GCC otherwise takes one half of a pair for a mismatch.
[[gnu::noinline]] void* operator new(std::size_t size)
{
    return copse::test::or_throw(copse::test::allocate(size));
}
[[gnu::noinline]] void* operator new[](std::size_t size)
{
    return copse::test::or_throw(copse::test::allocate(size));
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept
{
    return copse::test::allocate(size);
}
[[gnu::noinline]] void* operator new[](std::size_t size, const std::nothrow_t&) noexcept
{
    return copse::test::allocate(size);
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment)
{
    return copse::test::or_throw(copse::test::allocate(size, alignment));
}
[[gnu::noinline]] void* operator new[](std::size_t size, std::align_val_t alignment)
{
    return copse::test::or_throw(copse::test::allocate(size, alignment));
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment,
                                     const std::nothrow_t&) noexcept
{
    return copse::test::allocate(size, alignment);
}
[[gnu::noinline]] void* operator new[](std::size_t size, std::align_val_t alignment,
                                       const std::nothrow_t&) noexcept
{
    return copse::test::allocate(size, alignment);
}
[[gnu::noinline]] void operator delete(void* p) noexcept
{
    std::free(p);
}
[[gnu::noinline]] void operator delete[](void* p) noexcept
{
    std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept
{
    std::free(p);
}
[[gnu::noinline]] void operator delete[](void* p, std::size_t) noexcept
{
    std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept
{
    std::free(p);
}
[[gnu::noinline]] void operator delete[](void* p, std::align_val_t) noexcept
{
    std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, std::size_t, std::align_val_t) noexcept
{
    std::free(p);
}
[[gnu::noinline]] void operator delete[](void* p, std::size_t, std::align_val_t) noexcept
{
    std::free(p);
}

using namespace copse::test;

TEST_CASE("failing_allocation: the n-th of a marked scope fails, on this thread only", "[alloc]")
{
    struct alignas(64) wide {
        char bytes[64];
    };
    std::unique_ptr<int> first;
    std::unique_ptr<wide> second;
    std::unique_ptr<int> other;
    bool threw = false;
    bool null = false;
    {
        const failing_allocation marked(1);
        first = std::make_unique<int>(1);
        try {
            second = std::make_unique<wide>();
        } catch (const std::bad_alloc&) {
            threw = true;
        }
        CHECK(marked.failed());
    }
    CHECK(first);
    CHECK(threw);
    CHECK_FALSE(second);
    {
        const failing_allocation marked(0);
        {
            const unmarked below;
            std::thread([&] { other = std::make_unique<int>(2); }).join();
        }
        CHECK_FALSE(marked.failed());
        int* const got = new (std::nothrow) int(3);
        null = got == nullptr;
        delete got;
    }
    CHECK(other);
    CHECK(null);
}

TEST_CASE("failing_allocation: each allocation of an operation fails once", "[alloc]")
{
    const auto run = [] {
        std::vector<std::string> out;
        for (int i = 0; i < 4; ++i) out.push_back(std::string(40, 'x'));
        return out;
    };
    // Four texts, copied into a vector that grows to 1, 2 and 4.
    CHECK(fail_each_allocation_of(run) == 7);
}
