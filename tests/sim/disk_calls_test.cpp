// A program cannot tell the disk of a world from the system's by what its calls answer.
#include "tests/catch.hpp"
#include "tests/support.hpp"

#include <copse/sim/disk.hpp>

#include <array>
#include <memory>
#include <string>
#include <vector>

using namespace copse;
using namespace copse::test;

namespace {

open_options writing(bool create = true)
{
    open_options options;
    options.write = true;
    options.create = create;
    return options;
}

std::vector<std::string> names(file_system& fs, const std::string& path)
{
    std::vector<std::string> out;
    const auto listed = fs.list(path, [&](const std::string& name) -> result<void> {
        out.push_back(name);
        return outcome::success();
    });
    CHECK(listed);
    return out;
}

result<void> ignore_name(const std::string&)
{
    return outcome::success();
}

void write_file(file_system& fs, const std::string& path, std::string_view text)
{
    auto options = writing();
    options.truncate = true;
    REQUIRE(fs.open(path, options).value()->write_at(as_bytes(text), 0));
}

std::string content(file_system& fs, const std::string& path)
{
    const auto f = fs.open(path, {}).value();
    std::vector<std::byte> out(static_cast<std::size_t>(f->size().value()));
    CHECK(f->read_at(out, 0).value() == out.size());
    return text(out);
}

// What a program may try in a folder of its own.
void names_and_folders(file_system& fs, const std::string& at)
{
    CHECK(fs.open(at + "/absent", {}).error() == std::errc::no_such_file_or_directory);
    CHECK(fs.open(at, {}).error() == std::errc::is_a_directory);
    CHECK(fs.open(at + "/no/file", writing()).error() == std::errc::no_such_file_or_directory);
    write_file(fs, at + "/f", "first");
    CHECK(fs.open(at + "/f/g", writing()).error() == std::errc::not_a_directory);
    auto exclusive = writing();
    exclusive.exclusive = true;
    CHECK(fs.open(at + "/f", exclusive).error() == std::errc::file_exists);
    CHECK(fs.open(at + "/g", exclusive));

    CHECK(fs.make_directory(at + "/d", 0755));
    CHECK(fs.make_directory(at + "/d", 0755).error() == std::errc::file_exists);
    CHECK(fs.make_directory(at + "/f", 0755).error() == std::errc::file_exists);
    CHECK(fs.make_directory(at + "/no/d", 0755).error() == std::errc::no_such_file_or_directory);
    write_file(fs, at + "/d/inner", "");
    CHECK(names(fs, at) == std::vector<std::string>{"d", "f", "g"});
    CHECK(names(fs, at + "/d/") == std::vector<std::string>{"inner"});
    CHECK(fs.list(at + "/f", ignore_name).error() == std::errc::not_a_directory);
    CHECK(fs.list(at + "/no", ignore_name).error() == std::errc::no_such_file_or_directory);
    const auto stopped = fs.list(at, [](const std::string&) -> result<void> {
        return make_error_code(std::errc::operation_canceled);
    });
    CHECK(stopped.error() == std::errc::operation_canceled);

    CHECK(fs.status(at + "/d").value().kind == file_kind::directory);
    const auto status = fs.status(at + "/f").value();
    CHECK(status.kind == file_kind::regular);
    CHECK(status.size == 5);
    CHECK(status.inode != fs.status(at + "/g").value().inode);
    CHECK(fs.status(at + "/no").error() == std::errc::no_such_file_or_directory);

    CHECK(fs.remove_file(at + "/d").error() == std::errc::is_a_directory);
    CHECK(fs.remove_directory(at + "/f").error() == std::errc::not_a_directory);
    CHECK(fs.remove_directory(at + "/d").error() == std::errc::directory_not_empty);
    CHECK(fs.remove_file(at + "/no").error() == std::errc::no_such_file_or_directory);
    CHECK(fs.remove_directory(at + "/no").error() == std::errc::no_such_file_or_directory);
    CHECK(fs.sync_directory(at));
    CHECK(fs.sync_directory(at + "/no").error() == std::errc::no_such_file_or_directory);
}

void renames(file_system& fs, const std::string& at)
{
    write_file(fs, at + "/from", "new");
    write_file(fs, at + "/to", "old");
    REQUIRE(fs.make_directory(at + "/d", 0755));
    CHECK(fs.rename(at + "/from", at + "/to", false).error() == std::errc::file_exists);
    CHECK(content(fs, at + "/to") == "old");
    CHECK(fs.rename(at + "/from", at + "/from", true));
    CHECK(fs.rename(at + "/from", at + "/d", true).error() == std::errc::is_a_directory);
    CHECK(fs.rename(at + "/from", at + "/no/x", true).error() ==
          std::errc::no_such_file_or_directory);
    CHECK(fs.rename(at + "/from", at + "/to/x", true).error() == std::errc::not_a_directory);
    CHECK(fs.rename(at + "/no", at + "/x", true).error() == std::errc::no_such_file_or_directory);
    REQUIRE(fs.rename(at + "/from", at + "/to", true));
    CHECK(content(fs, at + "/to") == "new");
    REQUIRE(fs.rename(at + "/to", at + "/d/there", false));
    CHECK(names(fs, at) == std::vector<std::string>{"d"});
    CHECK(content(fs, at + "/d/there") == "new");
}

void transfers(file_system& fs, const std::string& at)
{
    constexpr auto farthest = ~std::uint64_t{0};
    auto f = fs.open(at + "/f", writing()).value();
    const auto data = pattern(1000);
    CHECK(f->write_at({}, 5));
    CHECK(f->size().value() == 0);
    REQUIRE(f->write_at(data, 100));
    CHECK(f->size().value() == 1100);
    std::vector<std::byte> out(1100, std::byte{0xee});
    const std::array<byte_span, 3> parts{byte_span(out).first(50), byte_span(),
                                         byte_span(out).last(1050)};
    CHECK(f->read_at(parts, 0).value() == 1100);
    CHECK(out[99] == std::byte{0});
    CHECK(std::equal(data.begin(), data.end(), out.begin() + 100));
    CHECK(f->read_at(out, 1000).value() == 100);
    CHECK(f->read_at(out, 1100).value() == 0);
    CHECK(f->read_at(out, std::uint64_t{1} << 62).value() == 0);
    CHECK(f->read_at(out, farthest - 5).error() == std::errc::value_too_large);
    CHECK(f->write_at(data, farthest - 5).error() == std::errc::file_too_large);
    CHECK(f->truncate(farthest).error() == std::errc::file_too_large);
    REQUIRE(f->truncate(10));
    REQUIRE(f->truncate(20));
    CHECK(f->read_at(out, 0).value() == 20);
    CHECK(out[15] == std::byte{0});
    CHECK(f->sync());

    const auto reading = fs.open(at + "/f", {}).value();
    CHECK(reading->write_at(data, 0).error() == std::errc::bad_file_descriptor);
    CHECK(reading->truncate(0).error() == std::errc::invalid_argument);
    CHECK(reading->size().value() == 20);
    // A file without a name is there as long as it is open.
    REQUIRE(fs.remove_file(at + "/f"));
    CHECK(reading->size().value() == 20);
    REQUIRE(f->write_at(data, 0));
    CHECK(reading->read_at(out, 0).value() == 1000);
}

void locks(file_system& fs, const std::string& at)
{
    auto held = fs.lock(at + "/lock").value();
    CHECK(fs.lock(at + "/lock").error() == std::errc::resource_unavailable_try_again);
    held.reset();
    CHECK(fs.lock(at + "/lock"));
    CHECK(fs.lock(at + "/no/lock").error() == std::errc::no_such_file_or_directory);
    CHECK_FALSE(fs.boot_id().empty());
    CHECK(fs.boot_id() == fs.boot_id());
}

using script = void (*)(file_system&, const std::string&);
constexpr std::array<script, 4> scripts{names_and_folders, renames, transfers, locks};

}  // namespace

TEST_CASE("disk: what the system's files answer", "[sim]")
{
    for (const script run : scripts) {
        const temporary_directory dir;
        run(real_file_system(), dir.path().string());
    }
}

TEST_CASE("disk: a disk of the world answers the same", "[sim]")
{
    for (const script run : scripts) {
        sim::world w(1);
        sim::disk d(w, w.add_machine("a"));
        const auto fs = d.mount();
        REQUIRE(fs->make_directory("/home", 0755));
        run(*fs, "/home");
    }
}

TEST_CASE("disk: after a crash no call of the former life has an effect", "[sim]")
{
    sim::world w(1);
    auto& m = w.add_machine("a");
    sim::disk d(w, m);
    const auto before = d.mount();
    const auto f = before->open("/f", writing()).value();
    const auto held = before->lock("/lock").value();
    REQUIRE(before->sync_directory("/"));
    const std::string boot = before->boot_id();
    m.crash();
    d.crash();

    const std::array<std::byte, 1> one{};
    std::array<std::byte, 1> out;
    const std::error_code lost = std::make_error_code(std::errc::io_error);
    CHECK(f->read_at(out, 0).error() == lost);
    CHECK(f->write_at(one, 0).error() == lost);
    CHECK(f->size().error() == lost);
    CHECK(f->truncate(1).error() == lost);
    CHECK(f->sync().error() == lost);
    CHECK(before->open("/f", {}).error() == lost);
    CHECK(before->status("/f").error() == lost);
    CHECK(before->list("/", ignore_name).error() == lost);
    CHECK(before->make_directory("/d", 0755).error() == lost);
    CHECK(before->remove_file("/f").error() == lost);
    CHECK(before->remove_directory("/d").error() == lost);
    CHECK(before->rename("/f", "/g", true).error() == lost);
    CHECK(before->sync_directory("/").error() == lost);
    CHECK(before->lock("/lock").error() == lost);

    const auto after = d.mount();
    CHECK(names(*after, "/") == std::vector<std::string>{"f", "lock"});
    CHECK(after->boot_id() != boot);
    CHECK(after->status("/f").value().size == 0);
    const auto mine = after->lock("/lock");
    CHECK(mine);  // nobody of the former life holds it
}
