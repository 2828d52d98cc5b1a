#include <copse/core/clock.hpp>
#include <copse/store/bits_core.hpp>
#include <copse/store/folder_store.hpp>

#include "store/fixture.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

using namespace copse;
using namespace copse::store;
using namespace copse::test;

namespace {

std::shared_ptr<folder_store> open_store(const temporary_directory& dir,
                                         file_system& fs = real_file_system(),
                                         folder_options options = {})
{
    auto opened = folder_store::open(fs, (dir / "store").string(), options);
    REQUIRE(opened);
    return opened.value();
}

std::filesystem::path side(const temporary_directory& dir, const hash::digest& root,
                           const char* suffix)
{
    return dir / "store" / (hash::to_hex(root) + suffix);
}

std::vector<std::string> names(const temporary_directory& dir)
{
    std::vector<std::string> out;
    const auto list =
        real_file_system().list(dir / "store", [&](const std::string& n) -> result<void> {
            out.push_back(n);
            return outcome::success();
        });
    REQUIRE(list);
    return out;
}

void overwrite(const std::filesystem::path& path, std::uint64_t offset, std::string_view bytes)
{
    std::fstream f(path, std::ios::in | std::ios::out | std::ios::binary);
    REQUIRE(f);
    f.seekp(static_cast<std::streamoff>(offset));
    f.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// A writer with some extents delivered and checkpointed.
std::shared_ptr<blob_writer> start(folder_store& store, const known_blob& blob,
                                   std::uint64_t chunks)
{
    auto writer = store.open_partial(blob.root, blob.data.size());
    REQUIRE(writer);
    for (std::uint64_t at = 0; at < chunks; at += 256) {
        REQUIRE(deliver(*writer.value(), blob, at, std::min(at + 256, chunks)));
    }
    REQUIRE(writer.value()->checkpoint()());
    return writer.value();
}

}  // namespace

TEST_CASE("folder_store: blobs of every shape are received and read back", "[store]")
{
    temporary_directory dir;
    auto store = open_store(dir);
    const bool durable = GENERATE(false, true);
    for (const auto size : std::initializer_list<std::size_t>{1, 1023, 1024, 16'384, 16'385,
                                                              262'144, 262'145, 1'000'000, 1 << 20,
                                                              (1 << 20) + 1, 3'000'000, 3 << 20}) {
        INFO("size " << size);
        const auto blob = random_blob(size, size);
        CHECK_FALSE(store->status(blob.root).value().complete());
        {
            auto writer = store->open_partial(blob.root, size).value();
            CHECK(writer->present().empty());
            REQUIRE(deliver_all(*writer, blob));
            CHECK(writer->present() == blob.everything());
            REQUIRE(writer->finish(durable)());
            CHECK(writer->finish(durable)());  // again is harmless
        }
        CHECK(store->status(blob.root).value().complete());
        auto reader = store->open(blob.root).value();
        check_reader(*reader, blob);
        CHECK(reader->pair_granularity() == (size <= 262'144 ? 256 : 16));
        std::vector<std::byte> out(2);
        CHECK(read(*reader, out, size - 1).error() == store_errc::missing);
        CHECK(reader->read_pairs(blob.outboard.units(), out).error() == store_errc::missing);
        CHECK(std::filesystem::file_size(side(dir, blob.root, durable ? ".data" : ".new")) == size);
        CHECK_FALSE(std::filesystem::exists(side(dir, blob.root, ".bits")));
        CHECK(std::filesystem::exists(side(dir, blob.root, ".obao4")) == (size > 262'144));
        if (size > 262'144) {
            const auto pairs = read_file(side(dir, blob.root, ".obao4"));
            CHECK(std::ranges::equal(as_bytes(pairs), blob.outboard.pairs()));
        }
        // A writer of what is complete has nothing to do.
        auto writer = store->open_partial(blob.root, size).value();
        CHECK(writer->present() == blob.everything());
        CHECK(writer->finish(true)());
        CHECK(store->open_partial(blob.root, size + 1).error() == store_errc::size_changed);
    }
    // Another process (here: another object) finds them again.
    store.reset();
    store = open_store(dir);
    check_reader(*store->open(random_blob(3'000'000, 3'000'000).root).value(),
                 random_blob(3'000'000, 3'000'000));
}

TEST_CASE("folder_store: the empty blob and absent ones", "[store]")
{
    temporary_directory dir;
    auto store = open_store(dir);
    const known_blob empty({});
    CHECK(store->status(empty.root).value().complete());
    CHECK(store->open(empty.root).value()->size() == 0);
    CHECK(store->open_partial(empty.root, 0).value()->finish(true)());
    CHECK(store->open_partial(empty.root, 5).error() == store_errc::size_changed);
    REQUIRE(store->copy(empty.root, dir / "copy", false));
    REQUIRE(store->take(empty.root, dir / "taken", false));
    CHECK(store->take(empty.root, dir / "taken", false).error() == std::errc::file_exists);
    REQUIRE(store->take(empty.root, dir / "taken", true));
    CHECK(std::filesystem::file_size(dir / "taken") == 0);
    CHECK(std::filesystem::file_size(dir / "copy") == 0);

    const auto absent = random_blob(10);
    CHECK(store->status(absent.root).value().size == 0);
    CHECK(store->open(absent.root).error() == store_errc::missing);
    CHECK(store->take(absent.root, dir / "x", false).error() == store_errc::incomplete);
    CHECK(store->remove(absent.root).error() == store_errc::missing);
    CHECK(store->open_partial(absent.root, 0).error() == store_errc::size_changed);
    // A writer through which nothing came leaves nothing.
    store->open_partial(absent.root, 10).value().reset();
    CHECK(names(dir) == std::vector<std::string>{"lock"});
}

TEST_CASE("folder_store: a small blob costs a few calls and no side files", "[store]")
{
    temporary_directory dir;
    faulty_file_system fs;
    auto store = open_store(dir, fs);
    const auto blob = random_blob(200'000);
    fs.log.clear();
    {
        auto writer = store->open_partial(blob.root, blob.data.size()).value();
        REQUIRE(deliver_all(*writer, blob));
        CHECK_FALSE(writer->checkpoint_due());
        REQUIRE(writer->finish(true)());
    }
    CHECK(fs.count("open ") == 1);
    CHECK(fs.count("write ") == 1);
    CHECK(fs.count("sync ") == 2);  // data, directory
    CHECK(fs.count("rename ") == 1);
    CHECK(fs.log.size() <= 9);
    CHECK(names(dir) == std::vector<std::string>{hash::to_hex(blob.root) + ".data", "lock"});
}

TEST_CASE("folder_store: a second holder is told that the folder is busy", "[store]")
{
    temporary_directory dir;
    auto store = open_store(dir);
    const auto second = [&] {
        return folder_store::open(real_file_system(), (dir / "store").string());
    };
    CHECK(second().error() == store_errc::busy);
    // Readers keep the lock: their files must not be swept away under them.
    const auto blob = random_blob(10);
    auto writer = start(*store, blob, 1);
    store.reset();
    CHECK(second().error() == store_errc::busy);
    writer.reset();
    CHECK(second());
    CHECK(folder_store::open(real_file_system(), (dir / "no" / "parent").string()).error() ==
          std::errc::no_such_file_or_directory);
}

TEST_CASE("folder_store: one writer a blob", "[store]")
{
    temporary_directory dir;
    auto store = open_store(dir);
    const auto blob = random_blob(2'000'000);
    auto writer = start(*store, blob, 512);
    CHECK(store->open_partial(blob.root, blob.data.size()).error() == store_errc::busy);
    CHECK(store->open_partial(blob.root, 77).error() == store_errc::busy);
    CHECK(store->take(blob.root, dir / "x", false).error() == store_errc::busy);
    CHECK(store->remove(blob.root).error() == store_errc::busy);
    // A job that still runs keeps the blob as the writer did.
    auto job = writer->checkpoint();
    writer.reset();
    CHECK(store->open_partial(blob.root, blob.data.size()).error() == store_errc::busy);
    job = nullptr;
    CHECK(store->open_partial(blob.root, blob.data.size()));
    CHECK(store->take(blob.root, dir / "x", false).error() == store_errc::incomplete);
}

TEST_CASE("folder_store: a partial blob is served while it grows", "[store]")
{
    temporary_directory dir;
    auto store = open_store(dir);
    const auto size = GENERATE(std::size_t{100'000}, std::size_t{3'000'001});
    const auto blob = random_blob(size);
    auto writer = start(*store, blob, 32);
    auto reader = store->open(blob.root).value();
    CHECK(reader->present() == bao::chunk_ranges::range(0, 32));
    CHECK(reader->pair_granularity() == 16);
    check_reader(*reader, blob);
    std::vector<std::byte> out(1025);
    CHECK(read(*reader, out, 31 * 1024).error() == store_errc::missing);
    REQUIRE(deliver(*writer, blob, 32, 64));
    CHECK(reader->present() == bao::chunk_ranges::range(0, 32));
    REQUIRE(writer->checkpoint()());
    CHECK(reader->present() == bao::chunk_ranges::range(0, 64));
    check_reader(*reader, blob);
    REQUIRE(deliver_all(*writer, blob));
    REQUIRE(writer->finish(false)());
    CHECK(reader->present() == blob.everything());
    check_reader(*reader, blob);
    // It stays readable when the blob leaves the store.
    REQUIRE(store->take(blob.root, dir / "out", false));
    check_reader(*reader, blob);
    CHECK(store->open(blob.root).error() == store_errc::missing);
    CHECK(names(dir) == std::vector<std::string>{"lock"});
}

TEST_CASE("folder_store: what a checkpoint recorded is there after a restart", "[store]")
{
    temporary_directory dir;
    const auto blob = random_blob(5'000'000);
    {
        auto store = open_store(dir);
        auto writer = start(*store, blob, 1024);
        REQUIRE(deliver(*writer, blob, 1024, 2048));  // committed, but not checkpointed
    }
    auto store = open_store(dir);
    const auto status = store->status(blob.root).value();
    CHECK(status.size == blob.data.size());
    CHECK_FALSE(status.size_proven);
    CHECK(status.present == bao::chunk_ranges::range(0, 1024));
    check_reader(*store->open(blob.root).value(), blob);
    auto writer = store->open_partial(blob.root, blob.data.size()).value();
    CHECK(writer->present() == bao::chunk_ranges::range(0, 1024));
    for (std::uint64_t at = 1024; at < blob.chunks(); at += 256) {
        REQUIRE(deliver(*writer, blob, at, at + 256));
    }
    REQUIRE(writer->finish(true)());
    check_reader(*store->open(blob.root).value(), blob);
    CHECK(read_file(side(dir, blob.root, ".data")) == text(blob.data));
}

TEST_CASE("folder_store: a killed process loses at most what was not checkpointed", "[store]")
{
    // A real kill -9, at a point that the parent chooses by what it reads from the child.
    temporary_directory dir;
    const auto blob = random_blob(4'000'000);
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        auto opened = folder_store::open(real_file_system(), (dir / "store").string());
        auto writer = opened.value()->open_partial(blob.root, blob.data.size()).value();
        for (std::uint64_t at = 0;; at = (at + 256) % 3840) {
            if (!deliver(*writer, blob, at, at + 256) || !writer->checkpoint()()) ::_exit(1);
            const auto done = static_cast<unsigned char>(at / 256);
            if (::write(ready[1], &done, 1) != 1) ::_exit(1);
        }
    }
    unsigned char done = 0;
    while (done < 9) REQUIRE(::read(ready[0], &done, 1) == 1);
    REQUIRE(::kill(child, SIGKILL) == 0);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));
    ::close(ready[0]);
    ::close(ready[1]);

    auto store = open_store(dir);
    auto writer = store->open_partial(blob.root, blob.data.size()).value();
    CHECK(writer->present().covers(0, 10 * 256));
    check_reader(*store->open(blob.root).value(), blob);
}

TEST_CASE("folder_store: a crash at any call keeps earlier checkpoints", "[store]")
{
    const bool tear = GENERATE(false, true);
    const bool reboot = GENERATE(false, true);
    const auto blob = random_blob(1'100'001);
    folder_options options;
    options.direct = reboot;
    bool crashed = true;
    int survived = 0;
    for (long calls = 0; crashed; ++calls) {
        REQUIRE(calls < 200);
        INFO("crash after " << calls << " calls, torn " << tear << ", reboot " << reboot);
        temporary_directory dir;
        bao::chunk_ranges promised;
        bool finished = false;
        {
            faulty_file_system fs;
            auto store = open_store(dir, fs, options);
            fs.calls_left = calls;
            fs.tear = tear;
            if (auto writer = store->open_partial(blob.root, blob.data.size())) {
                bool alive = true;
                for (std::uint64_t at = 0; alive && at < blob.chunks(); at += 256) {
                    alive = bool(deliver(*writer.value(), blob, at, at + 256));
                    if (!alive || at % 512 != 0) continue;
                    const auto recorded = writer.value()->checkpoint()();
                    if (recorded) promised = writer.value()->present();
                    else CHECK(writer.value()->finish(false)().error() == fs.failure);
                    alive = bool(recorded);
                }
                finished = alive && writer.value()->finish(true)();
                CHECK((!alive || finished || fs.crashed()));
            }
            crashed = fs.crashed();
        }
        faulty_file_system fs;
        if (reboot) fs.boot = "boot-2";
        auto store = open_store(dir, fs, options);
        const auto status = store->status(blob.root).value();
        CHECK((promised - status.present).empty());
        if (finished) CHECK(status.complete());
        if (!status.present.empty()) {
            ++survived;
            check_reader(*store->open(blob.root).value(), blob);
        }
        auto writer = store->open_partial(blob.root, blob.data.size()).value();
        CHECK((promised - writer->present()).empty());
        REQUIRE(deliver_all(*writer, blob));
        REQUIRE(writer->finish(false)());
        writer.reset();
        REQUIRE(store->take(blob.root, dir / "out", false));
        CHECK(read_file(dir / "out") == text(blob.data));
        CHECK(names(dir) == std::vector<std::string>{"lock"});
    }
    CHECK(survived > 5);
}

TEST_CASE("folder_store: after a restart of the machine only verified data counts", "[store]")
{
    temporary_directory dir;
    const auto blob = random_blob(3'000'000);
    faulty_file_system fs;
    start(*open_store(dir, fs), blob, 2048);
    const auto recorded = bao::chunk_ranges::range(0, 2048);

    SECTION("everything was written in time")
    {
        fs.boot = "boot-2";
        auto store = open_store(dir, fs);
        CHECK(store->status(blob.root).value().present == recorded);
        check_reader(*store->open(blob.root).value(), blob);
        // The result was recorded under the new boot id: it is not verified again.
        store.reset();
        store = open_store(dir, fs);
        fs.log.clear();
        CHECK(store->status(blob.root).value().present == recorded);
        CHECK(fs.count("read ", ".part") == 0);
    }
    SECTION("the same boot believes what is on disk: a lost page shows later")
    {
        overwrite(side(dir, blob.root, ".part"), 100'000, "lost");
        CHECK(open_store(dir, fs)->status(blob.root).value().present == recorded);
    }
    SECTION("a lost page of data loses its group")
    {
        overwrite(side(dir, blob.root, ".part"), 100'000, "lost");
        fs.boot = "boot-2";
        auto expected = recorded;
        expected.erase(96, 112);
        auto store = open_store(dir, fs);
        CHECK(store->open_partial(blob.root, blob.data.size()).value()->present() == expected);
        check_reader(*store->open(blob.root).value(), blob);
    }
    SECTION("a lost pair loses what is below it")
    {
        const std::uint64_t pair = bao::pre_order_index(blob.chunks(), {512, 512});
        overwrite(side(dir, blob.root, ".obao4"), 64 * pair, std::string(64, '\0'));
        fs.boot = "boot-2";
        auto expected = recorded;
        expected.erase(512, 1024);
        CHECK(open_store(dir, fs)->status(blob.root).value().present == expected);
    }
    SECTION("without the root's pair, or any pairs, nothing is left")
    {
        fs.boot = "boot-2";
        if (GENERATE(false, true)) std::filesystem::remove(side(dir, blob.root, ".obao4"));
        else overwrite(side(dir, blob.root, ".obao4"), 0, std::string(64, '\0'));
        auto store = open_store(dir, fs);
        CHECK(store->status(blob.root).value().present.empty());
        CHECK(store->open(blob.root).error() == store_errc::missing);
        auto writer = store->open_partial(blob.root, blob.data.size()).value();
        CHECK(writer->present().empty());
        REQUIRE(deliver_all(*writer, blob));
        REQUIRE(writer->finish(true)());
        check_reader(*store->open(blob.root).value(), blob);
    }
    SECTION("the record is lost: the claimed size and the data are enough")
    {
        std::filesystem::remove(side(dir, blob.root, ".bits"));
        auto store = open_store(dir, fs);
        CHECK(store->status(blob.root).value().size == 0);  // nobody knows the size
        CHECK(store->open_partial(blob.root, blob.data.size()).value()->present() == recorded);
        CHECK(store->status(blob.root).value().present == recorded);
    }
    SECTION("the data is lost")
    {
        std::filesystem::remove(side(dir, blob.root, ".part"));
        auto store = open_store(dir, fs);
        CHECK(store->status(blob.root).value().present.empty());
        CHECK(store->open_partial(blob.root, blob.data.size()).value()->present().empty());
    }
    SECTION("the data is cut, also without a restart")
    {
        std::filesystem::resize_file(side(dir, blob.root, ".part"), 500'000);
        auto store = open_store(dir, fs);
        CHECK(store->status(blob.root).value().present == bao::chunk_ranges::range(0, 480));
    }
    SECTION("an unknown boot id is never the same")
    {
        fs.boot = "";
        overwrite(side(dir, blob.root, ".part"), 0, "lost");
        for (int i = 0; i < 2; ++i) {
            CHECK(open_store(dir, fs)->status(blob.root).value().present ==
                  bao::chunk_ranges::range(16, 2048));
            overwrite(side(dir, blob.root, ".part"), 0, "LOST");
        }
    }
}

TEST_CASE("folder_store: any damage to the record is noticed", "[store]")
{
    temporary_directory dir;
    const auto blob = random_blob(600'000);
    {
        auto store = open_store(dir);
        auto writer = start(*store, blob, 128);  // record 1
        REQUIRE(deliver(*writer, blob, 128, 256));
        REQUIRE(writer->checkpoint()());  // record 2, in the other slot
    }
    const auto bits = side(dir, blob.root, ".bits");
    const auto good = read_file(bits);
    const std::size_t length = good.size() - bits_core::slot_size;  // of record 1
    REQUIRE(length > 100);
    for (std::size_t i = 0; i < length; i += 7) {
        INFO("byte " << i);
        overwrite(bits, 0, good.substr(0, length));
        overwrite(bits, i, std::string(1, static_cast<char>(good[i] ^ 0x41)));
        // The older record is believed: less than there is, never more.
        auto store = open_store(dir);
        REQUIRE(store->status(blob.root).value().present == bao::chunk_ranges::range(0, 128));
    }
    // Both damaged: presence is found by verification.
    overwrite(bits, bits_core::slot_size + 20, "damage");
    auto store = open_store(dir);
    CHECK(store->open_partial(blob.root, blob.data.size()).value()->present() ==
          bao::chunk_ranges::range(0, 256));
}

TEST_CASE("folder_store: a wrong size is found out", "[store]")
{
    temporary_directory dir;
    auto store = open_store(dir);
    const auto blob = random_blob(1'000'000);  // 977 chunks

    // The first provider claims one chunk too much; its left half still verifies.
    auto writer = store->open_partial(blob.root, 1'000'448).value();
    const auto chunks = bao::chunk_ranges::range(0, 256);
    const aligned_copy bytes(byte_view(blob.data).first(256 * 1024));
    REQUIRE(writer->write(bytes.view(), 0));
    writer->commit(chunks, pairs_for(blob, chunks));
    REQUIRE(writer->checkpoint()());
    writer.reset();
    CHECK(store->status(blob.root).value().size == 1'000'448);

    // The next one is right: what fits is kept.
    writer = store->open_partial(blob.root, blob.data.size()).value();
    CHECK(writer->present() == chunks);
    REQUIRE(deliver(*writer, blob, 976, 977));
    REQUIRE(writer->checkpoint()());
    writer.reset();
    CHECK(store->status(blob.root).value().size_proven);
    CHECK(store->open_partial(blob.root, 1'000'448).error() == store_errc::size_changed);
    store.reset();
    store = open_store(dir);
    CHECK(store->open_partial(blob.root, 1'000'448).error() == store_errc::size_changed);
    CHECK(store->status(blob.root).value().size_proven);

    // A size of another height shares nothing, and no claim takes space or time.
    const auto other = random_blob(300'000, 2);
    start(*store, other, 256).reset();
    CHECK(store->open_partial(other.root, std::uint64_t{1} << 62).value()->present().empty());
    CHECK(store->open_partial(other.root, ~std::uint64_t{0}).value()->present().empty());
    CHECK(store->open_partial(other.root, other.data.size()).value()->present() ==
          bao::chunk_ranges::range(0, 256));
    REQUIRE(store->remove(other.root));
    CHECK(store->status(other.root).value().size == 0);
}

TEST_CASE("folder_store: the proof of the size alone is remembered", "[store]")
{
    temporary_directory dir;
    auto store = open_store(dir);
    const auto blob = random_blob(1'000'000 - 20'000);  // its last group has 14 chunks
    auto writer = store->open_partial(blob.root, blob.data.size()).value();
    const std::uint64_t last = blob.chunks() - 1;
    REQUIRE(deliver(*writer, blob, last, last + 1));
    CHECK(writer->present().empty());
    REQUIRE(writer->checkpoint()());
    writer.reset();
    store.reset();
    store = open_store(dir);
    CHECK(store->status(blob.root).value().size_proven);
    CHECK(store->open_partial(blob.root, 5'000'000).error() == store_errc::size_changed);
}

TEST_CASE("folder_store: pieces that do not suit direct writes leave their neighbours alone",
          "[store]")
{
    temporary_directory dir;
    auto store = open_store(dir);
    const auto blob = random_blob(2'000'003);
    auto writer = start(*store, blob, 1024);
    // Single chunks over what is there, and at the end, from buffers whose room holds rubbish.
    for (const auto chunk : std::initializer_list<std::uint64_t>{0, 1, 5, 1023, 1953}) {
        REQUIRE(deliver(*writer, blob, chunk, chunk + 1));
    }
    REQUIRE(deliver(*writer, blob, 1017, 1031));
    for (std::uint64_t at = 1024; at < blob.chunks(); at += 256) {
        REQUIRE(deliver(*writer, blob, at, at + 256));
    }
    REQUIRE(writer->finish(true)());
    CHECK(read_file(side(dir, blob.root, ".data")) == text(blob.data));
    writer = store->open_partial(random_blob(5000).root, 5000).value();
    const std::vector<std::byte> data(1000);
    CHECK(writer->write(data, 4001).error() == std::errc::invalid_argument);
    CHECK(writer->write(data, ~std::uint64_t{0}).error() == std::errc::invalid_argument);
}

TEST_CASE("folder_store: taking, copying and removing", "[store]")
{
    temporary_directory dir;
    auto store = open_store(dir);
    const bool durable = GENERATE(false, true);
    const auto size = GENERATE(std::size_t{1000}, std::size_t{2'500'000});
    const auto blob = random_blob(size);
    auto writer = store->open_partial(blob.root, size).value();
    REQUIRE(deliver_all(*writer, blob));
    REQUIRE(writer->finish(durable)());

    REQUIRE(store->copy(blob.root, dir / "copy", false));
    CHECK(read_file(dir / "copy") == text(blob.data));
    CHECK(store->copy(blob.root, dir / "copy", false).error() == std::errc::file_exists);
    CHECK(store->copy(blob.root, dir / "copy", true));
    CHECK(store->copy(blob.root, dir / "no" / "copy", true).error() ==
          std::errc::no_such_file_or_directory);

    CHECK(store->take(blob.root, dir / "copy", false).error() == std::errc::file_exists);
    CHECK(store->take(blob.root, dir / "no" / "place", false).error() ==
          std::errc::no_such_file_or_directory);
    CHECK(store->status(blob.root).value().complete());
    REQUIRE(store->take(blob.root, dir / "taken", false));
    CHECK(read_file(dir / "taken") == text(blob.data));
    CHECK_FALSE(store->status(blob.root).value().complete());
    CHECK(names(dir) == std::vector<std::string>{"lock"});
    CHECK(store->take(blob.root, dir / "taken2", false).error() == store_errc::incomplete);

    // The writer that made it does not bring it back; a new one starts from nothing.
    CHECK(writer->finish(true)());
    writer = store->open_partial(blob.root, size).value();
    CHECK(writer->present().empty());
    REQUIRE(deliver(*writer, blob, 0, 1));
    writer.reset();
    CHECK_FALSE(store->remove_if_empty().value());
    REQUIRE(store->remove(blob.root));
    CHECK(store->remove_if_empty().value());
    CHECK_FALSE(std::filesystem::exists(dir / "store"));
}

TEST_CASE("folder_store: unsynced complete blobs are verified after a restart", "[store]")
{
    temporary_directory dir;
    faulty_file_system fs;
    const auto small = random_blob(1000, 1);
    const auto large = random_blob(1'000'000, 2);
    const auto lost_small = random_blob(2000, 3);
    const auto lost_large = random_blob(2'000'000, 4);
    const auto durable = random_blob(3000, 5);
    {
        auto store = open_store(dir, fs);
        for (const auto* blob : {&small, &large, &lost_small, &lost_large, &durable}) {
            auto writer = store->open_partial(blob->root, blob->data.size()).value();
            REQUIRE(deliver_all(*writer, *blob));
            fs.log.clear();
            REQUIRE(writer->finish(blob == &durable)());
            CHECK((fs.count("sync ") > 0) == (blob == &durable));
        }
    }
    CHECK(open_store(dir, fs)->status(small.root).value().complete());
    overwrite(side(dir, lost_small.root, ".new"), 500, "lost");
    overwrite(side(dir, lost_large.root, ".new"), 500'000, "lost");
    overwrite(side(dir, durable.root, ".data"), 500, "rot");  // durable ones are not read again
    std::ofstream(dir / "store" / "stray.new") << "not a blob";
    fs.boot = "boot-2";
    for (int i = 0; i < 2; ++i) {
        auto store = open_store(dir, fs);
        for (const auto* blob : {&small, &large}) {
            CHECK(store->status(blob->root).value().complete());
            check_reader(*store->open(blob->root).value(), *blob);
            CHECK(std::filesystem::exists(side(dir, blob->root, ".data")));
        }
        CHECK(store->status(durable.root).value().complete());
        CHECK_FALSE(store->status(lost_small.root).value().complete());
        CHECK_FALSE(store->status(lost_large.root).value().complete());
        const auto rest = store->open_partial(lost_large.root, 2'000'000).value()->present();
        CHECK(lost_large.everything() - rest == bao::chunk_ranges::range(480, 496));
    }
}

TEST_CASE("folder_store: errors of the disk come out unchanged", "[store]")
{
    temporary_directory dir;
    faulty_file_system fs;
    fs.failure = std::make_error_code(std::errc::no_space_on_device);
    auto store = open_store(dir, fs);
    const auto blob = random_blob(1'000'000);
    auto writer = store->open_partial(blob.root, blob.data.size()).value();
    REQUIRE(deliver(*writer, blob, 0, 256));
    for (const char* suffix : {".obao4", ".bits"}) {
        fs.fail_suffix = suffix;
        fs.calls_left = 0;
        CHECK(writer->checkpoint()().error() == std::errc::no_space_on_device);
        // The pairs of that checkpoint are gone: later ones must not claim them.
        fs.calls_left = -1;
        REQUIRE(deliver(*writer, blob, 256, 512));
        CHECK(writer->checkpoint()().error() == std::errc::no_space_on_device);
        writer.reset();
        CHECK(store->status(blob.root).value().present.empty());
        writer = store->open_partial(blob.root, blob.data.size()).value();
        REQUIRE(deliver(*writer, blob, 0, 256));
    }
    fs.fail_suffix = ".part";
    fs.calls_left = 0;
    CHECK(deliver(*writer, blob, 256, 512).error() == std::errc::no_space_on_device);
    fs.calls_left = -1;
    REQUIRE(writer->checkpoint()());
    writer.reset();
    CHECK(store->open_partial(blob.root, blob.data.size()).value()->present() ==
          bao::chunk_ranges::range(0, 256));
    fs.fail_suffix = ".part";
    fs.calls_left = 0;
    CHECK(store->open_partial(blob.root, blob.data.size()).error() ==
          std::errc::no_space_on_device);
}

TEST_CASE("folder_store: a folder without permission", "[store]")
{
    if (::geteuid() == 0) COPSE_SKIP("root may write everywhere");
    temporary_directory dir;
    std::filesystem::create_directory(dir / "store");
    std::filesystem::permissions(dir / "store", std::filesystem::perms::owner_read);
    CHECK(folder_store::open(real_file_system(), (dir / "store").string()).error() ==
          std::errc::permission_denied);
    std::filesystem::permissions(dir / "store", std::filesystem::perms::owner_all);
}

TEST_CASE("folder_store: contradictions in the folder are errors", "[store]")
{
    temporary_directory dir;
    auto store = open_store(dir);
    const auto blob = random_blob(1'000'000);
    {
        auto writer = store->open_partial(blob.root, blob.data.size()).value();
        REQUIRE(deliver_all(*writer, blob));
        REQUIRE(writer->finish(false)());
    }
    std::filesystem::resize_file(side(dir, blob.root, ".obao4"), 64);
    CHECK(store->open(blob.root).error() == store_errc::corrupt_state);
    std::filesystem::remove(side(dir, blob.root, ".obao4"));
    CHECK(store->open(blob.root).error() == store_errc::corrupt_state);
    std::filesystem::remove(side(dir, blob.root, ".new"));
    std::filesystem::create_directory(side(dir, blob.root, ".data"));
    CHECK(store->status(blob.root).error() == store_errc::corrupt_state);
    std::filesystem::remove(side(dir, blob.root, ".data"));
    std::filesystem::create_symlink("/dev/null", side(dir, blob.root, ".part"));
    CHECK(store->open_partial(blob.root, 10).error() == std::errc::too_many_symbolic_link_levels);
}

TEST_CASE("folder_store: what is in the place of its own files is an error", "[store]")
{
    temporary_directory dir;
    std::filesystem::create_directories(dir / "store" / "lock");
    CHECK(folder_store::open(real_file_system(), (dir / "store").string()).error() ==
          std::errc::is_a_directory);
    std::filesystem::remove(dir / "store" / "lock");
    auto store = open_store(dir);
    CHECK(store->path() == (dir / "store").string());
    const auto blob = random_blob(1'000'000);
    start(*store, blob, 256);
    store.reset();
    std::filesystem::remove(side(dir, blob.root, ".bits"));
    std::filesystem::create_symlink("/dev/null", side(dir, blob.root, ".bits"));
    store = open_store(dir);
    CHECK(store->status(blob.root).error() == std::errc::too_many_symbolic_link_levels);
    CHECK(store->open(blob.root).error() == std::errc::too_many_symbolic_link_levels);
}

TEST_CASE("folder_store: a proven size stands while somebody reads", "[store]")
{
    temporary_directory dir;
    auto store = open_store(dir);
    const auto blob = random_blob(1'000'000);
    auto writer = store->open_partial(blob.root, blob.data.size()).value();
    REQUIRE(deliver(*writer, blob, 0, 256));
    REQUIRE(writer->checkpoint()());
    auto reader = store->open(blob.root).value();
    writer.reset();
    // Not proven: another claim is as good, and the reader keeps what it has.
    writer = store->open_partial(blob.root, 2'000'000).value();
    CHECK(writer->present() == bao::chunk_ranges::none());
    writer = nullptr;
    CHECK(reader->size() == blob.data.size());
    reader.reset();

    writer = store->open_partial(blob.root, blob.data.size()).value();
    REQUIRE(deliver_all(*writer, blob));
    REQUIRE(writer->checkpoint()());
    reader = store->open(blob.root).value();
    writer.reset();
    CHECK(store->open_partial(blob.root, 2'000'000).error() == store_errc::size_changed);
    reader.reset();
    CHECK(store->open_partial(blob.root, 2'000'000).error() == store_errc::size_changed);
}

TEST_CASE("folder_store: a blob whose last checkpoint held all of it only needs its end", "[store]")
{
    temporary_directory dir;
    const auto blob = random_blob(1'000'000);
    for (const bool durable : {false, true}) {
        auto store = open_store(dir);
        start(*store, blob, blob.chunks());
        auto writer = store->open_partial(blob.root, blob.data.size()).value();
        CHECK(writer->present() == blob.everything());
        REQUIRE(writer->finish(durable)());
        REQUIRE(writer->finish(durable)());  // once more is nothing
        writer.reset();
        CHECK(store->status(blob.root).value().complete());
        check_reader(*store->open(blob.root).value(), blob);
        REQUIRE(store->remove(blob.root));
        CHECK(names(dir) == std::vector<std::string>{"lock"});
    }
}

TEST_CASE("folder_store: pairs that are cut off while they are read are missing", "[store]")
{
    temporary_directory dir;
    auto store = open_store(dir);
    const auto blob = random_blob(5'000'000);
    {
        auto writer = store->open_partial(blob.root, blob.data.size()).value();
        REQUIRE(deliver_all(*writer, blob));
        REQUIRE(writer->finish(false)());
    }
    const auto reader = store->open(blob.root).value();
    const auto pairs = side(dir, blob.root, ".obao4");
    const auto whole = read_file(pairs);
    std::filesystem::resize_file(pairs, 100 * bao::pair_size);
    std::vector<std::byte> one(bao::pair_size);
    CHECK(reader->read_pairs(70, one).error() == store_errc::missing);
    CHECK(reader->read_pairs(10, one));
    CHECK(reader->read_pairs(1'000'000, one).error() == store_errc::missing);
    overwrite(pairs, 0, whole);
    CHECK(reader->read_pairs(70, one));  // the failed look left nothing behind
    CHECK(text(one) == whole.substr(70 * bao::pair_size, bao::pair_size));
    CHECK(reader->read_pairs(5, {}));
}

TEST_CASE("folder_store: a folder that is not empty after all stays", "[store]")
{
    temporary_directory dir;
    faulty_file_system fs;
    auto store = open_store(dir, fs);
    fs.remove_directory_failure = std::make_error_code(std::errc::directory_not_empty);
    CHECK(store->remove_if_empty().value() == false);  // somebody came after the look
    store = nullptr;
    store = open_store(dir, fs);
    fs.remove_directory_failure = std::make_error_code(std::errc::permission_denied);
    CHECK(store->remove_if_empty().error() == std::errc::permission_denied);
}

TEST_CASE("folder_store: checkpoints come due by bytes and by time", "[store]")
{
    struct manual_clock final : clock_source {
        time_point now{};
        time_point monotonic() noexcept override { return now; }
        std::chrono::nanoseconds wall() noexcept override { return {}; }
        std::chrono::nanoseconds real_wait(std::chrono::nanoseconds) noexcept override
        {
            return {};
        }
    } clock;
    auto* const before = install_clock(&clock);
    {
        temporary_directory dir;
        auto store = open_store(dir);
        const auto blob = random_blob(12 << 20);
        auto writer = store->open_partial(blob.root, blob.data.size()).value();
        clock.now += std::chrono::seconds(5);
        CHECK_FALSE(writer->checkpoint_due());  // nothing to record
        REQUIRE(writer->checkpoint()());
        REQUIRE(deliver(*writer, blob, 0, 16));
        CHECK_FALSE(writer->checkpoint_due());
        clock.now += std::chrono::milliseconds(999);
        CHECK_FALSE(writer->checkpoint_due());
        clock.now += std::chrono::milliseconds(1);
        CHECK(writer->checkpoint_due());
        REQUIRE(writer->checkpoint()());
        CHECK_FALSE(writer->checkpoint_due());
        REQUIRE(deliver(*writer, blob, 16, 4095));
        CHECK_FALSE(writer->checkpoint_due());
        REQUIRE(deliver(*writer, blob, 4080, 4112));
        CHECK(writer->checkpoint_due());
        static_cast<void>(writer->finish(false));  // a job that is dropped does nothing
        CHECK_FALSE(store->status(blob.root).value().complete());
    }
    install_clock(before);
}

TEST_CASE("folder_store: extents are written while others are checkpointed", "[store]")
{
    temporary_directory dir;
    auto store = open_store(dir);
    const auto blob = random_blob(8 << 20);
    auto writer = store->open_partial(blob.root, blob.data.size()).value();
    std::atomic<bool> failed{false};
    std::vector<std::thread> threads;
    for (std::uint64_t half = 0; half < 2; ++half) {
        threads.emplace_back([&, half] {
            for (std::uint64_t at = half * 4096; at < (half + 1) * 4096; at += 256) {
                const aligned_copy bytes(byte_view(blob.data).subspan(at * 1024, 256 * 1024));
                if (!writer->write(bytes.view(), at * 1024)) failed = true;
            }
        });
    }
    std::thread observer([&] {
        for (int i = 0; i < 50; ++i) {
            if (!store->status(blob.root)) failed = true;
            auto reader = store->open(blob.root);
            if (!reader) continue;
            const auto present = reader.value()->present();
            std::vector<std::byte> out(1024);
            if (!present.empty() && !read(*reader.value(), out, present.interval(0).first * 1024)) {
                failed = true;
            }
        }
    });
    for (auto& t : threads) t.join();
    for (std::uint64_t at = 0; at < blob.chunks(); at += 1024) {
        const auto chunks = bao::chunk_ranges::range(at, at + 1024);
        writer->commit(chunks, pairs_for(blob, chunks));
        if (!writer->checkpoint()()) failed = true;
    }
    if (!writer->finish(false)()) failed = true;
    observer.join();
    CHECK_FALSE(failed);
    check_reader(*store->open(blob.root).value(), blob);
}

TEST_CASE("folder_store: ten thousand small blobs", "[store]")
{
    temporary_directory dir;
    auto store = open_store(dir);
    std::vector<hash::digest> roots;
    for (std::size_t i = 0; i < 10'000; ++i) {
        const known_blob blob(bytes("small blob " + std::to_string(i)));
        auto writer = store->open_partial(blob.root, blob.data.size()).value();
        if (!deliver_all(*writer, blob) || !writer->finish(false)()) FAIL("blob " << i);
        roots.push_back(blob.root);
    }
    CHECK(names(dir).size() == 10'001);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < roots.size(); ++i) {
        const std::string expected = "small blob " + std::to_string(i);
        auto reader = store->open(roots[i]).value();
        std::vector<std::byte> out(expected.size());
        wrong += !read(*reader, out, 0) || text(out) != expected;
        reader.reset();
        wrong += !store->take(roots[i], dir / std::to_string(i), false);
    }
    CHECK(wrong == 0);
    CHECK(store->remove_if_empty().value());
}
