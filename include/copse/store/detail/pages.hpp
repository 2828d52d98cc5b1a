// Bytes that take memory only where they were written, and the blob that every store has.
#pragma once

#include <copse/bao/chunk_ranges.hpp>
#include <copse/bao/geometry.hpp>
#include <copse/core/bytes.hpp>
#include <copse/core/memory.hpp>
#include <copse/core/result.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/store/blob_store.hpp>
#include <copse/store/error.hpp>

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace copse::store::detail {

/// A sparse array of `size` bytes in pages; the last page is only as long as needed.
/// \par Threads any, for disjoint ranges.
class paged_bytes {
public:
    paged_bytes(std::uint64_t size, std::size_t page_size,
                std::shared_ptr<memory_budget> limit) noexcept
        : size_(size), page_size_(page_size), limit_(std::move(limit))
    {}
    paged_bytes(const paged_bytes&) = delete;
    paged_bytes& operator=(const paged_bytes&) = delete;

    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

    /// \par Errors store_errc::full, std::errc::invalid_argument beyond the size.
    result<void> write(byte_view data, std::uint64_t offset)
    {
        if (offset > size_ || data.size() > size_ - offset) {
            return make_error_code(std::errc::invalid_argument);
        }
        while (!data.empty()) {
            const auto at = static_cast<std::size_t>(offset % page_size_);
            const auto n = std::min(data.size(), page_size_ - at);
            COPSE_TRY(std::byte* const page, page_for_writing(offset / page_size_));
            std::memcpy(page + at, data.data(), n);
            data = data.subspan(n);
            offset += n;
        }
        return outcome::success();
    }

    /// Pages never written read as zeros. \par Errors store_errc::missing beyond the size.
    result<void> read(byte_span out, std::uint64_t offset) const
    {
        if (offset > size_ || out.size() > size_ - offset) return store_errc::missing;
        while (!out.empty()) {
            const auto at = static_cast<std::size_t>(offset % page_size_);
            const auto n = std::min(out.size(), page_size_ - at);
            const std::byte* const page = find(offset / page_size_);
            if (page) std::memcpy(out.data(), page + at, n);
            else std::memset(out.data(), 0, n);
            out = out.subspan(n);
            offset += n;
        }
        return outcome::success();
    }

private:
    const std::byte* find(std::uint64_t index) const
    {
        const std::lock_guard lock(mutex_);
        const auto at = pages_.find(index);
        return at == pages_.end() ? nullptr : at->second.get();
    }

    result<std::byte*> page_for_writing(std::uint64_t index)
    {
        const std::lock_guard lock(mutex_);
        auto at = pages_.find(index);
        if (at == pages_.end()) {
            const auto length = static_cast<std::size_t>(
                std::min<std::uint64_t>(page_size_, size_ - index * page_size_));
            memory_share share = limit_->try_reserve(length);
            if (!share) return store_errc::full;
            at = pages_.emplace(index, std::make_unique<std::byte[]>(length)).first;
            taken_.absorb(std::move(share));
        }
        return at->second.get();
    }

    const std::uint64_t size_;
    const std::size_t page_size_;
    const std::shared_ptr<memory_budget> limit_;
    mutable std::mutex mutex_;
    std::map<std::uint64_t, std::unique_ptr<std::byte[]>> pages_;
    memory_share taken_;  // of limit_
};

/// The root hash of the empty blob, which is complete in every store without being added.
inline const hash::digest& empty_root() noexcept
{
    static const hash::digest root = hash::blake3_hash({});
    return root;
}

class empty_blob_reader final : public blob_reader {
public:
    const hash::digest& root() const noexcept override { return empty_root(); }
    std::uint64_t size() const noexcept override { return 0; }
    bao::chunk_ranges present() const override { return bao::chunk_ranges::range(0, 1); }
    std::uint64_t pair_granularity() const noexcept override { return hash::group_chunks; }
    result<void> read_pairs(std::uint64_t, byte_span out) override { return nothing(out.size()); }
    result<void> read(std::span<const byte_span> parts, std::uint64_t offset) override
    {
        std::size_t wanted = 0;
        for (const auto& part : parts) wanted += part.size();
        return nothing(wanted + (offset > 0));
    }

private:
    static result<void> nothing(std::size_t wanted)
    {
        if (wanted > 0) return store_errc::missing;
        return outcome::success();
    }
};

class empty_blob_writer final : public blob_writer {
public:
    const hash::digest& root() const noexcept override { return empty_root(); }
    std::uint64_t size() const noexcept override { return 0; }
    bao::chunk_ranges present() const override { return bao::chunk_ranges::range(0, 1); }
    bool direct() const noexcept override { return false; }
    result<void> write(byte_view data, std::uint64_t) override
    {
        if (!data.empty()) return make_error_code(std::errc::invalid_argument);
        return outcome::success();
    }
    void commit(const bao::chunk_ranges&, std::span<const pair_run>) override {}
    bool checkpoint_due() const noexcept override { return false; }
    std::function<result<void>()> checkpoint() override { return done; }
    std::function<result<void>()> finish(bool) override { return done; }

private:
    static result<void> done() { return outcome::success(); }
};

inline std::shared_ptr<blob_reader> empty_reader()
{
    return std::make_shared<empty_blob_reader>();
}

inline std::shared_ptr<blob_writer> empty_writer()
{
    return std::make_shared<empty_blob_writer>();
}

}  // namespace copse::store::detail
