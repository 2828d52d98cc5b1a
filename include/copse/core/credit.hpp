// Counted capacity: what bounds memory everywhere.
#pragma once

#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace copse {

class budget;
class memory_budget;

/// A part of a budget, given back when it dies. Move-only.
class credit {
public:
    credit() = default;
    /// Takes over what `other` holds.
    credit(credit&& other) noexcept
        : from_(std::exchange(other.from_, nullptr)), amount_(std::exchange(other.amount_, 0))
    {}
    /// Gives back what it holds, then takes over what `other` holds.
    credit& operator=(credit&& other) noexcept
    {
        if (this != &other) {
            reset();
            from_ = std::exchange(other.from_, nullptr);
            amount_ = std::exchange(other.amount_, 0);
        }
        return *this;
    }
    ~credit() { reset(); }

    /// How much it holds.
    [[nodiscard]] std::size_t amount() const noexcept { return amount_; }
    /// False for a refusal.
    explicit operator bool() const noexcept { return from_ != nullptr; }
    /// Gives everything back now.
    inline void reset() noexcept;
    /// Gives `part` of it back now.
    inline void give_back(std::size_t part) noexcept;
    /// Adds what another credit of the same budget holds.
    inline void absorb(credit&& other) noexcept;

private:
    friend class budget;
    credit(budget& from, std::size_t amount) noexcept : from_(&from), amount_(amount) {}

    budget* from_ = nullptr;
    std::size_t amount_ = 0;
};

/// What a limit counts.
enum class limit_unit : unsigned char { bytes, count };

namespace detail {

struct limit_group;

/// A limit's line in the table of limits(): written by one thread at a time, read by any.
class limit_entry {
public:
    limit_entry(const char* name, limit_unit unit, std::size_t capacity);
    limit_entry(const limit_entry&) = delete;
    limit_entry& operator=(const limit_entry&) = delete;
    ~limit_entry();

    [[nodiscard]] const char* name() const noexcept { return name_; }
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_.load(relaxed); }
    [[nodiscard]] std::size_t used() const noexcept { return used_.load(relaxed); }
    [[nodiscard]] std::size_t peak() const noexcept { return peak_.load(relaxed); }
    [[nodiscard]] std::uint64_t refusals() const noexcept { return refusals_.load(relaxed); }

    void set_capacity(std::size_t capacity) noexcept { capacity_.store(capacity, relaxed); }
    void set_used(std::size_t used) noexcept
    {
        used_.store(used, relaxed);
        if (used > peak()) peak_.store(used, relaxed);
    }
    void refused() noexcept;

private:
    friend struct limit_group;
    static constexpr auto relaxed = std::memory_order_relaxed;

    const char* name_;
    std::atomic<std::size_t> capacity_;
    std::atomic<std::size_t> used_{0};
    std::atomic<std::size_t> peak_{0};
    std::atomic<std::uint64_t> refusals_{0};
    std::atomic<std::int64_t> last_refusal_{0};  // wall time in ns, 0: never
    limit_group* group_ = nullptr;
    limit_entry* next_ = nullptr;
    limit_entry* previous_ = nullptr;
};

}  // namespace detail

/// A named amount of something (bytes, slots, connections) that is lent out as credit. As long as it
/// lives it is in the table of limits().
/// \par Threads one executor.
/// \par Lifetime must outlive its credits.
class budget {
public:
    /// \param name a literal, for the table of limits.
    budget(const char* name, std::size_t capacity, limit_unit unit = limit_unit::bytes)
        : entry_(name, unit, capacity), granted_(capacity)
    {}
    /// Bytes out of a memory budget, reserved there in steps as they are lent and given back as they
    /// return: where that has no room, this has none either.
    /// \param memory must outlive it.
    budget(const char* name, std::size_t capacity, memory_budget& memory, std::size_t step)
        : entry_(name, limit_unit::bytes, capacity), memory_(&memory), step_(step)
    {}
    budget(const budget&) = delete;
    budget& operator=(const budget&) = delete;
    ~budget()
    {
        assert(used() == 0 && "credits must be given back before their budget dies");
        if (memory_) shrink(0);
    }

    /// Takes all of `amount` or nothing (then the credit is false and the refusal is counted).
    [[nodiscard]] credit try_take(std::size_t amount) noexcept
    {
        if (amount > granted_ - used() && !grow(amount)) {
            entry_.refused();
            return {};
        }
        return lend(amount);
    }
    /// Takes at most `amount`: what is there, maybe 0.
    [[nodiscard]] credit take_up_to(std::size_t amount) noexcept
    {
        if (amount > available()) amount = available();
        if (amount > granted_ - used() && !grow(amount)) amount = granted_ - used();
        return lend(amount);
    }

    /// Counts a refusal that the caller decided on.
    void count_refusal() noexcept { entry_.refused(); }

    /// The name, for the table of limits.
    [[nodiscard]] const char* name() const noexcept { return entry_.name(); }
    /// What may be lent in all.
    [[nodiscard]] std::size_t capacity() const noexcept { return entry_.capacity(); }
    /// What is lent now.
    [[nodiscard]] std::size_t used() const noexcept { return entry_.used(); }
    /// What is left.
    [[nodiscard]] std::size_t available() const noexcept { return capacity() - used(); }
    /// The most that was ever lent at the same time.
    [[nodiscard]] std::size_t peak() const noexcept { return entry_.peak(); }
    /// How often try_take() gave nothing, and count_refusal().
    [[nodiscard]] std::uint64_t refusals() const noexcept { return entry_.refusals(); }

private:
    friend class credit;
    credit lend(std::size_t amount) noexcept
    {
        entry_.set_used(used() + amount);
        return credit{*this, amount};
    }
    void give(std::size_t amount) noexcept
    {
        assert(amount <= used());
        entry_.set_used(used() - amount);
        if (memory_ && granted_ - used() >= 2 * step_) shrink(used() + step_);
    }
    bool grow(std::size_t amount) noexcept;  // so that `amount` more may be lent
    void shrink(std::size_t to) noexcept;

    detail::limit_entry entry_;
    memory_budget* memory_ = nullptr;
    std::size_t step_ = 0;
    std::size_t granted_ = 0;  // may be lent without asking `memory_`
};

inline void credit::reset() noexcept
{
    if (from_) from_->give(amount_);
    from_ = nullptr;
    amount_ = 0;
}

inline void credit::give_back(std::size_t part) noexcept
{
    assert(part <= amount_);
    if (from_) from_->give(part);
    amount_ -= part;
}

inline void credit::absorb(credit&& other) noexcept
{
    assert(!from_ || !other.from_ || from_ == other.from_);
    if (!from_) from_ = other.from_;
    amount_ += std::exchange(other.amount_, 0);
    other.from_ = nullptr;
}

}  // namespace copse
