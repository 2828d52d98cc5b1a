// What the protocols see of a store of blobs: readers and writers of verified data.
//
// A store never verifies: it is given verified data and says what it has. Calls marked "blocking" may
// touch a disk and belong on an offload pool; the others only touch memory and belong on the executor.
#pragma once

#include <copse/bao/chunk_ranges.hpp>
#include <copse/core/bytes.hpp>
#include <copse/core/result.hpp>
#include <copse/hash/digest.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace copse::bao {
struct subtree;
}

namespace copse::store {

/// Hash pairs that are neighbours in the pre-order outboard over 16 KiB groups (an `.obao4` file).
struct pair_run {
    std::uint64_t index = 0;  ///< position of the first pair, counted in pairs
    byte_view bytes;          ///< 64 a pair
};

/// What a store holds of a blob.
struct availability {
    std::uint64_t size = 0;     ///< bytes; proven only when `size_proven`
    bool size_proven = false;   ///< the last chunk was verified
    bao::chunk_ranges present;  ///< whole groups (the last one by its actual length)
    /// Whether every chunk is there and the size is proven.
    [[nodiscard]] bool complete() const noexcept;
};

/// A blob opened for reading. It stays readable until released, whatever happens to its name.
/// \par Threads blocking calls from any thread, also at the same time.
class blob_reader {
public:
    virtual ~blob_reader() = default;

    /// Hash of the blob.
    virtual const hash::digest& root() const noexcept = 0;
    /// Bytes of the blob.
    virtual std::uint64_t size() const noexcept = 0;
    /// What can be read now (a partial blob grows).
    virtual bao::chunk_ranges present() const = 0;
    /// Pairs are kept for nodes that cover more than this many chunks: 16 for a full outboard. A
    /// reader of a smaller part recomputes the pairs below from the data.
    virtual std::uint64_t pair_granularity() const noexcept = 0;
    /// Fills `out` with pairs that are neighbours in the pre-order outboard over units of
    /// `pair_granularity()` chunks, from position `index` on. Blocking. Unverified: pairs that were
    /// never received may read as zeros.
    /// \par Errors store_errc::missing, the system's codes.
    virtual result<void> read_pairs(std::uint64_t index, byte_span out) = 0;
    /// The hash pair of one node, which covers more than `pair_granularity()` chunks. Blocking.
    result<std::array<std::byte, 64>> pair(bao::subtree node);
    /// Fills all parts with data from byte `offset` on. Blocking. Unverified: a disk may rot.
    /// \par Errors store_errc::missing beyond what is there, the system's codes.
    virtual result<void> read(std::span<const byte_span> parts, std::uint64_t offset) = 0;
};

/// A blob being received. Dropping it keeps what was checkpointed; open_partial() resumes. Its jobs
/// own what they need and may outlive it.
/// A call that throws std::bad_alloc did nothing and may be repeated. After a job that did, those after
/// it fail too: drop the writer, and resume with another one.
class blob_writer {
public:
    virtual ~blob_writer() = default;

    /// Hash of the blob.
    virtual const hash::digest& root() const noexcept = 0;
    /// Bytes of the blob, as claimed until the last chunk is there.
    virtual std::uint64_t size() const noexcept = 0;
    /// Whole groups committed so far, those of earlier runs included. The executor's thread.
    virtual bao::chunk_ranges present() const = 0;
    /// True when writes want `direct_alignment` of address and offset; a final part may be shorter.
    virtual bool direct() const noexcept = 0;
    /// Writes verified bytes. Blocking; any thread, concurrently for disjoint ranges.
    /// \param data buffer with room up to the next multiple of direct_alignment when direct().
    virtual result<void> write(byte_view data, std::uint64_t offset) = 0;
    /// Declares chunks written and verified, and remembers their hash pairs (copied). Of chunks only
    /// whole groups are remembered, and that the size is proven if the last chunk is among them.
    /// Memory only; the executor's thread.
    virtual void commit(const bao::chunk_ranges& chunks, std::span<const pair_run> pairs) = 0;
    /// True when enough was committed or enough time passed that a checkpoint pays.
    virtual bool checkpoint_due() const noexcept = 0;
    /// Takes what was committed; the returned job (blocking, one at a time) makes it survive kill -9.
    virtual std::function<result<void>()> checkpoint() = 0;
    /// The blob is complete: the returned job (blocking) makes it visible to readers as such, and
    /// durable (it survives power loss) when `durable`.
    virtual std::function<result<void>()> finish(bool durable) = 0;
};

/// A set of blobs by hash. A call that throws std::bad_alloc may be repeated: what was stored is as it was.
/// \par Threads blocking calls from any thread, also at the same time.
class blob_store {
public:
    virtual ~blob_store() = default;

    /// Blocking. An absent blob has size 0 and nothing present. The empty blob is always complete.
    virtual result<availability> status(const hash::digest& root) = 0;
    /// Opens for reading. Blocking. \par Errors store_errc::missing when nothing of it is there.
    virtual result<std::shared_ptr<blob_reader>> open(const hash::digest& root) = 0;
    /// Opens for writing what is missing. Blocking. One writer a blob.
    /// \param size as the provider claims; no space is taken by it before data is written.
    /// \par Errors store_errc::busy, store_errc::size_changed, the system's codes.
    virtual result<std::shared_ptr<blob_writer>> open_partial(const hash::digest& root,
                                                              std::uint64_t size) = 0;
    /// Has `changed` called after what status() says of a blob may have changed, as long as the
    /// returned handle lives (and maybe once more at the moment of its release). From any thread, and
    /// from inside calls of the store: `changed` must return at once and not call the store. What it
    /// throws is dropped.
    /// \return null when blobs of this store never change.
    virtual std::shared_ptr<void> watch(const hash::digest& root, std::function<void()> changed);
};

}  // namespace copse::store
