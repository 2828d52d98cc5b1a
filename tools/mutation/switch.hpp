// Included ahead of everything in the build of tools/mutate: asks whether a mutant is switched on.
// COPSE_MUTANT is its number; COPSE_MUTANT_TRACE a file of 64 KiB that notes which ones are reached.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

namespace copse_mutation {

static int active() noexcept
{
    static const int number = [] {
        const char* const text = ::getenv("COPSE_MUTANT");
        return text ? std::atoi(text) : 0;
    }();
    return number;
}

static unsigned char* reached() noexcept
{
    static unsigned char* const map = []() -> unsigned char* {
        const char* const name = ::getenv("COPSE_MUTANT_TRACE");
        if (!name) return nullptr;
        const int fd = ::open(name, O_RDWR | O_CLOEXEC);
        if (fd < 0) ::abort();
        void* const at = ::mmap(nullptr, 0x10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (at == MAP_FAILED) ::abort();
        ::close(fd);
        return static_cast<unsigned char*>(at);
    }();
    return map;
}

static bool asked(int number) noexcept
{
    if (unsigned char* const map = reached()) map[number] = 1;
    return number == active();
}

}  // namespace copse_mutation

static constexpr bool copse_mutant(int number) noexcept
{
    if (__builtin_is_constant_evaluated()) return false;
    return copse_mutation::asked(number);
}
