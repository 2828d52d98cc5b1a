// Random walks of a folder store on a disk that fails: programs are killed, power is lost, and reads,
// writes and syncs fail in between. What a store shows is right all the time, and what it promised stays.
#include "tests/catch.hpp"
#include "tests/store/fixture.hpp"

#include <copse/sim/disk.hpp>
#include <copse/sim/rng.hpp>
#include <copse/sim/world.hpp>
#include <copse/store/folder_store.hpp>

#include <memory>
#include <utility>

using namespace copse;
using namespace copse::store;

namespace {

class walk {
public:
    walk(std::uint64_t seed, const test::known_blob& blob)
        : world_(seed),
          machine_(world_.add_machine("m")),
          disk_(world_, machine_),
          dice_(world_.fork("walk")),
          blob_(blob),
          fs_(disk_.mount())
    {}

    void step()
    {
        if (!store_) {
            open();
            return;
        }
        switch (dice_.below(16)) {
        case 0: end_life(true); break;
        case 1: end_life(false); break;
        case 2: close(); break;
        case 3: draw_faults(); break;
        case 4: disk_.options = {}; break;
        case 5: writer_.reset(); break;
        case 6: checkpoint(); break;
        case 7:
        case 8: finish(); break;
        case 9: check(); break;
        case 10: ask(); break;
        case 11: remove(); break;
        default: deliver(); break;
        }
    }
    /// With a disk that does not fail for once.
    void check()
    {
        const sim::disk_options faults = std::exchange(disk_.options, {});
        if (!store_) open();
        REQUIRE(store_);
        const auto status = store_->status(blob_.root).value();
        if (!status.present.empty()) test::check_reader(*store_->open(blob_.root).value(), blob_);
        if (status.size_proven) CHECK(status.size == blob_.data.size());
        if (promised_) CHECK(status.complete());
        if (reader_) test::check_reader(*reader_, blob_);
        disk_.options = faults;
    }

    int completed = 0;  ///< times that it became durable

private:
    void open()
    {
        auto opened = folder_store::open(*fs_, "/blobs");
        if (opened) store_ = std::move(opened).value();
    }
    void close()
    {
        writer_.reset();
        reader_.reset();
        store_.reset();
    }
    void end_life(bool power)
    {
        machine_.crash();
        if (power) disk_.crash();
        close();
        fs_ = disk_.mount();
    }
    void draw_faults()
    {
        const auto chance = [this] { return static_cast<unsigned>(dice_.below(300)); };
        disk_.options.read_error = chance();
        disk_.options.short_read = chance();
        disk_.options.write_error = chance();
        disk_.options.short_write = chance();
        disk_.options.sync_error = 3 * chance();
        disk_.options.capacity = std::uint64_t{1} << 40;
        if (dice_.below(3) == 0) disk_.options.capacity = disk_.used_bytes() + dice_.below(100'000);
    }
    bool write()
    {
        if (writer_) return true;
        auto opened = store_->open_partial(blob_.root, blob_.data.size());
        if (opened) writer_ = std::move(opened).value();
        return writer_ != nullptr;
    }
    void deliver()
    {
        if (!write()) return;
        const auto extents = blob_.chunks() / 64 + 1;
        const auto first = dice_.below(extents) * 64;
        if (first >= blob_.chunks()) return;
        const auto end = dice_.below(3) == 0 ? blob_.chunks() : first + 64;
        if (!test::deliver(*writer_, blob_, first, end)) writer_.reset();
    }
    void checkpoint()
    {
        if (writer_ && !writer_->checkpoint()()) writer_.reset();
    }
    void finish()
    {
        if (!write()) return;
        if (dice_.below(2) == 0 && !test::deliver_all(*writer_, blob_)) return;
        if (dice_.below(2) == 0) checkpoint();
        if (!writer_) return;
        const bool durable = dice_.below(2) == 0;
        const bool there = whole();  // then it stays what it is
        if (writer_->finish(durable)() && durable && !there) {
            promised_ = true;
            ++completed;
        }
        writer_.reset();
    }
    bool whole()
    {
        for (const char* const name : {".data", ".new"}) {
            if (fs_->status("/blobs/" + hash::to_hex(blob_.root) + name)) return true;
        }
        return false;
    }
    void ask()
    {
        const auto status = store_->status(blob_.root);
        if (!status || status.value().present.empty()) return;
        auto opened = store_->open(blob_.root);
        if (!opened) return;
        reader_ = std::move(opened).value();
    }
    void remove()
    {
        if (dice_.below(4) != 0) return;
        writer_.reset();
        promised_ = false;
        static_cast<void>(store_->remove(blob_.root));  // the disk may fail
    }

    sim::world world_;
    sim::machine& machine_;
    sim::disk disk_;
    sim::rng dice_;
    const test::known_blob& blob_;
    std::unique_ptr<file_system> fs_;
    std::shared_ptr<folder_store> store_;
    std::shared_ptr<blob_writer> writer_;
    std::shared_ptr<blob_reader> reader_;
    bool promised_ = false;  ///< it is durable, and nobody removed it
};

}  // namespace

constexpr int walks = 40;

TEST_CASE("folder_store: random walks on a failing disk show nothing wrong", "[store]")
{
    int completed = 0;
    for (const std::size_t size : {3'000U, 40'000U, 300'000U}) {
        const auto blob = test::random_blob(size);
        for (int seed = 1; seed <= walks; ++seed) {
            INFO("size " << size << ", seed " << seed);
            walk one(static_cast<std::uint64_t>(seed), blob);
            for (int i = 0; i < 80; ++i) one.step();
            one.check();
            completed += one.completed;
        }
    }
    CHECK(completed > walks);
}
