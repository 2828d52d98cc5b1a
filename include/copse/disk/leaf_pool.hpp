// Aligned buffers out of a fixed budget: where bulk data lives between network and disk.
#pragma once

#include <copse/core/bytes.hpp>
#include <copse/core/credit.hpp>
#include <copse/core/memory.hpp>

#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

namespace copse::disk {

/// Lends aligned buffers (`direct_alignment`) and never more than its capacity in all, which it reserves
/// when it is made. Buffers of the pool's extent size are kept for reuse, since fresh pages cost more
/// than a copy.
/// \par Threads one executor; the bytes of a buffer may be used by one other thread at a time.
/// \par Lifetime must outlive its buffers.
class leaf_pool {
public:
    /// A buffer, given back when it dies. Move-only.
    class buffer {
    public:
        buffer() = default;
        /// Takes over what `other` holds.
        buffer(buffer&& other) noexcept
            : pool_(std::exchange(other.pool_, nullptr)),
              data_(std::exchange(other.data_, nullptr)),
              size_(std::exchange(other.size_, 0)),
              taken_(std::move(other.taken_))
        {}
        /// Gives back what it holds, then takes over what `other` holds.
        buffer& operator=(buffer&& other) noexcept
        {
            if (this != &other) {
                release();
                pool_ = std::exchange(other.pool_, nullptr);
                data_ = std::exchange(other.data_, nullptr);
                size_ = std::exchange(other.size_, 0);
                taken_ = std::move(other.taken_);
            }
            return *this;
        }
        ~buffer() { release(); }

        /// At least the bytes asked for, a multiple of `direct_alignment`.
        [[nodiscard]] byte_span bytes() const noexcept { return {data_, size_}; }
        /// False when it was moved from.
        explicit operator bool() const noexcept { return data_ != nullptr; }

    private:
        friend class leaf_pool;
        buffer(leaf_pool& pool, std::byte* data, std::size_t size, credit taken) noexcept
            : pool_(&pool), data_(data), size_(size), taken_(std::move(taken))
        {}
        void release() noexcept
        {
            if (!data_) return;
            taken_.reset();
            std::exchange(pool_, nullptr)->give_back(std::exchange(data_, nullptr), size_);
        }

        leaf_pool* pool_ = nullptr;
        std::byte* data_ = nullptr;
        std::size_t size_ = 0;
        credit taken_;
    };

    /// Someone to be told that a buffer came back.
    class waiter {
    public:
        /// Called when it is this waiter's turn: try_take() now, then leave().
        virtual void buffer_available() noexcept = 0;

    protected:
        ~waiter() = default;
    };

    /// \param name          a literal, for the table of limits.
    /// \param capacity      bytes lent at the same time; at least one extent.
    /// \param extent_bytes  size of the buffers that are kept for reuse.
    /// \param memory        what the capacity is reserved of; must outlive it.
    /// \throws std::system_error (std::errc::not_enough_memory) when `memory` has no room for it.
    leaf_pool(const char* name, std::size_t capacity, std::size_t extent_bytes,
              memory_budget& memory = process_memory());
    leaf_pool(const leaf_pool&) = delete;
    leaf_pool& operator=(const leaf_pool&) = delete;
    ~leaf_pool();

    /// Size of the buffers that are kept for reuse.
    [[nodiscard]] std::size_t extent_bytes() const noexcept { return extent_bytes_; }
    /// What is lent, was lent at most, and was refused.
    [[nodiscard]] const budget& limits() const noexcept { return budget_; }

    /// Bytes of the buffers that are kept for reuse; with those lent never more than the capacity.
    [[nodiscard]] std::size_t kept() const noexcept { return free_.size() * extent_bytes_; }

    /// Whether anybody waits for a buffer.
    [[nodiscard]] bool contended() const noexcept { return !waiting_.empty(); }

    /// A buffer of at least `bytes`, or nothing when the pool is used up or others wait longer.
    /// \throws std::bad_alloc, with nothing taken. Giving back never allocates.
    /// \pre bytes <= extent_bytes().
    [[nodiscard]] std::optional<buffer> try_take(std::size_t bytes, const waiter* self = nullptr);

    /// Queues for a buffer, first come first served; leave() when served or no longer interested.
    void wait(waiter& w);
    /// Ends the wait; harmless when `w` does not wait.
    void leave(waiter& w) noexcept;

private:
    void give_back(std::byte* data, std::size_t size) noexcept;

    memory_share reserved_;
    budget budget_;
    std::size_t extent_bytes_;
    std::vector<std::byte*> free_;  // with room for all extents
    std::size_t extents_ = 0;       // lent and free
    std::vector<waiter*> waiting_;  // first come first
};

}  // namespace copse::disk
