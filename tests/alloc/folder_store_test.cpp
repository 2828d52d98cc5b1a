#include "stores.hpp"

#include <copse/sim/disk.hpp>
#include <copse/sim/world.hpp>
#include <copse/store/folder_store.hpp>

using namespace copse;
using namespace copse::store;
using namespace copse::test;

namespace {

/// The system below a store: what it allocates does not fail.
class system_below final : public file_system {
public:
    explicit system_below(std::unique_ptr<file_system> real) : real_(std::move(real)) {}

    result<std::unique_ptr<file>> open(const std::string& path, open_options options) override
    {
        const unmarked below;
        COPSE_TRY(auto opened, real_->open(path, options));
        return std::unique_ptr<file>(std::make_unique<file_below>(std::move(opened)));
    }
    result<file_status> status(const std::string& path) override
    {
        const unmarked below;
        return real_->status(path);
    }
    result<void> list(const std::string& path,
                      const std::function<result<void>(const std::string&)>& visit) override
    {
        std::vector<std::string> names;
        {
            const unmarked below;
            COPSE_TRYV(real_->list(path, [&](const std::string& name) -> result<void> {
                names.push_back(name);
                return outcome::success();
            }));
        }
        for (const auto& name : names) COPSE_TRYV(visit(name));
        return outcome::success();
    }
    result<void> make_directory(const std::string& path, std::uint32_t permissions) override
    {
        const unmarked below;
        return real_->make_directory(path, permissions);
    }
    result<void> remove_file(const std::string& path) override
    {
        const unmarked below;
        return real_->remove_file(path);
    }
    result<void> remove_directory(const std::string& path) override
    {
        const unmarked below;
        return real_->remove_directory(path);
    }
    result<void> rename(const std::string& from, const std::string& to, bool replace) override
    {
        const unmarked below;
        return real_->rename(from, to, replace);
    }
    result<void> sync_directory(const std::string& path) override
    {
        const unmarked below;
        return real_->sync_directory(path);
    }
    result<std::shared_ptr<void>> lock(const std::string& path) override
    {
        const unmarked below;
        return real_->lock(path);
    }
    std::string boot_id() override
    {
        const unmarked below;
        return real_->boot_id();
    }

private:
    class file_below final : public file {
    public:
        explicit file_below(std::unique_ptr<file> real) : real_(std::move(real)) {}
        using file::read_at;
        result<std::size_t> read_at(std::span<const byte_span> parts, std::uint64_t offset) override
        {
            const unmarked below;
            return real_->read_at(parts, offset);
        }
        result<void> write_at(byte_view data, std::uint64_t offset) override
        {
            const unmarked below;
            return real_->write_at(data, offset);
        }
        result<std::uint64_t> size() const override { return real_->size(); }
        result<void> truncate(std::uint64_t size) override
        {
            const unmarked below;
            return real_->truncate(size);
        }
        result<void> sync() override
        {
            const unmarked below;
            return real_->sync();
        }
        bool direct() const noexcept override { return real_->direct(); }

    private:
        std::unique_ptr<file> real_;
    };

    std::unique_ptr<file_system> real_;
};

/// A store on a disk of a world.
struct simulated {
    explicit simulated(const prepared_blobs& blobs)
        : world(std::make_unique<sim::world>(1)),
          drive(std::make_unique<sim::disk>(*world, world->add_machine("store"))),
          fs(std::make_unique<system_below>(drive->mount()))
    {
        REQUIRE(fs->make_directory("/home"));
        kept = folder_store::open(*fs, "/home/blobs").value();
        blobs.fill(*kept);
    }
    [[nodiscard]] folder_store& store() const { return *kept; }

    std::unique_ptr<sim::world> world;
    std::unique_ptr<sim::disk> drive;
    std::unique_ptr<file_system> fs;
    std::shared_ptr<folder_store> kept;
};

/// A store in a real folder.
struct real {
    explicit real(const prepared_blobs& blobs) : folder(std::make_unique<temporary_directory>())
    {
        folder_options options;
        options.direct = false;
        kept =
            folder_store::open(real_file_system(), (*folder / "blobs").string(), options).value();
        blobs.fill(*kept);
    }
    [[nodiscard]] folder_store& store() const { return *kept; }

    std::unique_ptr<temporary_directory> folder;
    std::shared_ptr<folder_store> kept;
};

}  // namespace

TEST_CASE("alloc: copse::store::folder_store::status, copse::store::folder_store::open_partial, "
          "copse::store::folder_store::watch, copse::store::blob_writer::write, "
          "copse::store::blob_writer::commit, copse::store::blob_writer::checkpoint, "
          "copse::store::blob_writer::finish (over the simulated disk)",
          "[alloc]")
{
    const prepared_blobs blobs;
    check_receiving_store(blobs, [&] { return simulated(blobs); });
}

TEST_CASE("alloc: copse::store::folder_store::open_partial (in a real folder)", "[alloc]")
{
    const prepared_blobs blobs;
    check_receiving_store(blobs, [&] { return real(blobs); });
}

TEST_CASE("alloc: copse::store::folder_store::open (what is in the folder is found again)",
          "[alloc]")
{
    const prepared_blobs blobs;
    for (const bool restarted : {false, true}) {
        const auto make = [&] {
            simulated s(blobs);
            if (restarted) {
                // Complete, but not durable: the restart has it verified.
                const auto writer = s.store().open_partial(blobs.absent.blob.root, 600'001).value();
                REQUIRE(deliver_all(*writer, blobs.absent.blob));
                REQUIRE(writer->finish(false)());
            }
            s.kept.reset();
            if (restarted) {
                s.world->machines()[0]->crash();
                s.fs = std::make_unique<system_below>(s.drive->mount());
            }
            return s;
        };
        const auto open = [](simulated& s) {
            s.kept.reset();
            auto opened = folder_store::open(*s.fs, "/home/blobs");
            s.kept = opened.value();
            return s.kept->path();
        };
        const auto intact = [&](simulated& s) {
            s.kept = folder_store::open(*s.fs, "/home/blobs").value();
            blobs.check(*s.kept);
        };
        CHECK(fail_each_allocation(make, open, intact) > 0);
        // After power loss the records are not believed: looking verifies.
        const auto look = [&](simulated& s) {
            if (!s.kept) {
                const unmarked set_up;
                s.kept = folder_store::open(*s.fs, "/home/blobs").value();
            }
            return s.kept->status(blobs.part.blob.root).value().present;
        };
        CHECK(fail_each_allocation(make, look, [&](simulated& s) { blobs.check(*s.kept); }) > 0);
    }
}

TEST_CASE("alloc: copse::store::folder_store::take, copse::store::folder_store::copy, "
          "copse::store::folder_store::remove, copse::store::folder_store::remove_if_empty",
          "[alloc]")
{
    const prepared_blobs blobs;
    const auto make = [&] { return simulated(blobs); };
    const hash::digest& root = blobs.whole.blob.root;
    const auto size_of = [](simulated& s, const std::string& path) -> std::uint64_t {
        const unmarked set_up;
        const auto status = s.fs->status(path);
        return status ? status.value().size : 0;
    };
    const std::string target = "/home/target of a name that is longer than the object";
    // Taken or still there, never neither; a repetition finds out which.
    const auto one_of_both = [&](simulated& s) {
        check_complete(s.store(), blobs.whole.blob);
        REQUIRE(size_of(s, target) == 0);
        check_stored(s.store(), blobs.part.blob);
    };
    CHECK(fail_each_allocation(
              make,
              [&](simulated& s) {
                  const auto taken = s.store().take(root, target, false);
                  return std::make_pair(taken.has_value(), size_of(s, target));
              },
              one_of_both) > 0);

    const auto copy = [&](simulated& s) {
        const auto copied = s.store().copy(root, target, true);
        return std::make_pair(copied.has_value(), size_of(s, target));
    };
    const auto no_rest = [&](simulated& s) {
        blobs.check(s.store());
        std::size_t rests = 0;
        REQUIRE(s.fs->list("/home/blobs", [&](const std::string& name) -> result<void> {
            rests += name.ends_with(".copy");
            return outcome::success();
        }));
        REQUIRE(rests == 0);
    };
    CHECK(fail_each_allocation(make, copy, no_rest) > 0);

    const auto remove = [&](simulated& s) {
        return s.store().remove(blobs.part.blob.root).has_value();
    };
    const auto the_other = [&](simulated& s) {
        check_complete(s.store(), blobs.whole.blob);
        check_stored(s.store(), blobs.part.blob);
    };
    CHECK(fail_each_allocation(make, remove, the_other) > 0);

    const auto empty = [&] {
        simulated s(blobs);
        REQUIRE(s.store().remove(blobs.part.blob.root));
        REQUIRE(s.store().remove(root));
        return s;
    };
    const auto leave = [](simulated& s) { return s.store().remove_if_empty().value(); };
    CHECK(fail_each_allocation(empty, leave) > 0);
    const auto stay = [](simulated& s) { return s.store().remove_if_empty().value(); };
    fail_each_allocation(make, stay, [&](simulated& s) { blobs.check(s.store()); });
}

TEST_CASE("alloc: copse::store::folder_store::repair", "[alloc]")
{
    const prepared_blobs blobs;
    const hash::digest& root = blobs.whole.blob.root;
    const auto make = [&] {
        simulated s(blobs);
        const std::string name = "/home/blobs/" + hash::to_hex(root);
        REQUIRE((s.drive->rot(name + ".data") || s.drive->rot(name + ".new")));
        return s;
    };
    CHECK(fail_each_allocation(
              make,
              [&](simulated& s) {
                  const auto left = s.store().repair(root);
                  const unmarked looking;
                  return std::make_pair(left.has_value(), left && left.value().complete());
              },
              [&](simulated& s) { check_stored(s.store(), blobs.part.blob); }) > 0);
}
