#include "stores.hpp"

#include <copse/store/memory_store.hpp>

using namespace copse;
using namespace copse::store;
using namespace copse::test;

namespace {

struct memory {
    explicit memory(const prepared_blobs& blobs)
        : kept(std::make_unique<memory_store>(std::size_t{8} << 20))
    {
        blobs.fill(*kept);
    }
    [[nodiscard]] memory_store& store() const { return *kept; }

    std::unique_ptr<memory_store> kept;
};

}  // namespace

TEST_CASE("alloc: copse::store::memory_store::open, copse::store::memory_store::open_partial, "
          "copse::store::memory_store::status, copse::store::memory_store::watch, "
          "copse::store::blob_writer::write, copse::store::blob_writer::commit, "
          "copse::store::blob_writer::checkpoint, copse::store::blob_writer::finish, "
          "copse::store::blob_writer::present, copse::store::blob_reader::read, "
          "copse::store::blob_reader::read_pairs, copse::store::blob_reader::pair, "
          "copse::store::blob_reader::present",
          "[alloc]")
{
    const prepared_blobs blobs;
    check_receiving_store(blobs, [&] { return memory(blobs); });
}

TEST_CASE("alloc: copse::store::memory_store::add, copse::store::memory_store::remove", "[alloc]")
{
    const prepared_blobs blobs;
    const auto make = [&] { return memory(blobs); };
    const auto intact = [&](memory& m) { blobs.check(m.store()); };
    const auto add = [&](memory& m) {
        const auto root = m.store().add(blobs.absent.blob.data);
        return std::make_pair(root.value(), m.store().used());
    };
    // What the limit counts is the same after a failure: add() was undone.
    const auto nothing_taken = [&](memory& m) {
        blobs.check(m.store());
        REQUIRE(m.store().used() == memory(blobs).store().used());
    };
    CHECK(fail_each_allocation(make, add, nothing_taken) > 0);
    const auto again = [&](memory& m) { return m.store().add(blobs.whole.blob.data).value(); };
    CHECK(fail_each_allocation(make, again, intact) > 0);
    const auto over = [&](memory& m) { return m.store().add(blobs.part.blob.data).value(); };
    CHECK(fail_each_allocation(make, over, intact) > 0);
    const auto remove = [&](memory& m) {
        return m.store().remove(blobs.part.blob.root).has_value();
    };
    CHECK(fail_each_allocation(make, remove, intact) == 0);
    // A blob that could not be opened for writing is not there, and may be removed or asked for.
    const auto begin = [&](memory& m) {
        return m.store().open_partial(blobs.absent.blob.root, 600'001).has_value();
    };
    const auto removable = [&](memory& m) {
        const auto removed = m.store().remove(blobs.absent.blob.root);
        REQUIRE((removed || removed.error() == store_errc::missing));
        REQUIRE(m.store().status(blobs.absent.blob.root));
    };
    CHECK(fail_each_allocation(make, begin, removable) > 0);
}

TEST_CASE("alloc: copse::store::memory_store::open_partial (the limit counts each page once)",
          "[alloc]")
{
    const prepared_blobs blobs;
    memory undisturbed(blobs);
    REQUIRE(receive(undisturbed.store(), blobs.absent, false));
    for (std::size_t nth = 0;; ++nth) {
        memory m(blobs);
        bool failed = false;
        {
            const failing_allocation marked(nth);
            const auto received = receive(m.store(), blobs.absent, true);
            static_cast<void>(received);  // what matters is what it took
            failed = marked.failed();
        }
        REQUIRE(receive(m.store(), blobs.absent, false));
        INFO("allocation " << nth);
        REQUIRE(m.store().used() == undisturbed.store().used());
        if (!failed) break;
    }
}
