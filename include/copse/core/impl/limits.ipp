// The register of limits, and the memory that pools are made of. Compiled once per program.
#pragma once

#include <copse/core/clock.hpp>
#include <copse/core/limits.hpp>
#include <copse/core/memory.hpp>

#include <algorithm>
#include <cassert>
#include <map>
#include <mutex>

namespace copse {

namespace detail {

/// The limits of one name: those that exist, and what is left of those that are gone.
struct limit_group {
    limit_unit unit = limit_unit::bytes;
    limit_entry* first = nullptr;
    std::size_t peak = 0;
    std::uint64_t refusals = 0;
    std::int64_t last_refusal = 0;

    void add(limit_entry& e) noexcept
    {
        e.group_ = this;
        e.next_ = first;
        if (first) first->previous_ = &e;
        first = &e;
    }

    void remove(limit_entry& e) noexcept
    {
        (e.previous_ ? e.previous_->next_ : first) = e.next_;
        if (e.next_) e.next_->previous_ = e.previous_;
        peak = std::max(peak, e.peak());
        refusals += e.refusals();
        last_refusal = std::max(last_refusal, e.last_refusal_.load(std::memory_order_relaxed));
    }

    [[nodiscard]] limit_row row(std::string_view name) const noexcept
    {
        limit_row out;
        out.name = name;
        out.unit = unit;
        out.peak = peak;
        out.refusals = refusals;
        std::int64_t last = last_refusal;
        for (const limit_entry* e = first; e; e = e->next_) {
            ++out.instances;
            out.capacity += std::min(e->capacity(), SIZE_MAX - out.capacity);
            out.used += std::min(e->used(), SIZE_MAX - out.used);
            out.peak = std::max(out.peak, e->peak());
            out.refusals += e->refusals();
            last = std::max(last, e->last_refusal_.load(std::memory_order_relaxed));
        }
        if (last != 0) out.last_refusal = std::chrono::nanoseconds(last);
        return out;
    }
};

/// All limits of the process. Names are literals, so that there are few and they stay.
struct limit_register {
    std::mutex mutex;
    std::map<std::string_view, limit_group> groups;

    static limit_register& get()
    {
        static auto& all = *new limit_register;  // outlives limits in static objects
        return all;
    }
};

limit_entry::limit_entry(const char* name, limit_unit unit, std::size_t capacity)
    : name_(name), capacity_(capacity)
{
    limit_register& all = limit_register::get();
    const std::lock_guard lock(all.mutex);
    limit_group& group = all.groups[name];
    group.unit = unit;
    group.add(*this);
}

limit_entry::~limit_entry()
{
    const std::lock_guard lock(limit_register::get().mutex);
    group_->remove(*this);
}

void limit_entry::refused() noexcept
{
    refusals_.store(refusals() + 1, relaxed);
    last_refusal_.store(wall_time().count(), relaxed);
}

}  // namespace detail

// ---- the table -------------------------------------------------------------------------------------

std::vector<limit_row> limits()
{
    detail::limit_register& all = detail::limit_register::get();
    std::vector<limit_row> out;
    const std::lock_guard lock(all.mutex);
    out.reserve(all.groups.size());
    for (const auto& [name, group] : all.groups) out.push_back(group.row(name));
    return out;
}

std::string to_text(std::span<const limit_row> rows, std::chrono::nanoseconds now)
{
    std::string out;
    for (const limit_row& row : rows) {
        out += row.name;
        out += ": " + std::to_string(row.used);
        if (row.capacity != SIZE_MAX) out += " of " + std::to_string(row.capacity);
        if (row.unit == limit_unit::bytes) out += " bytes";
        if (row.instances != 1) out += " in " + std::to_string(row.instances);
        out += ", most " + std::to_string(row.peak);
        if (row.last_refusal) {
            const auto ago = std::chrono::floor<std::chrono::seconds>(now - *row.last_refusal);
            out += ", refused " + std::to_string(row.refusals) + ", last " +
                   std::to_string(ago.count()) + " s ago";
        }
        out += '\n';
    }
    return out;
}

// ---- memory ----------------------------------------------------------------------------------------

memory_budget::memory_budget(const char* name, std::size_t capacity, memory_budget* of)
    : entry_(name, limit_unit::bytes, capacity), of_(of)
{}

memory_budget::~memory_budget()
{
    assert(used() == 0 && "pools must die before the memory that they are made of");
}

std::size_t memory_budget::take(std::size_t least, std::size_t most) noexcept
{
    const std::lock_guard lock(mutex_);
    const std::size_t left = capacity() - used();
    // Not all that is left for one pool that would like a whole step.
    std::size_t taken = most <= left ? most : least <= left ? least : 0;
    if (taken > 0 && of_) taken = of_->take(least, taken);
    if (taken == 0) {
        entry_.refused();
        return 0;
    }
    entry_.set_used(used() + taken);
    return taken;
}

void memory_budget::give(std::size_t bytes) noexcept
{
    const std::lock_guard lock(mutex_);
    assert(bytes <= used());
    entry_.set_used(used() - bytes);
    if (of_) of_->give(bytes);
}

memory_share memory_budget::try_reserve(std::size_t bytes) noexcept
{
    if (bytes > 0 && take(bytes, bytes) == 0) return {};
    return memory_share{*this, bytes};
}

result<void> memory_budget::resize(std::size_t capacity)
{
    const std::lock_guard lock(mutex_);
    if (capacity < used()) return make_error_code(std::errc::not_enough_memory);
    entry_.set_capacity(capacity);
    return outcome::success();
}

void memory_share::reset() noexcept
{
    if (from_) from_->give(bytes_);
    from_ = nullptr;
    bytes_ = 0;
}

void memory_share::absorb(memory_share&& other) noexcept
{
    assert(!from_ || !other.from_ || from_ == other.from_);
    if (!from_) from_ = other.from_;
    bytes_ += std::exchange(other.bytes_, 0);
    other.from_ = nullptr;
}

memory_budget& process_memory()
{
    static auto& all = *new memory_budget("process memory", default_process_memory);
    return all;
}

bool budget::grow(std::size_t amount) noexcept
{
    if (!memory_ || amount > available()) return false;
    const std::size_t missing = used() + amount - granted_;
    const std::size_t steps = (missing - 1) / step_ + 1;
    const std::size_t most = steps > SIZE_MAX / step_ ? missing : steps * step_;
    const std::size_t got = memory_->take(missing, std::min(most, capacity() - granted_));
    granted_ += got;
    return got > 0;
}

void budget::shrink(std::size_t to) noexcept
{
    memory_->give(granted_ - to);
    granted_ = to;
}

}  // namespace copse
