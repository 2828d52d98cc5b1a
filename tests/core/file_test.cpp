#include <copse/core/file.hpp>

#include "catch.hpp"
#include "support.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <memory>
#include <new>

using namespace copse;

namespace {

file_system& fs = real_file_system();

std::unique_ptr<file> open_or_fail(const std::string& path, open_options options)
{
    auto opened = fs.open(path, options);
    REQUIRE(opened);
    return std::move(opened).value();
}

open_options writing()
{
    open_options options;
    options.write = true;
    options.create = true;
    return options;
}

struct aligned_free {
    void operator()(std::byte* p) const { std::free(p); }
};
using aligned_bytes = std::unique_ptr<std::byte, aligned_free>;

aligned_bytes aligned(std::size_t size)
{
    auto* const p = static_cast<std::byte*>(std::aligned_alloc(direct_alignment, size));
    if (!p) throw std::bad_alloc();
    return aligned_bytes(p);
}

result<void> accept(const std::string&)
{
    return outcome::success();
}

}  // namespace

TEST_CASE("file: parts are filled in order and short only at the end", "[file]")
{
    test::temporary_directory dir;
    auto f = open_or_fail(dir / "f", writing());
    const auto data = test::pattern(10'000);
    REQUIRE(f->write_at(data, 0));
    CHECK(f->size().value() == data.size());
    CHECK_FALSE(f->direct());

    SECTION("fewer parts than one call takes, one of them empty")
    {
        std::array<std::byte, 3> a;
        std::array<std::byte, 5000> b;
        const std::array<byte_span, 3> parts{byte_span(a), byte_span(), byte_span(b)};
        CHECK(f->read_at(parts, 7).value() == 5003);
        CHECK(std::equal(a.begin(), a.end(), data.begin() + 7));
        CHECK(std::equal(b.begin(), b.end(), data.begin() + 10));
    }
    SECTION("more parts than IOV_MAX")
    {
        std::vector<std::byte> out(9'000);
        std::vector<byte_span> parts;
        for (std::size_t i = 0; i < out.size(); i += 3)
            parts.push_back(byte_span(out).subspan(i, 3));
        REQUIRE(parts.size() > 1024);
        CHECK(f->read_at(parts, 500).value() == out.size());
        CHECK(std::equal(out.begin(), out.end(), data.begin() + 500));
    }
    SECTION("beyond the end")
    {
        std::vector<std::byte> out(100);
        CHECK(f->read_at(out, 9'950).value() == 50);
        CHECK(std::equal(out.begin(), out.begin() + 50, data.end() - 50));
        CHECK(f->read_at(out, 10'000).value() == 0);
        CHECK(f->read_at(out, std::uint64_t{1} << 62).value() == 0);
        CHECK(f->read_at(out, ~std::uint64_t{0}).error() == std::errc::value_too_large);
        CHECK(f->read_at(std::span<const byte_span>(), 0).value() == 0);
    }
    SECTION("truncation grows and shrinks")
    {
        REQUIRE(f->truncate(20'000));
        std::vector<std::byte> out(20'000, std::byte{1});
        CHECK(f->read_at(out, 0).value() == 20'000);
        CHECK(out.back() == std::byte{0});
        REQUIRE(f->truncate(1));
        CHECK(f->size().value() == 1);
        CHECK(f->truncate(~std::uint64_t{0}).error() == std::errc::file_too_large);
        CHECK(f->write_at(data, ~std::uint64_t{0} - 5).error() == std::errc::file_too_large);
        CHECK(f->sync());
    }
}

TEST_CASE("file: direct transfers, or a quiet fall back to the page cache", "[file]")
{
    test::temporary_directory dir;
    constexpr std::size_t size = 64 * 1024;
    const auto data = test::pattern(size);
    const auto buffer = aligned(size);
    std::copy(data.begin(), data.end(), buffer.get());
    // /dev/shm is a tmpfs, which had no direct transfers for most of its life.
    for (const std::string& base : {dir.path().string(), std::string("/dev/shm")}) {
        if (::access(base.c_str(), W_OK) != 0) continue;
        const std::string path = base + "/copse-file-test-" + std::to_string(::getpid());
        auto options = writing();
        options.direct = true;
        options.exclusive = true;
        auto f = open_or_fail(path, options);
        REQUIRE(f->write_at(byte_view(buffer.get(), size), size));
        CHECK(f->size().value() == 2 * size);
        const auto back = aligned(size);
        CHECK(f->read_at(byte_span(back.get(), size), size).value() == size);
        CHECK(std::equal(data.begin(), data.end(), back.get()));

        // A length that no direct transfer can have still arrives.
        REQUIRE(f->write_at(byte_view(buffer.get() + 1, 777), 3));
        std::vector<std::byte> small(777);
        CHECK(f->read_at(small, 3).value() == 777);
        CHECK(std::equal(small.begin(), small.end(), data.begin() + 1));
        REQUIRE(fs.remove_file(path));
    }
}

TEST_CASE("file: descriptors are closed, those of directories and locks too", "[file]")
{
    const auto open_descriptors = [] {
        const std::filesystem::directory_iterator all("/proc/self/fd");
        return std::distance(begin(all), end(all));
    };
    test::temporary_directory dir;
    const auto before = open_descriptors();
    {
        auto f = open_or_fail(dir / "f", writing());
        CHECK(open_descriptors() == before + 1);
        REQUIRE(f->sync());
    }
    CHECK_FALSE(fs.open(dir / "absent", {}));
    CHECK(fs.lock(dir / "lock"));
    CHECK(fs.list(dir.path(), accept));
    CHECK(fs.sync_directory(dir.path()));
    CHECK(fs.rename(dir / "f", dir / "g", false));
    CHECK(fs.remove_file(dir / "g"));
    CHECK(open_descriptors() == before);
}

TEST_CASE("file: opening says why it fails", "[file]")
{
    test::temporary_directory dir;
    CHECK(fs.open(dir / "absent", {}).error() == std::errc::no_such_file_or_directory);
    CHECK(fs.open(dir.path(), {}).error() == std::errc::is_a_directory);
    CHECK(fs.open(dir.path() / "a" / "b", writing()).error() ==
          std::errc::no_such_file_or_directory);

    auto exclusive = writing();
    exclusive.exclusive = true;
    open_or_fail(dir / "once", exclusive);
    CHECK(fs.open(dir / "once", exclusive).error() == std::errc::file_exists);
    exclusive.direct = true;
    CHECK(fs.open(dir / "once", exclusive).error() == std::errc::file_exists);

    REQUIRE(::symlink("once", (dir / "link").c_str()) == 0);
    open_options no_links;
    no_links.follow_links = false;
    CHECK(fs.open(dir / "link", no_links).error() == std::errc::too_many_symbolic_link_levels);
    CHECK(fs.open(dir / "link", {}));

    // A FIFO without a writer must not hang, and has no positions.
    REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
    auto fifo = open_or_fail(dir / "fifo", {});
    std::array<std::byte, 4> out;
    CHECK(fifo->read_at(out, 0).error() == std::errc::invalid_seek);
}

TEST_CASE("file: truncating on open, permissions, and no inherited descriptors", "[file]")
{
    test::temporary_directory dir;
    auto options = writing();
    options.permissions = 0600;
    open_or_fail(dir / "f", options)->write_at(test::pattern(10), 0).value();
    struct stat status;
    REQUIRE(::stat((dir / "f").c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
    options.truncate = true;
    CHECK(open_or_fail(dir / "f", options)->size().value() == 0);
}

TEST_CASE("file: a full disk is an error of the write", "[file]")
{
    if (::access("/dev/full", W_OK) != 0) COPSE_SKIP("no /dev/full");
    open_options options;
    options.write = true;
    auto full = open_or_fail("/dev/full", options);
    CHECK(full->write_at(test::pattern(4096), 0).error() == std::errc::no_space_on_device);
}

TEST_CASE("file_system: status does not follow links", "[file]")
{
    test::temporary_directory dir;
    auto f = open_or_fail(dir / "f", writing());
    REQUIRE(f->write_at(test::pattern(123), 0));
    REQUIRE(::symlink("f", (dir / "link").c_str()) == 0);
    REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);

    const auto regular = fs.status(dir / "f").value();
    CHECK(regular.kind == file_kind::regular);
    CHECK(regular.size == 123);
    CHECK(regular.inode != 0);
    CHECK(regular.modified_ns > 1'500'000'000'000'000'000);  // after 2017, in nanoseconds
    CHECK(fs.status(dir / "link").value().kind == file_kind::symbolic_link);
    CHECK(fs.status(dir.path()).value().kind == file_kind::directory);
    CHECK(fs.status(dir / "fifo").value().kind == file_kind::other);
    CHECK(fs.status(dir / "absent").error() == std::errc::no_such_file_or_directory);
}

TEST_CASE("file_system: directories are listed in bytewise order", "[file]")
{
    test::temporary_directory dir;
    for (const char* name : {"b", "a", "Z", ".hidden", "\xff", "a b"}) {
        open_or_fail(dir.path() / name, writing());
    }
    REQUIRE(fs.make_directory(dir / "sub"));
    CHECK(fs.make_directory(dir / "sub").error() == std::errc::file_exists);
    std::vector<std::string> names;
    REQUIRE(fs.list(dir.path(), [&](const std::string& name) -> result<void> {
        names.push_back(name);
        return outcome::success();
    }));
    CHECK(names == std::vector<std::string>{".hidden", "Z", "a", "a b", "b", "sub", "\xff"});

    // The visitor's error ends the listing.
    int visited = 0;
    const auto stopped = fs.list(dir.path(), [&](const std::string&) -> result<void> {
        ++visited;
        return make_error_code(std::errc::operation_canceled);
    });
    CHECK(stopped.error() == std::errc::operation_canceled);
    CHECK(visited == 1);

    CHECK(fs.list(dir / "absent", accept).error() == std::errc::no_such_file_or_directory);
    CHECK(fs.list(dir / "a", accept).error() == std::errc::not_a_directory);
    CHECK(fs.remove_directory(dir.path()).error() == std::errc::directory_not_empty);
    CHECK(fs.remove_directory(dir / "sub"));
    CHECK(fs.remove_file(dir / "sub").error() == std::errc::no_such_file_or_directory);
    CHECK(fs.sync_directory(dir.path()));
    CHECK(fs.sync_directory(dir / "absent").error() == std::errc::no_such_file_or_directory);
}

TEST_CASE("file_system: rename replaces only when asked", "[file]")
{
    test::temporary_directory dir;
    REQUIRE(open_or_fail(dir / "from", writing())->write_at(as_bytes("new"), 0));
    REQUIRE(open_or_fail(dir / "to", writing())->write_at(as_bytes("old"), 0));

    CHECK(fs.rename(dir / "from", dir / "to", false).error() == std::errc::file_exists);
    CHECK(test::read_file(dir / "to") == "old");
    REQUIRE(fs.rename(dir / "from", dir / "free", false));
    CHECK(fs.status(dir / "from").error() == std::errc::no_such_file_or_directory);
    REQUIRE(fs.rename(dir / "free", dir / "to", true));
    CHECK(test::read_file(dir / "to") == "new");
    CHECK(fs.rename(dir / "free", dir / "x", false).error() ==
          std::errc::no_such_file_or_directory);
}

TEST_CASE("file_system: a lock has one holder", "[file]")
{
    test::temporary_directory dir;
    auto held = fs.lock(dir / "lock");
    REQUIRE(held);
    CHECK(fs.lock(dir / "lock").error() == std::errc::resource_unavailable_try_again);
    held = std::shared_ptr<void>();
    auto again = fs.lock(dir / "lock");
    REQUIRE(again);
    // The name may go while the lock is held; a lock on the new file is another lock.
    REQUIRE(fs.remove_file(dir / "lock"));
    CHECK(fs.lock(dir / "lock"));
    CHECK(fs.lock(dir.path() / "absent" / "lock").error() == std::errc::no_such_file_or_directory);
}

TEST_CASE("file_system: the boot id stays for one run of the machine", "[file]")
{
    const auto id = fs.boot_id();
    CHECK(id.size() == 36);
    CHECK(id == fs.boot_id());
}
