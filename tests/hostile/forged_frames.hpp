// Established peers whose packets say what no endpoint of ours would: frames of the attacker's choice, in
// packets that are encrypted, numbered and counted as they should be.
#pragma once

#include "tests/hostile/crew.hpp"

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>

namespace copse::hostile {

/// Replaces the frames of each 1-RTT packet of the hostile machine, in place.
using frame_forger = std::function<void(std::span<std::uint8_t> frames)>;
/// Null: packets stay as they are.
frame_forger& forged_frames();

/// Writes frames one behind the other; PADDING behind the last that fits.
class frame_writer {
public:
    explicit frame_writer(std::span<std::uint8_t> out) noexcept : out_(out) {}

    /// A frame of these integers, and `tail` bytes behind it. False: it does not fit.
    bool frame(std::initializer_list<std::uint64_t> numbers,
               std::span<const std::uint8_t> tail = {})
    {
        std::size_t size = tail.size();
        for (const std::uint64_t n : numbers) size += size_of(n);
        if (size > out_.size() - at_) return false;
        for (const std::uint64_t n : numbers) number(n);
        for (const std::uint8_t b : tail) out_[at_++] = b;
        return true;
    }
    ~frame_writer()
    {
        for (; at_ < out_.size(); ++at_) out_[at_] = 0;
    }
    frame_writer(const frame_writer&) = delete;
    frame_writer& operator=(const frame_writer&) = delete;

private:
    // RFC 9000 section 16.
    static std::size_t size_of(std::uint64_t n) noexcept
    {
        return n < 64 ? 1 : n < 16384 ? 2 : n < (1U << 30) ? 4 : 8;
    }
    void number(std::uint64_t n)
    {
        const std::size_t size = size_of(n);
        const unsigned mark = size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3;
        for (std::size_t i = 0; i < size; ++i)
            out_[at_ + i] = static_cast<std::uint8_t>(n >> (8 * (size - 1 - i)));
        out_[at_] = static_cast<std::uint8_t>(out_[at_] | mark << 6);
        at_ += size;
    }

    std::span<std::uint8_t> out_;
    std::size_t at_ = 0;
};

namespace detail {

inline awaitable<void> send_forged(stage& s, std::shared_ptr<connection> c)
{
    // Datagrams make packets; none of them is seen by the victim.
    const std::vector<std::byte> filler(1100);
    while (!c->why_closed()) {
        const auto sent = c->send_datagram(shared_bytes::copy(filler));
        if (sent) continue;
        const bool more = co_await s.pause(std::chrono::milliseconds(1));
        if (!more) co_return;
    }
}

}  // namespace detail

/// One connection at a time, whose frames `forge` makes.
inline awaitable<void> forge_frames(stage& s, frame_forger forge)
{
    forged_frames() = std::move(forge);
    co_await crew(s, 1, detail::send_forged);
    forged_frames() = nullptr;
}

}  // namespace copse::hostile
