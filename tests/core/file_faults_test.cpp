// What the system's calls may answer and hardly ever do.
#undef _FORTIFY_SOURCE  // its inline versions would be in the way of ours

#include <copse/core/file.hpp>

#include "catch.hpp"
#include "support.hpp"
#include "tests/faulty_calls.hpp"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdarg>
#include <memory>
#include <string>
#include <vector>

using namespace copse;
using test::planned_fault;

namespace {

template <class Call>
int unless_planned(const char* name, Call call)
{
    if (planned_fault::fails(name)) return -1;
    return static_cast<int>(call());
}

// The bytes that a transfer may move, nullopt when it fails.
std::optional<std::size_t> allowed(const char* name, std::size_t size)
{
    const auto due = planned_fault::take(name);
    if (!due) return size;
    if (due->error == 0) return std::min(due->most, size);
    errno = due->error;
    return std::nullopt;
}

}  // namespace

extern "C" {

ssize_t pread(int fd, void* to, std::size_t size, off_t offset)
{
    const auto most = allowed("pread", size);
    return most ? ::syscall(SYS_pread64, fd, to, *most, offset) : -1;
}

ssize_t pwrite(int fd, const void* from, std::size_t size, off_t offset)
{
    const auto most = allowed("pwrite", size);
    if (most && *most == 0) return 0;
    return most ? ::syscall(SYS_pwrite64, fd, from, *most, offset) : -1;
}

ssize_t preadv(int fd, const iovec* parts, int count, off_t offset)
{
    const auto most = allowed("preadv", 1);
    return most ? ::syscall(SYS_preadv, fd, parts, count, offset, 0L) : -1;
}

int open(const char* path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    const auto mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : mode_t{0};
    va_end(more);
    return unless_planned("open",
                          [&] { return ::syscall(SYS_openat, AT_FDCWD, path, flags, mode); });
}

int fcntl(int fd, int command, ...)
{
    va_list more;
    va_start(more, command);
    const long argument = va_arg(more, long);
    va_end(more);
    return unless_planned("fcntl", [&] { return ::syscall(SYS_fcntl, fd, command, argument); });
}

int fstat(int fd, struct stat* to) noexcept
{
    return unless_planned("fstat", [&] { return ::syscall(SYS_fstat, fd, to); });
}

int stat(const char* path, struct stat* to) noexcept
{
    return unless_planned("stat", [&] { return ::syscall(SYS_newfstatat, AT_FDCWD, path, to, 0); });
}

int flock(int fd, int operation) noexcept
{
    return unless_planned("flock", [&] { return ::syscall(SYS_flock, fd, operation); });
}

int ftruncate(int fd, off_t size) noexcept
{
    return unless_planned("ftruncate", [&] { return ::syscall(SYS_ftruncate, fd, size); });
}

int fdatasync(int fd)
{
    return unless_planned("fdatasync", [&] { return ::syscall(SYS_fdatasync, fd); });
}

int fsync(int fd)
{
    return unless_planned("fsync", [&] { return ::syscall(SYS_fsync, fd); });
}

int renameat2(int from_at, const char* from, int to_at, const char* to, unsigned int flags) noexcept
{
    return unless_planned(
        "renameat2", [&] { return ::syscall(SYS_renameat2, from_at, from, to_at, to, flags); });
}

dirent* readdir(DIR* directory)
{
    if (planned_fault::fails("readdir")) return nullptr;
    static const auto real = reinterpret_cast<dirent* (*)(DIR*)>(::dlsym(RTLD_NEXT, "readdir"));
    return real(directory);
}
}

namespace {

file_system& fs = real_file_system();

std::unique_ptr<file> make(const std::string& path, bool direct = false)
{
    open_options options;
    options.write = true;
    options.create = true;
    options.direct = direct;
    auto opened = fs.open(path, options);
    REQUIRE(opened);
    return std::move(opened).value();
}

template <class Call>
void check_interrupted_and_failing(const char* name, Call call)
{
    INFO(name);
    {
        const planned_fault interrupted({.call = name, .error = EINTR, .times = 3});
        CHECK(call());
        CHECK(interrupted.happened());
    }
    const planned_fault failing({.call = name, .error = EIO});
    CHECK(call().error() == std::errc::io_error);
    CHECK(failing.happened());
}

}  // namespace

TEST_CASE("file: a call that a signal interrupts is made again, other errors come out", "[file]")
{
    test::temporary_directory dir;
    auto f = make(dir / "f");
    const auto data = test::pattern(1000);
    REQUIRE(f->write_at(data, 0));
    std::vector<std::byte> out(1000);
    const std::array<byte_span, 2> halves{byte_span(out).first(500), byte_span(out).last(500)};

    check_interrupted_and_failing("pread", [&] { return f->read_at(out, 0); });
    check_interrupted_and_failing("preadv", [&] { return f->read_at(halves, 0); });
    check_interrupted_and_failing("pwrite", [&] { return f->write_at(data, 0); });
    check_interrupted_and_failing("ftruncate", [&] { return f->truncate(1000); });
    check_interrupted_and_failing("fdatasync", [&] { return f->sync(); });
    check_interrupted_and_failing("fsync", [&] { return fs.sync_directory(dir.path()); });
    check_interrupted_and_failing("flock", [&] { return fs.lock(dir / "lock"); });
    check_interrupted_and_failing("open", [&] { return fs.open(dir / "f", {}); });
    const planned_fault failing({.call = "fstat", .error = EIO});
    CHECK(f->size().error() == std::errc::io_error);
}

TEST_CASE("file: transfers that stop short go on where they stopped", "[file]")
{
    test::temporary_directory dir;
    auto f = make(dir / "f");
    const auto data = test::pattern(1000);
    {
        const planned_fault dribble({.call = "pwrite", .times = 300, .most = 3});
        REQUIRE(f->write_at(data, 5));
        CHECK(dribble.happened());
    }
    std::vector<std::byte> out(1000);
    {
        const planned_fault dribble({.call = "pread", .times = 142, .most = 7});
        CHECK(f->read_at(out, 5).value() == out.size());
        CHECK(dribble.happened());
    }
    CHECK(out == data);
    // An error behind a part that went well is an error of the whole.
    const planned_fault late({.call = "pread", .error = EIO});
    CHECK(f->read_at(out, 5).error() == std::errc::io_error);
}

TEST_CASE("file: a write that takes nothing is an error, not a loop", "[file]")
{
    test::temporary_directory dir;
    auto f = make(dir / "f");
    const planned_fault nothing({.call = "pwrite", .times = 2, .most = 0});
    CHECK(f->write_at(test::pattern(10), 0).error() == std::errc::io_error);
}

TEST_CASE("file: direct mode is left where the system takes no such transfer", "[file]")
{
    test::temporary_directory dir;
    {
        const planned_fault no_direct({.call = "open", .error = EINVAL});
        auto f = make(dir / "a", true);
        CHECK(no_direct.happened());
        CHECK_FALSE(f->direct());
        CHECK(f->write_at(test::pattern(10), 0));
    }
    auto f = make(dir / "b", true);
    if (!f->direct()) COPSE_SKIP("the temporary folder has no direct transfers");
    {
        const planned_fault strict({.call = "pwrite", .error = EINVAL});
        CHECK(f->write_at(test::pattern(512), 0));  // the page cache took it
        CHECK(strict.happened());
    }
    CHECK_FALSE(f->direct());
    // Once left, the same refusal is what it says.
    const planned_fault strict({.call = "pwrite", .error = EINVAL});
    CHECK(f->write_at(test::pattern(512), 0).error() == std::errc::invalid_argument);
}

TEST_CASE("file: a direct mode that cannot be left is the transfer's error", "[file]")
{
    test::temporary_directory dir;
    auto f = make(dir / "f", true);
    if (!f->direct()) COPSE_SKIP("the temporary folder has no direct transfers");
    std::array<std::byte, 3> odd;
    const planned_fault stuck({.call = "fcntl", .error = EIO});
    // No direct transfer has three bytes in an unaligned place: the refusal is the kernel's own.
    const auto written = f->write_at(odd, 1);
    if (stuck.happened()) CHECK(written.error() == std::errc::invalid_argument);
    else CHECK(written);  // this file system takes it
}

TEST_CASE("file: what cannot be looked at is not opened", "[file]")
{
    test::temporary_directory dir;
    make(dir / "f");
    const planned_fault blind({.call = "fstat", .error = EIO});
    CHECK(fs.open(dir / "f", {}).error() == std::errc::io_error);
}

TEST_CASE("file_system: a directory that cannot be read to its end is an error", "[file]")
{
    test::temporary_directory dir;
    make(dir / "f");
    const planned_fault broken({.call = "readdir", .error = EIO, .skip = 1});
    int visited = 0;
    const auto listed = fs.list(dir.path(), [&](const std::string&) -> result<void> {
        ++visited;
        return outcome::success();
    });
    CHECK(listed.error() == std::errc::io_error);
    CHECK(visited == 0);
}

TEST_CASE("file_system: renaming without flags still replaces nothing", "[file]")
{
    test::temporary_directory dir;
    for (const int unknown : {EINVAL, ENOSYS}) {
        make(dir / "from");
        make(dir / "there");
        const planned_fault old({.call = "renameat2", .error = unknown, .times = 2});
        CHECK(fs.rename(dir / "from", dir / "there", false).error() == std::errc::file_exists);
        CHECK(fs.rename(dir / "from", dir / "free", false));
        CHECK(old.happened());
        CHECK(fs.status(dir / "from").error() == std::errc::no_such_file_or_directory);
        REQUIRE(fs.remove_file(dir / "free"));
    }
}

TEST_CASE("file_system: a directory that has nothing to sync is synced", "[file]")
{
    test::temporary_directory dir;
    const planned_fault nothing({.call = "fsync", .error = EINVAL});
    CHECK(fs.sync_directory(dir.path()));
    CHECK(nothing.happened());
}

TEST_CASE("file_system: a lock is tried again when its name went meanwhile", "[file]")
{
    test::temporary_directory dir;
    {
        const planned_fault gone({.call = "stat", .error = ENOENT, .times = 2});
        CHECK(fs.lock(dir / "lock"));
        CHECK(gone.happened());
    }
    {
        const planned_fault closed({.call = "stat", .error = EACCES});
        CHECK(fs.lock(dir / "lock").error() == std::errc::permission_denied);
    }
    const planned_fault blind({.call = "fstat", .error = EIO});
    CHECK(fs.lock(dir / "lock").error() == std::errc::io_error);
}

TEST_CASE("file_system: without /proc there is no boot id", "[file]")
{
    const planned_fault absent({.call = "open", .error = ENOENT});
    CHECK(fs.boot_id().empty());
}
