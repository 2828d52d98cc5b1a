// Files served where they are, and small blobs in memory: what a sender offers.
#pragma once

#include <copse/core/file.hpp>
#include <copse/store/blob_store.hpp>
#include <copse/store/import.hpp>

#include <cstddef>
#include <memory>

namespace copse::store {

/// A read-only set of blobs. Readers keep pairs above 256 KiB extents only.
/// \par Limits  at most `max_open_files` files stay open besides those in the middle of a read; memory
///              is that of the added indexes plus about 300 bytes a file.
/// \par Threads any.
class reference_store final : public blob_store {
public:
    /// Files kept open by default.
    static constexpr std::size_t default_open_files = 64;

    /// \param fs must outlive the store and its readers.
    explicit reference_store(file_system& fs, std::size_t max_open_files = default_open_files);
    ~reference_store() override;

    /// Offers a file, which is opened when it is read. A file that has changed since gives
    /// store_errc::file_changed then. Of files with equal content the last one added is read.
    /// \pre `file` was imported with its index.
    void add(imported_file file);
    /// Offers bytes, which are hashed here. \return their root hash.
    hash::digest add_bytes(shared_bytes bytes);

    result<availability> status(const hash::digest& root) override;
    result<std::shared_ptr<blob_reader>> open(const hash::digest& root) override;
    /// Always fails with store_errc::read_only.
    result<std::shared_ptr<blob_writer>> open_partial(const hash::digest& root,
                                                      std::uint64_t size) override;
    std::shared_ptr<void> watch(const hash::digest& root, std::function<void()> changed) override;

    /// Files open now, for tests and tables of limits.
    [[nodiscard]] std::size_t open_files() const;

    struct state;  ///< not API: shared with readers

private:
    std::shared_ptr<state> state_;
};

}  // namespace copse::store
