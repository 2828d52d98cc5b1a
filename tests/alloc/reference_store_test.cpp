// Files served in place, the hashing of files and streams, and the records of partial blobs.
#include "stores.hpp"

#include <copse/core/limits.hpp>
#include <copse/store/bits_core.hpp>
#include <copse/store/import.hpp>
#include <copse/store/reference_store.hpp>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include <fstream>

using namespace copse;
using namespace copse::store;
using namespace copse::test;

namespace {

/// A folder with a few files.
struct files {
    files()
    {
        for (int i = 0; i < 3; ++i) {
            blobs.push_back(random_blob(300'000 + static_cast<std::size_t>(i), 7));
            paths.push_back((folder / ("file number " + std::to_string(i))).string());
            std::ofstream out(paths.back(), std::ios::binary);
            out.write(reinterpret_cast<const char*>(blobs.back().data.data()),
                      static_cast<std::streamsize>(blobs.back().data.size()));
        }
    }

    temporary_directory folder;
    std::vector<known_blob> blobs;
    std::vector<std::string> paths;
};

/// Imports on this thread. The coroutine's frames are Asio's and not marked; what it does is.
result<imported_file> import(const std::string& path, std::size_t* failing = nullptr,
                             bool* failed = nullptr)
{
    asio::io_context io(1);
    const auto pool = make_inline_pool();
    std::optional<result<imported_file>> out;
    std::exception_ptr thrown;
    auto run = [](file_system& fs, offload_pool& on, std::string from,
                  std::optional<result<imported_file>>& to) -> awaitable<void> {
        import_options options;
        options.workers = 2;
        to.emplace(co_await import_file(fs, on, std::move(from), std::move(options)));
    };
    asio::co_spawn(io, run(real_file_system(), *pool, path, out),
                   [&](std::exception_ptr e) { thrown = e; });
    if (failing) {
        const failing_allocation marked(*failing);
        io.run();
        *failed = marked.failed();
    } else {
        io.run();
    }
    if (thrown) std::rethrow_exception(thrown);
    return std::move(*out);
}

struct serving {
    explicit serving(const files& from)
        : kept(std::make_unique<reference_store>(real_file_system(), 2))
    {
        for (const auto& path : from.paths) kept->add(import(path).value());
    }
    std::unique_ptr<reference_store> kept;
};

}  // namespace

TEST_CASE("alloc: copse::store::import_file", "[alloc]")
{
    const files from;
    std::size_t nth = 0;
    for (bool failed = true; failed; ++nth) {
        REQUIRE(nth < most_allocations);
        bool threw = false;
        std::optional<result<imported_file>> got;
        try {
            got.emplace(import(from.paths[0], &nth, &failed));
        } catch (const std::bad_alloc&) {
            threw = true;
            failed = true;
        }
        INFO("allocation " << nth);
        if (!threw) {
            REQUIRE(*got);
            REQUIRE(got->value().root == from.blobs[0].root);
        }
        REQUIRE(import(from.paths[0]).value().root == from.blobs[0].root);
    }
    CHECK(nth > 3);
}

TEST_CASE("alloc: copse::store::hash_stream", "[alloc]")
{
    const known_blob blob = random_blob(300'000);
    const auto run = [&] {
        std::size_t at = 0;
        const auto hashed = hash_stream([&](byte_span into) -> result<std::size_t> {
            const std::size_t n = std::min(into.size(), blob.data.size() - at);
            std::copy_n(blob.data.begin() + static_cast<std::ptrdiff_t>(at), n, into.begin());
            at += n;
            return n;
        });
        return hashed.value().root;
    };
    CHECK(run() == blob.root);
    CHECK(fail_each_allocation_of(run) > 0);
}

TEST_CASE("alloc: copse::store::reference_store::add, copse::store::reference_store::add_bytes, "
          "copse::store::reference_store::open, copse::store::reference_store::open_files, "
          "copse::store::reference_store::open_partial, copse::store::reference_store::status, "
          "copse::store::reference_store::watch",
          "[alloc]")
{
    const files from;
    const known_blob more = random_blob(400'000, 9);
    const auto imported = import(from.paths[0]).value();
    const auto make = [&] { return serving(from); };
    const auto intact = [&](serving& s) {
        // More files than may be open at once: they take turns.
        for (const auto& blob : from.blobs) check_complete(*s.kept, blob);
        REQUIRE(s.kept->open_files() <= 2);
    };
    const auto read_all = [&](serving& s) {
        bool good = true;
        for (int round = 0; round < 2; ++round) {
            for (const auto& blob : from.blobs) {
                const auto reader = s.kept->open(blob.root);
                std::array<std::byte, 3000> out;
                byte_span into = out;
                good = good &&
                       reader.value()->read(std::span<const byte_span>(&into, 1), 270'000) &&
                       reader.value()->pair({0, blob.chunks()}) &&
                       std::equal(out.begin(), out.end(), blob.data.begin() + 270'000);
            }
        }
        return std::make_pair(good, s.kept->open_files());
    };
    CHECK(fail_each_allocation(make, read_all, intact) > 5);
    const auto add = [&](serving& s) {
        s.kept->add(imported);
        return s.kept->status(imported.root).value().complete();
    };
    CHECK(fail_each_allocation(make, add, intact) > 0);
    const auto add_bytes = [&](serving& s) {
        int told = 0;
        const auto handle = s.kept->watch(more.root, std::function<void()>([&told] { ++told; }));
        const auto root = s.kept->add_bytes(shared_bytes::copy(more.data));
        return std::make_pair(root, told > 0);
    };
    CHECK(fail_each_allocation(make, add_bytes, intact) > 0);
    const auto refuse = [&](serving& s) {
        return s.kept->open_partial(more.root, 400'000).error();
    };
    CHECK(fail_each_allocation(make, refuse, intact) == 0);
}

TEST_CASE("alloc: copse::store::bits_core::encode, copse::store::bits_core::decode, "
          "copse::store::bits_core::newest",
          "[alloc]")
{
    presence_record record;
    record.sequence = 2;
    record.size = 50'000'000;
    record.root = hash::blake3_hash(pattern(3));
    for (std::uint64_t at = 0; at < 1000; at += 5) record.present.insert(16 * at, 16 * (at + 2));
    CHECK(fail_each_allocation_of([&] { return bits_core::encode(record); }) > 0);
    auto slot = bits_core::encode(record);
    const auto decode = [&] { return bits_core::decode(slot, record.root).value(); };
    CHECK(decode() == record);
    CHECK(fail_each_allocation_of(decode) > 0);
    slot.resize(bits_core::slot_size);
    record.sequence = 1;
    const auto second = bits_core::encode(record);
    slot.insert(slot.end(), second.begin(), second.end());
    const auto newest = [&] { return bits_core::newest(slot, record.root).value(); };
    CHECK(newest().sequence == 2);
    CHECK(fail_each_allocation_of(newest) > 0);
}
