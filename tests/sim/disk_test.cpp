// What a disk of the world may do to what programs wrote, each fault with its exact bounds.
#include "tests/catch.hpp"
#include "tests/support.hpp"

#include <copse/sim/disk.hpp>
#include <copse/sim/world.hpp>

#include <set>

using namespace copse;
using copse::test::bytes;

namespace {

constexpr std::size_t sector = sim::disk::sector_bytes;

struct box {
    explicit box(std::uint64_t seed = 1) : w(seed), m(w.add_machine("m")), d(w, m), fs(d.mount()) {}

    void restart()
    {
        m.crash();
        d.crash();
        fs = d.mount();
    }
    std::unique_ptr<file> open(const std::string& path)
    {
        open_options how;
        how.write = how.create = true;
        return fs->open(path, how).value();
    }
    void put(const std::string& path, byte_view content)
    {
        const auto f = open(path);
        REQUIRE(f->write_at(content, 0));
        REQUIRE(f->sync());
        REQUIRE(fs->sync_directory("/"));
    }
    std::vector<std::byte> content(const std::string& path)
    {
        const auto f = fs->open(path, {}).value();
        std::vector<std::byte> out(static_cast<std::size_t>(f->size().value()));
        REQUIRE(f->read_at(byte_span(out), 0).value() == out.size());
        return out;
    }
    bool exists(const std::string& path) { return fs->status(path).has_value(); }

    sim::world w;
    sim::machine& m;
    sim::disk d;
    std::unique_ptr<file_system> fs;
};

std::vector<std::byte> sectors(std::size_t n, char fill)
{
    return std::vector<std::byte>(n * sector, static_cast<std::byte>(fill));
}

// One letter for each sector, `?` for one that is not of one piece.
std::string letters(byte_view content)
{
    std::string out;
    for (std::size_t at = 0; at < content.size(); at += sector) {
        const byte_view one = content.subspan(at, std::min(sector, content.size() - at));
        const bool whole = std::ranges::all_of(one, [&](std::byte b) { return b == one[0]; });
        out += whole ? static_cast<char>(one[0]) : '?';
    }
    return out;
}

template <class Play>
std::set<std::string> outcomes(Play play, std::uint64_t seeds = 300)
{
    std::set<std::string> out;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        box b(seed);
        play(b);
        b.restart();
        std::string found;
        REQUIRE(b.fs->list("/", [&](const std::string& name) -> result<void> {
            const bool folder = b.fs->status("/" + name).value().kind == file_kind::directory;
            found += name + "=" + (folder ? "/" : letters(b.content("/" + name))) + " ";
            return outcome::success();
        }));
        out.insert(found);
    }
    return out;
}

}  // namespace

TEST_CASE("disk: a crash tears writes that were not synced, sector by sector")
{
    const auto seen = outcomes([](box& b) {
        b.put("/f", sectors(3, 'o'));
        REQUIRE(b.open("/f")->write_at(sectors(3, 'n'), 0));
    });
    const std::set<std::string> expected{"f=ooo ", "f=oon ", "f=ono ", "f=onn ",
                                         "f=noo ", "f=non ", "f=nno ", "f=nnn "};
    CHECK(seen == expected);
}

TEST_CASE("disk: a crash reorders writes, also those to one sector")
{
    const auto apart = outcomes([](box& b) {
        b.put("/f", sectors(2, 'o'));
        const auto f = b.open("/f");
        REQUIRE(f->write_at(sectors(1, 'a'), 0));
        REQUIRE(f->write_at(sectors(1, 'b'), sector));
    });
    CHECK(apart == std::set<std::string>{"f=oo ", "f=ao ", "f=ob ", "f=ab "});
    const auto same = outcomes([](box& b) {
        b.put("/f", sectors(1, 'o'));
        const auto f = b.open("/f");
        REQUIRE(f->write_at(sectors(1, 'a'), 0));
        REQUIRE(f->write_at(sectors(1, 'b'), 0));
    });
    CHECK(same == std::set<std::string>{"f=o ", "f=a ", "f=b "});
}

TEST_CASE("disk: a file that grew has its old or its new size, and zeros where sectors were lost")
{
    const auto seen = outcomes([](box& b) {
        b.put("/f", sectors(1, 'o'));
        REQUIRE(b.open("/f")->write_at(sectors(1, 'n'), sector));
    });
    const std::string zero(1, '\0');
    CHECK(seen == std::set<std::string>{"f=o ", "f=on ", "f=o" + zero + " "});
}

TEST_CASE("disk: what was synced is there after a crash")
{
    const auto seen = outcomes([](box& b) {
        b.put("/f", sectors(2, 'o'));
        const auto f = b.open("/f");
        REQUIRE(f->write_at(sectors(1, 'n'), sector));
        REQUIRE(f->truncate(3 * sector));
        REQUIRE(f->sync());
    });
    CHECK(seen == std::set<std::string>{std::string("f=on\0 ", 6)});
}

TEST_CASE("disk: names come back up to some change, in their order")
{
    const auto seen = outcomes([](box& b) {
        b.put("/a", {});
        b.open("/b");
        REQUIRE(b.fs->remove_file("/a"));
        REQUIRE(b.fs->make_directory("/c"));
    });
    CHECK(seen == std::set<std::string>{"a= ", "a= b= ", "b= ", "b= c=/ "});
}

TEST_CASE("disk: a rename is one step, between directories too")
{
    std::set<std::string> seen;
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        box b(seed);
        REQUIRE(b.fs->make_directory("/d"));
        b.put("/f", sectors(1, 'f'));
        b.put("/old", sectors(1, 'o'));
        b.open("/d/x");
        REQUIRE(b.fs->rename("/f", "/d/f", false));
        REQUIRE(b.fs->rename("/old", "/new", false));
        const bool synced = seed % 3 == 0;
        if (synced) REQUIRE(b.fs->sync_directory(seed % 2 == 0 ? "/" : "/d"));
        b.restart();
        CHECK(b.exists("/f") != b.exists("/d/f"));
        CHECK(b.exists("/old") != b.exists("/new"));
        if (synced) CHECK(b.exists("/d/f"));
        CHECK(b.content(b.exists("/f") ? "/f" : "/d/f") == sectors(1, 'f'));
        seen.insert(std::string(b.exists("/f") ? "f" : "-") + (b.exists("/old") ? "o" : "-") +
                    (b.exists("/d/x") ? "x" : "-"));
    }
    CHECK(seen == std::set<std::string>{"fo-", "fox", "-ox", "--x"});
}

TEST_CASE("disk: reads and writes fail, whole or behind a part")
{
    box b;
    b.put("/f", sectors(4, 'o'));
    const auto f = b.open("/f");
    std::vector<std::byte> out(4 * sector);
    b.d.options.read_error = 1000;
    CHECK(f->read_at(byte_span(out), 0).error() == std::errc::io_error);
    CHECK(out == std::vector<std::byte>(4 * sector));
    b.d.options.read_error = 0;
    b.d.options.short_read = 1000;
    CHECK(f->read_at(byte_span(out), 0).error() == std::errc::io_error);
    const auto end = std::ranges::find(out, std::byte{0});
    CHECK(end != out.begin());
    CHECK(end != out.end());
    b.d.options.short_read = 0;
    b.d.options.write_error = 1000;
    CHECK(f->write_at(sectors(4, 'n'), 0).error() == std::errc::io_error);
    CHECK(b.content("/f") == sectors(4, 'o'));
    b.d.options.write_error = 0;
    b.d.options.short_write = 1000;
    CHECK(f->write_at(sectors(4, 'n'), 0).error() == std::errc::io_error);
    const auto torn = b.content("/f");
    const auto first_old = std::ranges::find(torn, std::byte{'o'});
    CHECK(first_old != torn.begin());
    CHECK(first_old != torn.end());
    CHECK(std::all_of(first_old, torn.end(), [](std::byte c) { return c == std::byte{'o'}; }));
    CHECK(b.d.statistics().failed == 4);
    CHECK(b.d.statistics().shortened == 2);
}

TEST_CASE("disk: a full disk takes what fits, and has room again when a file is gone")
{
    box b;
    b.d.options.capacity = 1000;
    const auto f = b.open("/f");
    CHECK(f->write_at(sectors(2, 'x'), 0).error() == std::errc::no_space_on_device);
    CHECK(f->size().value() == 1000);
    CHECK(b.d.used_bytes() == 1000);
    CHECK(f->truncate(1001).error() == std::errc::no_space_on_device);
    CHECK(f->write_at(sectors(1, 'y'), 0));
    REQUIRE(b.fs->remove_file("/f"));
    CHECK(b.d.used_bytes() == 0);
    CHECK(b.open("/g")->write_at(sectors(1, 'z'), 0));
    REQUIRE(b.fs->rename("/g", "/h", true));
    b.open("/i");
    REQUIRE(b.fs->rename("/i", "/h", true));
    CHECK(b.d.used_bytes() == 0);
}

TEST_CASE("disk: rot flips one bit for good")
{
    box b;
    const auto before = sectors(2, 'o');
    b.put("/f", before);
    b.d.options.bit_rot = 1000;
    static_cast<void>(b.content("/f"));
    b.d.options.bit_rot = 0;
    const auto after = b.content("/f");
    int bits = 0;
    for (std::size_t i = 0; i < after.size(); ++i) {
        bits += std::popcount(std::to_integer<unsigned>(before[i] ^ after[i]));
    }
    CHECK(bits == 1);
    b.restart();
    CHECK(b.content("/f") == after);
    CHECK(b.d.rot("/f"));
    CHECK(b.content("/f") != after);
    CHECK_FALSE(b.d.rot("/none"));
}

TEST_CASE("disk: a failed sync loses what it was for")
{
    std::set<std::string> seen;
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
        box b(seed);
        b.put("/f", sectors(2, 'o'));
        const auto f = b.open("/f");
        REQUIRE(f->write_at(sectors(2, 'n'), 0));
        b.d.options.sync_error = 1000;
        CHECK(f->sync().error() == std::errc::io_error);
        b.d.options.sync_error = 0;
        CHECK(f->sync());
        seen.insert(letters(b.content("/f")));
    }
    CHECK(seen == std::set<std::string>{"oo", "on", "no", "nn"});
}

TEST_CASE("disk: a crash ends what the old life holds, its lock and its files")
{
    box b;
    const auto old_boot = b.fs->boot_id();
    auto lock = b.fs->lock("/lock");
    REQUIRE(lock);
    CHECK(b.fs->lock("/lock").error() == std::errc::resource_unavailable_try_again);
    b.put("/f", sectors(1, 'o'));
    const auto f = b.open("/f");
    const auto old_fs = std::move(b.fs);
    b.fs = b.d.mount();
    b.restart();
    CHECK(f->write_at(sectors(1, 'n'), 0).error() == std::errc::io_error);
    CHECK(old_fs->remove_file("/f").error() == std::errc::io_error);
    CHECK(b.content("/f") == sectors(1, 'o'));
    const auto mine = b.fs->lock("/lock");
    CHECK(mine);
    lock = std::errc::io_error;  // the dead one's release does not touch the lock of the living
    CHECK(b.fs->lock("/lock").error() == std::errc::resource_unavailable_try_again);
    CHECK(b.fs->boot_id() != old_boot);
}

TEST_CASE("disk: the hook sees each change with its number and may fail it")
{
    box b;
    std::vector<std::uint64_t> numbers;
    b.d.before_change = [&](std::uint64_t n) {
        numbers.push_back(n);
        return n == 2 ? make_error_code(std::errc::io_error) : std::error_code{};
    };
    const auto f = b.open("/f");
    CHECK(f->write_at(bytes("1"), 0));
    CHECK(f->write_at(bytes("2"), 0).error() == std::errc::io_error);
    CHECK(f->sync());
    CHECK(numbers == std::vector<std::uint64_t>{0, 1, 2, 3});
    CHECK(b.content("/f") == bytes("1"));
}

TEST_CASE("disk: a lock ends with the life that took it, even if the disk lives on")
{
    sim::world w(1);
    auto& m = w.add_machine("a");
    sim::disk d(w, m);
    const auto before = d.mount();
    const auto lock = before->lock("/lock");
    REQUIRE(lock);
    CHECK_FALSE(d.mount()->lock("/lock"));
    m.crash();
    CHECK(d.mount()->lock("/lock"));
}
