#pragma once

#include <copse/core/file.hpp>
#include <copse/disk/leaf_pool.hpp>

#include <cassert>
#include <cstddef>
#include <new>
#include <system_error>

namespace copse::disk {

namespace detail {

inline constexpr std::align_val_t page{direct_alignment};

inline std::size_t round_up(std::size_t bytes) noexcept
{
    const std::size_t least = bytes ? bytes : 1;
    return (least + direct_alignment - 1) / direct_alignment * direct_alignment;
}

}  // namespace detail

leaf_pool::leaf_pool(const char* name, std::size_t capacity, std::size_t extent_bytes,
                     memory_budget& memory)
    : reserved_(memory.try_reserve(capacity)),
      budget_(name, capacity),
      extent_bytes_(detail::round_up(extent_bytes))
{
    assert(capacity >= extent_bytes_);
    if (!reserved_) throw std::system_error(make_error_code(std::errc::not_enough_memory), name);
}

leaf_pool::~leaf_pool()
{
    for (std::byte* p : free_) ::operator delete(p, detail::page);
}

std::optional<leaf_pool::buffer> leaf_pool::try_take(std::size_t bytes, const waiter* self)
{
    assert(bytes <= extent_bytes_);
    if (!waiting_.empty() && waiting_.front() != self) return std::nullopt;
    // A small blob takes little; from half an extent on a reusable one is handed out.
    const std::size_t size = bytes > extent_bytes_ / 2 ? extent_bytes_ : detail::round_up(bytes);
    credit taken = budget_.try_take(size);
    if (!taken) return std::nullopt;
    std::byte* data = nullptr;
    if (size == extent_bytes_ && !free_.empty()) {
        data = free_.back();
        free_.pop_back();
    } else {
        while (!free_.empty() && kept() > budget_.available()) {
            ::operator delete(free_.back(), detail::page);
            free_.pop_back();
            --extents_;
        }
        // Room for all there are, since giving back must not need memory.
        const bool reusable = size == extent_bytes_;
        if (reusable && free_.capacity() <= extents_) free_.reserve(2 * (extents_ + 1));
        data = static_cast<std::byte*>(::operator new(size, detail::page));
        if (reusable) ++extents_;
    }
    return buffer(*this, data, size, std::move(taken));
}

void leaf_pool::wait(waiter& w)
{
    for (const waiter* other : waiting_) {
        if (other == &w) return;
    }
    waiting_.push_back(&w);
}

void leaf_pool::leave(waiter& w) noexcept
{
    const bool first = !waiting_.empty() && waiting_.front() == &w;
    std::erase(waiting_, &w);
    if (first && !waiting_.empty()) waiting_.front()->buffer_available();
}

void leaf_pool::give_back(std::byte* data, std::size_t size) noexcept
{
    if (size == extent_bytes_ && kept() + size <= budget_.available()) {
        free_.push_back(data);
    } else {
        ::operator delete(data, detail::page);
        if (size == extent_bytes_) --extents_;
    }
    if (!waiting_.empty()) waiting_.front()->buffer_available();
}

}  // namespace copse::disk
