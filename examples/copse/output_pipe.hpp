// Verified bytes of a growing blob, in order, to standard output.
#pragma once

#include <copse/core/asio.hpp>
#include <copse/core/event.hpp>
#include <copse/core/offload.hpp>
#include <copse/core/result.hpp>
#include <copse/hash/digest.hpp>
#include <copse/store/blob_store.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace app {

/// Copies from a store, which holds only verified data, so that a slow reader never keeps the network
/// waiting. \par Threads one executor, and one of its own that writes.
class output_pipe {
public:
    /// \param from must outlive it.
    output_pipe(copse::executor ex, copse::store::blob_store& from);

    /// What is to be written. Later calls change nothing.
    void begin(const copse::hash::digest& root, std::uint64_t size);
    /// There may be more now.
    void more() noexcept { changed_.notify_all(); }
    /// Nothing more will come.
    void end() noexcept;

    /// Writes until all is written, or the end came before.
    /// \par Errors std::errc::broken_pipe and others of write, those of the store.
    /// \par Cancellation total, within 100 ms.
    copse::awaitable<copse::result<void>> run();
    [[nodiscard]] std::uint64_t written() const noexcept { return written_; }
    [[nodiscard]] bool complete() const noexcept { return known_ && written_ == size_; }

private:
    copse::result<std::size_t> write_some();

    copse::store::blob_store& from_;
    std::unique_ptr<copse::offload_pool> thread_;  // a slow reader must not hold up verification
    copse::event changed_;
    copse::hash::digest root_;
    std::uint64_t size_ = 0;
    bool known_ = false;
    bool ended_ = false;
    std::uint64_t written_ = 0;
    std::shared_ptr<copse::store::blob_reader> reader_;
    std::vector<std::byte> block_;
};

}  // namespace app
