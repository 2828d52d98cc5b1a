// Blobs in memory, under a limit.
#pragma once

#include <copse/core/memory.hpp>
#include <copse/store/blob_store.hpp>

#include <cstddef>
#include <memory>

namespace copse::store {

/// A store in memory: complete blobs, and partial ones of which only what arrived takes space.
/// \par Limits `limit_bytes` of data and hash pairs in all, and `blob_bytes` for each blob; what would
///             exceed it, or finds no room in `memory`, fails with store_errc::full and leaves the rest
///             alone. Blobs that are removed while a reader has them count until that reader is
///             released.
/// \par Threads any.
class memory_store final : public blob_store {
public:
    /// What a blob counts besides its data and pairs, also before any of it arrived.
    static constexpr std::size_t blob_bytes = 512;

    /// \param limit_bytes all blobs together.
    /// \param memory      what is reserved as blobs arrive; must outlive the store, readers, writers.
    explicit memory_store(std::size_t limit_bytes, memory_budget& memory = process_memory());
    ~memory_store() override;

    /// Copies and hashes a blob on the calling thread. \return its root hash.
    /// \par Errors store_errc::full, store_errc::busy when it is being received.
    result<hash::digest> add(byte_view bytes);
    /// \par Errors store_errc::missing, store_errc::busy when it is being received.
    result<void> remove(const hash::digest& root);

    result<availability> status(const hash::digest& root) override;
    result<std::shared_ptr<blob_reader>> open(const hash::digest& root) override;
    result<std::shared_ptr<blob_writer>> open_partial(const hash::digest& root,
                                                      std::uint64_t size) override;
    std::shared_ptr<void> watch(const hash::digest& root, std::function<void()> changed) override;

    /// Bytes that count against the limit now.
    [[nodiscard]] std::size_t used() const noexcept;

    struct state;  ///< not API: shared with readers and writers

private:
    std::shared_ptr<state> state_;
};

}  // namespace copse::store
