// Random bytes and time of C libraries, taken from the installed sources: include it in one source file of
// a program that simulates. The program's definitions come before those of libc, so that GnuTLS and
// libsodium take part in the same deterministic run. Without an installed source the system answers.
#pragma once

#include <copse/core/clock.hpp>
#include <copse/core/entropy.hpp>

#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

extern "C" ssize_t getrandom(void* out, size_t n,
                             unsigned flags) noexcept(noexcept(::getrandom(out, n, flags)))
{
    if (copse::entropy_source* const source = copse::installed_entropy()) {
        source->fill({static_cast<std::byte*>(out), n});
        return static_cast<ssize_t>(n);
    }
    return ::syscall(SYS_getrandom, out, n, flags);
}

extern "C" int getentropy(void* out, size_t n) noexcept(noexcept(::getentropy(out, n)))
{
    return ::getrandom(out, n, 0) == static_cast<ssize_t>(n) ? 0 : -1;
}

// Asio sets its timer descriptor for each timer, a slow system call. In a world the descriptor is one that
// is always due: then Asio looks at its timers whenever it is asked to poll.
extern "C" int timerfd_create(int clock,
                              int flags) noexcept(noexcept(::timerfd_create(clock, flags)))
{
    if (copse::installed_clock()) return ::eventfd(1, EFD_CLOEXEC);
    return static_cast<int>(::syscall(SYS_timerfd_create, clock, flags));
}

extern "C" int timerfd_settime(int fd, int flags, const itimerspec* to,
                               itimerspec* was) noexcept(noexcept(::timerfd_settime(fd, flags, to,
                                                                                    was)))
{
    if (copse::installed_clock()) return 0;
    return static_cast<int>(::syscall(SYS_timerfd_settime, fd, flags, to, was));
}

#if !defined(COPSE_SIM_REAL_CLOCK)  // for programs with a watchdog of their own, such as fuzzers

extern "C" int clock_gettime(clockid_t id,
                             timespec* out) noexcept(noexcept(::clock_gettime(id, out)))
{
    copse::clock_source* const source = copse::installed_clock();
    if (!source || (id != CLOCK_REALTIME && id != CLOCK_MONOTONIC)) {
        return static_cast<int>(::syscall(SYS_clock_gettime, id, out));
    }
    const auto t = id == CLOCK_REALTIME ? source->wall() : source->monotonic().time_since_epoch();
    out->tv_sec = static_cast<time_t>(t.count() / 1'000'000'000);
    out->tv_nsec = static_cast<long>(t.count() % 1'000'000'000);
    return 0;
}

extern "C" time_t time(time_t* out) noexcept(noexcept(::time(out)))
{
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

#endif
