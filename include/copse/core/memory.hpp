// The memory of a program, divided among its pools.
#pragma once

#include <copse/core/credit.hpp>
#include <copse/core/result.hpp>

#include <cstddef>
#include <mutex>
#include <utility>

namespace copse {

/// Bytes reserved of a memory budget, given back when it dies. Move-only. \par Threads any.
class memory_share {
public:
    memory_share() = default;
    /// Takes over what `other` holds.
    memory_share(memory_share&& other) noexcept
        : from_(std::exchange(other.from_, nullptr)), bytes_(std::exchange(other.bytes_, 0))
    {}
    /// Gives back what it holds, then takes over what `other` holds.
    memory_share& operator=(memory_share&& other) noexcept
    {
        if (this != &other) {
            reset();
            from_ = std::exchange(other.from_, nullptr);
            bytes_ = std::exchange(other.bytes_, 0);
        }
        return *this;
    }
    ~memory_share() { reset(); }

    /// How much it holds.
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
    /// False for a refusal.
    explicit operator bool() const noexcept { return from_ != nullptr; }
    /// Gives everything back now.
    void reset() noexcept;
    /// Adds what another share of the same budget holds.
    void absorb(memory_share&& other) noexcept;

private:
    friend class memory_budget;
    memory_share(memory_budget& from, std::size_t bytes) noexcept : from_(&from), bytes_(bytes) {}

    memory_budget* from_ = nullptr;
    std::size_t bytes_ = 0;
};

/// What pools may reserve together: buffers, receive credit, send queues, stores in memory. Dividing it
/// instead of sharing it means that no pool ever waits for another, and lending costs nothing here.
/// \par Threads any.
/// \par Lifetime must outlive the pools and shares made of it.
class memory_budget {
public:
    /// \param name a literal, for the table of limits.
    /// \param of   what is reserved here is reserved there too; null: nowhere. Must outlive it.
    memory_budget(const char* name, std::size_t capacity, memory_budget* of = nullptr);
    memory_budget(const memory_budget&) = delete;
    memory_budget& operator=(const memory_budget&) = delete;
    ~memory_budget();

    /// Reserves all of `bytes` or nothing (then the share is false and the refusal is counted).
    [[nodiscard]] memory_share try_reserve(std::size_t bytes) noexcept;
    /// Changes what may be reserved in all.
    /// \par Errors std::errc::not_enough_memory when more is reserved already; nothing changes then.
    result<void> resize(std::size_t capacity);

    /// The name, for the table of limits.
    [[nodiscard]] const char* name() const noexcept { return entry_.name(); }
    /// What may be reserved in all.
    [[nodiscard]] std::size_t capacity() const noexcept { return entry_.capacity(); }
    /// What is reserved now.
    [[nodiscard]] std::size_t used() const noexcept { return entry_.used(); }
    /// The most that was ever reserved at the same time.
    [[nodiscard]] std::size_t peak() const noexcept { return entry_.peak(); }
    /// How often something had no room.
    [[nodiscard]] std::uint64_t refusals() const noexcept { return entry_.refusals(); }

private:
    friend class budget;
    friend class memory_share;
    // `most`, or when that is not there `least`, or 0.
    std::size_t take(std::size_t least, std::size_t most) noexcept;
    void give(std::size_t bytes) noexcept;

    std::mutex mutex_;  // held by those who change `entry_`
    detail::limit_entry entry_;
    memory_budget* const of_;
};

/// What process_memory() has until it is resized.
inline constexpr std::size_t default_process_memory =
    sizeof(std::size_t) > 4 ? static_cast<std::size_t>(std::uint64_t{8} << 30)
                            : std::size_t{1} << 30;

/// The budget that pools are made of unless they are given another. A program resizes it before it makes
/// the first. \par Lifetime that of the process.
memory_budget& process_memory();

}  // namespace copse
