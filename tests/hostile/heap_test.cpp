// The account of the heap: malloc and its kind counted for whom they are called, and a test of that.
#include "tests/hostile/heap.hpp"

#include "tests/catch.hpp"
#include "tests/sanitizers.hpp"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include <malloc.h>

namespace {

struct entry {
    std::uintptr_t where = 0;
    std::uint32_t size = 0;
    std::uint32_t account = 0;
};

// Only blocks that belong to somebody are remembered, in a table of open addressing.
constexpr std::size_t places = std::size_t{1} << 21;
entry table[places];
std::array<std::size_t, copse::hostile::heap::accounts> held_bytes{};
std::array<std::size_t, copse::hostile::heap::accounts> peak_bytes{};
std::array<std::uint64_t, copse::hostile::heap::accounts> made{};
thread_local std::size_t current __attribute__((tls_model("initial-exec"))) = 0;

std::size_t place_of(std::uintptr_t where) noexcept
{
    return ((where >> 4) * 0x9e3779b97f4a7c15U) >> (64 - 21);
}

void note(const volatile void* block, std::size_t size) noexcept
{
    if (current == 0 || !block) return;
    const auto where = reinterpret_cast<std::uintptr_t>(block);
    std::size_t at = place_of(where);
    std::size_t tries = 0;
    while (table[at].where != 0) {
        at = (at + 1) % places;
        if (++tries == places / 2) std::abort();  // more blocks than a test may ever have
    }
    table[at] = {where, static_cast<std::uint32_t>(size), static_cast<std::uint32_t>(current)};
    held_bytes[current] += table[at].size;
    ++made[current];
    if (held_bytes[current] > peak_bytes[current]) peak_bytes[current] = held_bytes[current];
}

void forget(const volatile void* block) noexcept
{
    const auto where = reinterpret_cast<std::uintptr_t>(block);
    std::size_t at = place_of(where);
    while (table[at].where != where) {
        if (table[at].where == 0) return;
        at = (at + 1) % places;
    }
    held_bytes[table[at].account] -= table[at].size;
    // What follows and would not be found any more moves up.
    std::size_t hole = at;
    for (std::size_t next = (at + 1) % places; table[next].where != 0; next = (next + 1) % places) {
        const std::size_t home = place_of(table[next].where);
        if ((next - home) % places < (next - hole) % places) continue;
        table[hole] = table[next];
        hole = next;
    }
    table[hole] = {};
}

}  // namespace

#if defined(COPSE_SANITIZER_HEAP)

// The sanitizers have an allocator of their own, and tell what it does.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*made_hook)(const volatile void*,
                                                                           std::size_t),
                                                         void (*freed)(const volatile void*));

namespace {
const int installed = __sanitizer_install_malloc_and_free_hooks(
    [](const volatile void* block, std::size_t size) { note(block, size); },
    [](const volatile void* block) {
        if (block) forget(block);
    });
}  // namespace

#else

// The names under which glibc exports what these replace.
extern "C" void* __libc_malloc(std::size_t size);
extern "C" void* __libc_calloc(std::size_t count, std::size_t size);
extern "C" void* __libc_realloc(void* block, std::size_t size);
extern "C" void* __libc_memalign(std::size_t alignment, std::size_t size);
extern "C" void __libc_free(void* block);

namespace {
void* noted(void* block) noexcept
{
    if (current != 0 && block) note(block, ::malloc_usable_size(block));
    return block;
}
}  // namespace

extern "C" void* malloc(std::size_t size) noexcept(noexcept(::malloc(size)))
{
    return noted(__libc_malloc(size));
}
extern "C" void* calloc(std::size_t count,
                        std::size_t size) noexcept(noexcept(::calloc(count, size)))
{
    return noted(__libc_calloc(count, size));
}
extern "C" void* realloc(void* block, std::size_t size) noexcept(noexcept(::realloc(block, size)))
{
    if (block) forget(block);
    void* const moved = __libc_realloc(block, size);
    if (moved) return noted(moved);
    if (size > 0) noted(block);  // it stays as it was
    return nullptr;
}
extern "C" void* memalign(std::size_t alignment,
                          std::size_t size) noexcept(noexcept(::memalign(alignment, size)))
{
    return noted(__libc_memalign(alignment, size));
}
extern "C" void* aligned_alloc(std::size_t alignment,
                               std::size_t size) noexcept(noexcept(::aligned_alloc(alignment,
                                                                                   size)))
{
    return noted(__libc_memalign(alignment, size));
}
extern "C" int posix_memalign(void** out, std::size_t alignment,
                              std::size_t size) noexcept(noexcept(::posix_memalign(out, alignment,
                                                                                   size)))
{
    void* const block = __libc_memalign(alignment, size);
    if (!block) return ENOMEM;
    *out = noted(block);
    return 0;
}
extern "C" void free(void* block) noexcept(noexcept(::free(block)))
{
    if (!block) return;
    forget(block);
    __libc_free(block);
}

#endif

namespace copse::hostile::heap {

std::size_t charge(std::size_t account) noexcept
{
    return std::exchange(current, account);
}

std::size_t held(std::size_t account) noexcept
{
    return held_bytes[account];
}

std::size_t peak(std::size_t account) noexcept
{
    return peak_bytes[account];
}

void forget_peak(std::size_t account) noexcept
{
    peak_bytes[account] = held_bytes[account];
}

std::uint64_t allocations(std::size_t account) noexcept
{
    return made[account];
}

}  // namespace copse::hostile::heap

using namespace copse::hostile;

TEST_CASE("heap: allocations are counted for whom they are made", "[hostile]")
{
    constexpr std::size_t one = 6;
    constexpr std::size_t other = 7;
    const std::size_t before = heap::held(one);
    heap::forget_peak(one);
    heap::charge(one);
    std::vector<std::unique_ptr<std::string>> kept;
    for (std::size_t i = 0; i < 10000; ++i)
        kept.push_back(std::make_unique<std::string>(100 + i % 50, 'x'));
    void* c = std::calloc(10, 1000);
    c = std::realloc(c, 50'000);
    void* const aligned = std::aligned_alloc(4096, 8192);
    heap::charge(other);
    auto mine = std::make_unique<std::array<char, 1000>>();
    (*mine)[0] = 'y';
    CHECK(heap::held(other) >= 1000);
    CHECK(heap::held(other) < 2000);
    const std::size_t most = heap::held(one) - before;
    CHECK(most > 10000 * (100 + sizeof(std::string)) + 58'000);
    CHECK(most < 10000 * (220 + sizeof(std::string)) + 200'000);
    kept = std::vector<std::unique_ptr<std::string>>{};
    std::free(c);
    std::free(aligned);
    mine.reset();
    heap::charge(0);
    CHECK(heap::held(one) == before);
    CHECK(heap::held(other) == 0);
    CHECK(heap::peak(one) >= before + most);
    CHECK(heap::allocations(one) > 20'000);
}
