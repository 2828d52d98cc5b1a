#include <copse/store/reference_store.hpp>

#include "store/fixture.hpp"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

using namespace copse;
using namespace copse::store;
using namespace copse::test;

namespace {

// What import_file() makes of a file, without its coroutine.
imported_file imported(const std::filesystem::path& path, byte_view data)
{
    std::ofstream(path, std::ios::binary) << as_text(data);
    imported_file out;
    out.path = path;
    out.index = std::make_shared<bao::outboard>(bao::outboard::build(data, extent_groups));
    out.root = out.index->root();
    out.size = data.size();
    out.identity = real_file_system().status(path).value();
    return out;
}

}  // namespace

TEST_CASE("reference_store: files and bytes are served with coarse pairs", "[store]")
{
    temporary_directory dir;
    reference_store store(real_file_system());
    for (const auto size :
         std::initializer_list<std::size_t>{1, 1024, 262'144, 262'145, 1'000'000, 3'000'000}) {
        const auto blob = random_blob(size, size);
        store.add(imported(dir / "f" += std::to_string(size), blob.data));
        const auto other = random_blob(size, size + 1);
        CHECK(store.add_bytes(shared_bytes::copy(other.data)) == other.root);
        for (const auto* each : {&blob, &other}) {
            CHECK(store.status(each->root).value().complete());
            auto reader = store.open(each->root).value();
            CHECK(reader->pair_granularity() == 256);
            check_reader(*reader, *each);
            std::vector<std::byte> out(2);
            CHECK(read(*reader, out, size - 1).error() == store_errc::missing);
            CHECK(read(*reader, out, ~std::uint64_t{0}).error() == store_errc::missing);
            CHECK(reader->read_pairs(1000, out).error() == store_errc::missing);
        }
    }
    const auto absent = random_blob(10, 99);
    CHECK(store.open(absent.root).error() == store_errc::missing);
    CHECK(store.status(absent.root).value().size == 0);
    CHECK(store.open_partial(absent.root, 10).error() == store_errc::read_only);
    const known_blob empty({});
    CHECK(store.status(empty.root).value().complete());
    CHECK(store.open(empty.root).value()->size() == 0);
}

TEST_CASE("reference_store: only a few files are open, however many there are", "[store]")
{
    temporary_directory dir;
    reference_store store(real_file_system(), 3);
    std::vector<known_blob> blobs;
    std::vector<std::shared_ptr<blob_reader>> readers;
    for (std::size_t i = 0; i < 20; ++i) {
        blobs.push_back(random_blob(5000, i));
        store.add(imported(dir / "f" += std::to_string(i), blobs.back().data));
        readers.push_back(store.open(blobs.back().root).value());
    }
    CHECK(store.open_files() == 0);  // opened by reading
    for (int round = 0; round < 2; ++round) {
        for (std::size_t i = 0; i < blobs.size(); ++i) {
            check_reader(*readers[i], blobs[i]);
            REQUIRE(store.open_files() == std::min<std::size_t>(3, round ? 3 : i + 1));
        }
    }
}

TEST_CASE("reference_store: a file that changed is an error", "[store]")
{
    temporary_directory dir;
    const auto blob = random_blob(500'000);
    const auto path = dir / "f";
    const bool opened_before = GENERATE(false, true);
    const auto run = [&](const std::function<void()>& change) {
        reference_store store(real_file_system());
        store.add(imported(path, blob.data));
        auto reader = store.open(blob.root).value();
        std::vector<std::byte> out(1000);
        if (opened_before) REQUIRE(read(*reader, out, 450'000));
        change();
        std::error_code first;
        if (auto r = read(*reader, out, 450'000); !r) first = r.error();
        const auto again = read(*reader, out, 450'000);
        if (first) CHECK(again.error() == first);
        return first;
    };
    SECTION("cut short, also while it is open")
    {
        CHECK(run([&] { std::filesystem::resize_file(path, 100); }) == store_errc::file_changed);
    }
    SECTION("grown, replaced or removed: seen when it is opened")
    {
        const auto expected = [&](std::error_code ec) {
            // An open file stays what it is; wrong bytes fail verification by the sender.
            CHECK(ec == (opened_before ? std::error_code() : store_errc::file_changed));
        };
        expected(run([&] { std::filesystem::resize_file(path, 600'000); }));
        expected(run([&] {
            std::filesystem::rename(path, dir / "other");
            std::ofstream(path) << text(blob.data);
        }));
        expected(run([&] { std::filesystem::remove(path); }));
        expected(run([&] {
            std::filesystem::remove(path);
            std::filesystem::create_symlink("/dev/zero", path);
        }));
        std::filesystem::remove(path);
        expected(run([&] {
            std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now() +
                                                       std::chrono::seconds(10));
        }));
    }
}

TEST_CASE("reference_store: readers on several threads share the few files", "[store]")
{
    temporary_directory dir;
    reference_store store(real_file_system(), 2);
    std::vector<known_blob> blobs;
    for (std::size_t i = 0; i < 6; ++i) {
        blobs.push_back(random_blob(20'000, i));
        store.add(imported(dir / "f" += std::to_string(i), blobs.back().data));
    }
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < 3; ++t) {
        threads.emplace_back([&, t] {
            for (std::size_t i = 0; i < 200; ++i) {
                const auto& blob = blobs[(i * 7 + t) % blobs.size()];
                auto reader = store.open(blob.root);
                std::vector<std::byte> out(blob.data.size());
                wrong += !reader || !read(*reader.value(), out, 0) || out != blob.data;
            }
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(wrong == 0);
    CHECK(store.open_files() == 2);
}
