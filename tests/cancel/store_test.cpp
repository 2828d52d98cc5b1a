// Cancellation of imports.
#include "tests/cancel/harness.hpp"
#include "tests/support.hpp"

#include <copse/hash/blake3.hpp>
#include <copse/store/import.hpp>

#include <filesystem>
#include <fstream>

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;

namespace {

const std::vector<std::byte>& content()
{
    static const std::vector<std::byte> bytes = pattern(4'500'000);
    return bytes;
}

std::size_t open_files()
{
    std::size_t n = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
        n += !entry.path().empty();
    return n;
}

struct import_scene : scene {
    import_scene(stage& s, std::string p, unsigned w)
        : scene(s), path(std::move(p)), workers(w), pool(s), files_before(open_files())
    {
        pool.tick = 60ms;  // longer than a slice: each ends after a segment
    }
    awaitable<std::error_code> operate() override
    {
        store::import_options options;
        options.workers = workers;
        options.progress = [this](std::uint64_t bytes) { progress = bytes; };
        const auto imported =
            co_await store::import_file(real_file_system(), pool, path, std::move(options));
        if (!imported) co_return imported.error();
        CHECK(imported.value().size == content().size());
        static const hash::digest root = hash::blake3_hash(content());
        CHECK(imported.value().root == root);
        CHECK(imported.value().index);
        co_return std::error_code{};
    }
    awaitable<void> afterwards(std::error_code ec) override
    {
        CHECK(open_files() == files_before);
        if (!ec) CHECK(progress == content().size());
        if (ec) ec = co_await operate();
        CHECK(!ec);
    }
    std::string path;
    unsigned workers;
    later_pool pool;
    std::size_t files_before;
    std::uint64_t progress = 0;
};

}  // namespace

TEST_CASE("cancel: copse::store::import_file")
{
    const temporary_directory dir;
    const std::string path = dir / "file";
    std::ofstream(path, std::ios::binary) << as_text(content());
    cancel_rules rules;
    rules.within = 500ms;  // the jobs that run, with clocks that jump at every look
    for (const unsigned workers : {1U, 2U}) {
        cancel_everywhere<import_scene>(
            "copse::store::import_file, workers " + std::to_string(workers), rules, path, workers);
    }
}
