// What a folder store syncs, and in which order.
#include <copse/store/folder_store.hpp>

#include "store/fixture.hpp"

#include <algorithm>

using namespace copse;
using namespace copse::store;
using namespace copse::test;

namespace {

std::shared_ptr<folder_store> open_store(const temporary_directory& dir, faulty_file_system& fs)
{
    return folder_store::open(fs, (dir / "store").string(), {}).value();
}

// Where a call is in the log, -1 for nowhere.
long find(const faulty_file_system& fs, std::string_view word, std::string_view suffix)
{
    const auto at = std::ranges::find_if(fs.log, [&](const std::string& line) {
        return line.starts_with(word) && line.ends_with(suffix);
    });
    return at == fs.log.end() ? -1 : at - fs.log.begin();
}

// Whether the folder is synced behind line `at` of the log.
bool names_synced_after(const faulty_file_system& fs, long at)
{
    return std::any_of(fs.log.begin() + at, fs.log.end(), [](const std::string& line) {
        return line.starts_with("sync ") && line.ends_with("/store");
    });
}

}  // namespace

TEST_CASE("folder_store: a durable blob is named behind its bytes, the name is synced last",
          "[store]")
{
    const std::size_t size = GENERATE(1000u, 1'000'000u);
    temporary_directory dir;
    faulty_file_system fs;
    auto store = open_store(dir, fs);
    const auto blob = random_blob(size);
    auto writer = store->open_partial(blob.root, size).value();
    REQUIRE(deliver_all(*writer, blob));
    fs.log.clear();
    REQUIRE(writer->finish(true)());
    const long bytes = find(fs, "sync ", ".part");
    const long name = find(fs, "rename ", ".data");
    REQUIRE(bytes >= 0);
    CHECK(bytes < name);
    CHECK(names_synced_after(fs, name));
    const long pairs = find(fs, "sync ", ".obao4");
    CHECK((pairs >= 0) == (size > 256 * 1024));
    CHECK(pairs < name);
}

TEST_CASE("folder_store: what is found whole after a restart is synced before it gets its name",
          "[store]")
{
    const std::size_t size = GENERATE(1000u, 1'000'000u);
    temporary_directory dir;
    faulty_file_system fs;
    const auto blob = random_blob(size);
    {
        auto store = open_store(dir, fs);
        auto writer = store->open_partial(blob.root, size).value();
        REQUIRE(deliver_all(*writer, blob));
        REQUIRE(writer->finish(false)());
    }
    fs.boot = "boot-2";
    fs.log.clear();
    auto store = open_store(dir, fs);
    const long bytes = find(fs, "sync ", ".new");
    const long name = find(fs, "rename ", ".data");
    REQUIRE(bytes >= 0);
    CHECK(bytes < name);
    CHECK(names_synced_after(fs, name));
    const long pairs = find(fs, "sync ", ".obao4");
    CHECK((pairs >= 0) == (size > 256 * 1024));
    CHECK(pairs < name);
}

TEST_CASE("folder_store: pairs are written before the record that names their chunks", "[store]")
{
    temporary_directory dir;
    faulty_file_system fs;
    auto store = open_store(dir, fs);
    const auto blob = random_blob(1'000'000);
    auto writer = store->open_partial(blob.root, blob.data.size()).value();
    REQUIRE(deliver(*writer, blob, 0, 256));
    fs.log.clear();
    REQUIRE(writer->checkpoint()());
    const long pairs = find(fs, "write ", ".obao4");
    REQUIRE(pairs >= 0);
    CHECK(pairs < find(fs, "write ", ".bits"));
}
