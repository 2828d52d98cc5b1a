// Counted capacity: what bounds memory everywhere.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace copse {

class budget;

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

/// A named amount of something (bytes, slots, connections) that is lent out as credit.
/// \par Threads one executor.
/// \par Lifetime must outlive its credits.
class budget {
public:
    /// \param name a literal, for tables of limits.
    budget(const char* name, std::size_t capacity) noexcept : name_(name), capacity_(capacity) {}
    budget(const budget&) = delete;
    budget& operator=(const budget&) = delete;
    ~budget() { assert(used_ == 0 && "credits must be given back before their budget dies"); }

    /// Takes all of `amount` or nothing (then the credit is false and the refusal is counted).
    [[nodiscard]] credit try_take(std::size_t amount) noexcept
    {
        if (amount > capacity_ - used_) {
            ++refusals_;
            return {};
        }
        return lend(amount);
    }
    /// Takes at most `amount`: what is there, maybe 0.
    [[nodiscard]] credit take_up_to(std::size_t amount) noexcept
    {
        return lend(amount < capacity_ - used_ ? amount : capacity_ - used_);
    }

    /// The name, for tables of limits.
    [[nodiscard]] const char* name() const noexcept { return name_; }
    /// What may be lent in all.
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
    /// What is lent now.
    [[nodiscard]] std::size_t used() const noexcept { return used_; }
    /// What is left.
    [[nodiscard]] std::size_t available() const noexcept { return capacity_ - used_; }
    /// The most that was ever lent at the same time.
    [[nodiscard]] std::size_t peak() const noexcept { return peak_; }
    /// How often try_take() gave nothing.
    [[nodiscard]] std::uint64_t refusals() const noexcept { return refusals_; }

private:
    friend class credit;
    credit lend(std::size_t amount) noexcept
    {
        used_ += amount;
        if (used_ > peak_) peak_ = used_;
        return credit{*this, amount};
    }
    void give(std::size_t amount) noexcept
    {
        assert(amount <= used_);
        used_ -= amount;
    }

    const char* name_;
    std::size_t capacity_;
    std::size_t used_ = 0;
    std::size_t peak_ = 0;
    std::uint64_t refusals_ = 0;
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
