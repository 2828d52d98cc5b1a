// Blobs ready to be delivered into a store without any allocation, and the procedures that stores share.
#pragma once

#include "failing.hpp"

#include "tests/store/fixture.hpp"

#include <copse/store/blob_store.hpp>
#include <copse/store/error.hpp>

#include <memory>
#include <vector>

namespace copse::test {

/// A blob cut into what a writer is given.
class delivery {
public:
    struct extent {
        bao::chunk_ranges chunks;
        std::unique_ptr<aligned_copy> bytes;
        std::uint64_t offset = 0;
        std::vector<store::pair_run> pairs;
    };

    explicit delivery(known_blob from, std::uint64_t extent_chunks = 256) : blob(std::move(from))
    {
        for (std::uint64_t at = 0; at < blob.chunks(); at += extent_chunks) {
            const std::uint64_t end = std::min(at + extent_chunks, blob.chunks());
            const std::uint64_t first_byte = bao::byte_offset(at);
            const std::uint64_t last_byte = bao::byte_end(end, blob.data.size());
            extent e;
            e.chunks = bao::chunk_ranges::range(at, end);
            e.offset = first_byte;
            e.bytes = std::make_unique<aligned_copy>(
                byte_view(blob.data).subspan(first_byte, last_byte - first_byte));
            e.pairs = pairs_for(blob, e.chunks);
            extents.push_back(std::move(e));
        }
    }

    known_blob blob;
    std::vector<extent> extents;
};

/// A step that is repeated once when it finds no memory, if that is wanted.
template <class Step>
auto attempt(bool again, const Step& step)
{
    if (!again) return step();
    try {
        return step();
    } catch (const std::bad_alloc&) {
        return step();
    }
}

/// Receives what is missing of a blob, with a checkpoint behind each extent.
/// \param again whether a step without memory is repeated with the same writer.
inline result<void> receive(store::blob_store& into, const delivery& from, bool again,
                            std::size_t extents = ~std::size_t{0})
{
    const bool all = extents >= from.extents.size();
    COPSE_TRY(const auto writer, attempt(again, [&] {
                  return into.open_partial(from.blob.root, from.blob.data.size());
              }));
    for (std::size_t i = 0; i < std::min(extents, from.extents.size()); ++i) {
        const auto& e = from.extents[i];
        COPSE_TRYV(attempt(again, [&] { return writer->write(e.bytes->view(), e.offset); }));
        attempt(again, [&] {
            writer->commit(e.chunks, e.pairs);
            return 0;
        });
        const auto job = attempt(again, [&] { return writer->checkpoint(); });
        COPSE_TRYV(attempt(again, job));
    }
    if (!all) return outcome::success();
    const auto job = attempt(again, [&] { return writer->finish(true); });
    return attempt(again, job);
}

/// A whole blob, or the part of it that a store claims to have: right, with its pairs.
inline void check_stored(store::blob_store& in, const known_blob& blob)
{
    const auto reader = in.open(blob.root);
    if (!reader) {
        REQUIRE(reader.error() == store::store_errc::missing);
        return;
    }
    check_reader(*reader.value(), blob);
}

inline void check_complete(store::blob_store& in, const known_blob& blob)
{
    const auto status = in.status(blob.root);
    REQUIRE(status);
    REQUIRE(status.value().complete());
    REQUIRE(status.value().size == blob.data.size());
    const auto reader = in.open(blob.root);
    REQUIRE(reader);
    check_reader(*reader.value(), blob);
}

/// A store with a whole blob, two extents of another one, and nothing of a third.
struct prepared_blobs {
    delivery whole{random_blob(300'000, 1)};
    delivery part{random_blob(600'000, 2)};
    delivery absent{random_blob(600'001, 3)};

    void fill(store::blob_store& into) const
    {
        REQUIRE(receive(into, whole, false));
        REQUIRE(receive(into, part, false, 2));
    }

    /// What must hold at any time.
    void check(store::blob_store& in) const
    {
        check_complete(in, whole.blob);
        check_stored(in, part.blob);
        check_stored(in, absent.blob);
        const auto status = in.status(part.blob.root);
        REQUIRE(status);
        REQUIRE(status.value().present.covers(0, 2 * 256));
    }
};

/// What every store that receives does, with each allocation failing once. `make()` gives something
/// with a member `store()`.
template <class Make>
void check_receiving_store(const prepared_blobs& blobs, Make make)
{
    using state_type = decltype(make());
    const auto intact = [&](state_type& s) { blobs.check(s.store()); };
    const auto check = [&](auto run) {
        const std::size_t tried = fail_each_allocation(make, run, intact);
        return tried;
    };
    // Lookups.
    check([&](state_type& s) { return s.store().status(blobs.whole.blob.root).value().size; });
    check([&](state_type& s) { return s.store().status(blobs.part.blob.root).value().present; });
    check([&](state_type& s) { return s.store().status(blobs.absent.blob.root).value().size; });
    check([&](state_type& s) { return s.store().status(hash::blake3_hash({})).value().present; });
    const auto first_bytes = [](store::blob_store& in, const hash::digest& root) {
        const auto reader = in.open(root);
        std::array<std::byte, 2000> out{};
        byte_span into = out;
        const bool good =
            reader.value()->read(std::span<const byte_span>(&into, 1), 16384).has_value();
        std::array<std::byte, 128> pairs{};
        const bool paired = reader.value()->read_pairs(0, pairs).has_value();
        const auto top = reader.value()->pair({0, bao::chunk_count(reader.value()->size())});
        return std::make_tuple(good, out, paired, pairs, top.value(), reader.value()->present());
    };
    CHECK(check([&](state_type& s) { return first_bytes(s.store(), blobs.whole.blob.root); }) > 0);
    CHECK(check([&](state_type& s) { return first_bytes(s.store(), blobs.part.blob.root); }) > 0);
    check([&](state_type& s) { return s.store().open(blobs.absent.blob.root).error(); });
    check([&](state_type& s) { return s.store().open(hash::blake3_hash({})).value()->size(); });
    // Writers. Each run ends with the writer dropped, so that the next one can have the blob.
    const auto begin = [](store::blob_store& in, const known_blob& blob) {
        const auto writer = in.open_partial(blob.root, blob.data.size());
        return writer.value()->present();
    };
    CHECK(check([&](state_type& s) { return begin(s.store(), blobs.whole.blob); }) > 0);
    CHECK(check([&](state_type& s) { return begin(s.store(), blobs.part.blob); }) > 0);
    CHECK(check([&](state_type& s) { return begin(s.store(), blobs.absent.blob); }) > 0);
    check([&](state_type& s) {
        const auto writer = s.store().open_partial(hash::blake3_hash({}), 0);
        return writer.value()->finish(true)().has_value();
    });
    for (const delivery* from : {&blobs.part, &blobs.absent}) {
        const auto whole = [&](state_type& s) {
            return receive(s.store(), *from, false).has_value();
        };
        CHECK(fail_each_allocation(make, whole, intact) > 0);
    }
    // With the same writer: a step that found no memory is repeated, or the writer says that it failed
    // and another one goes on.
    for (const delivery* from : {&blobs.part, &blobs.absent}) {
        std::size_t nth = 0;
        for (bool failed = true; failed; ++nth) {
            REQUIRE(nth < most_allocations);
            INFO("allocation " << nth);
            auto state = make();
            result<void> received = outcome::success();
            {
                const failing_allocation marked(nth);
                received = receive(state.store(), *from, true);
                failed = marked.failed();
            }
            blobs.check(state.store());
            if (!received) {
                REQUIRE(failed);
                REQUIRE(received.error() == std::errc::not_enough_memory);
                REQUIRE(receive(state.store(), *from, false));
            }
            check_complete(state.store(), from->blob);
        }
        CHECK(nth > 5);
    }
    // Watchers: registered or not, and told of what happens whatever there is no memory for.
    const auto watched = [&](state_type& s) {
        int told = 0;
        const auto handle =
            s.store().watch(blobs.absent.blob.root, std::function<void()>([&told] { ++told; }));
        const bool good = receive(s.store(), blobs.absent, false).has_value();
        return std::make_pair(good, told > 0);
    };
    CHECK(fail_each_allocation(make, watched, intact) > 0);
}

}  // namespace copse::test
