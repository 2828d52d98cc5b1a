// NEW_CONNECTION_ID frames that would retire the same id again. Internal to quic/.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <span>

namespace copse::quic::detail {

/// Walks over the frames of a packet's plain text (RFC 9000 section 19, RFC 9221 section 4).
class frame_walk {
public:
    using frames = std::span<std::uint8_t>;

    explicit frame_walk(frames plain) noexcept : rest_(plain) {}

    /// A NEW_CONNECTION_ID frame.
    struct new_id {
        frames whole;
        std::uint64_t sequence = 0;
        std::uint64_t retire_prior_to = 0;
    };
    /// The next one; none: there are no more, or what follows is no frame.
    std::optional<new_id> next() noexcept
    {
        while (!rest_.empty()) {
            const frames from = rest_;
            const std::uint8_t type = rest_.front();
            rest_ = rest_.subspan(1);
            if (type == 0x18) {
                const auto sequence = number();
                const auto prior = number();
                if (!sequence || !prior || rest_.empty()) return std::nullopt;
                if (!skip(std::size_t{1} + rest_.front() + reset_token_size)) return std::nullopt;
                return new_id{from.first(from.size() - rest_.size()), *sequence, *prior};
            }
            if (!skip_body(type)) return std::nullopt;
        }
        return std::nullopt;
    }

private:
    static constexpr std::size_t reset_token_size = 16;
    /// What follows a type: so many integers, then as many bytes as the last of them says, or 8.
    struct shape {
        std::uint8_t numbers;
        bool data = false;
        std::uint8_t fixed = 0;
    };
    static std::optional<shape> shape_of(std::uint8_t type) noexcept
    {
        switch (type) {
        case 0x00:
        case 0x01:
        case 0x1e: return shape{0};  // PADDING, PING, DONE
        case 0x04: return shape{3};  // RESET_STREAM
        case 0x05:
        case 0x11:
        case 0x15: return shape{2};        // of one stream
        case 0x06: return shape{2, true};  // CRYPTO
        case 0x07: return shape{1, true};  // NEW_TOKEN
        case 0x10:
        case 0x12:
        case 0x13:
        case 0x14:
        case 0x16:
        case 0x17:                   // limits
        case 0x19: return shape{1};  // RETIRE_CONNECTION_ID
        case 0x1a:
        case 0x1b: return shape{0, false, 8};  // PATH_...
        case 0x1c: return shape{3, true};      // CONNECTION_CLOSE
        case 0x1d: return shape{2, true};
        case 0x31: return shape{1, true};  // DATAGRAM
        default: break;
        }
        // STREAM: an offset and a length where the bits say so. Without a length it is the last frame.
        if (type >= 0x08 && type <= 0x0f && (type & 2U) != 0)
            return shape{static_cast<std::uint8_t>((type & 4U) != 0 ? 3 : 2), true};
        return std::nullopt;
    }
    bool skip_body(std::uint8_t type) noexcept
    {
        if (type == 0x02 || type == 0x03) return skip_acknowledgement(type == 0x03);
        const auto s = shape_of(type);
        if (!s) return false;
        std::uint64_t last = s->fixed;
        for (unsigned i = 0; i < s->numbers; ++i) {
            const auto n = number();
            if (!n) return false;
            last = *n;
        }
        return (!s->data && s->fixed == 0) || skip(last);
    }
    bool skip_acknowledgement(bool ecn) noexcept
    {
        const auto largest = number();
        const auto delay = number();
        const auto ranges = number();
        if (!largest || !delay || !ranges || *ranges > rest_.size()) return false;
        for (std::uint64_t i = 0; i < 1 + 2 * *ranges + (ecn ? 3 : 0); ++i)
            if (!number()) return false;
        return true;
    }
    std::optional<std::uint64_t> number() noexcept
    {
        if (rest_.empty()) return std::nullopt;
        const std::size_t size = std::size_t{1} << (rest_.front() >> 6);
        if (rest_.size() < size) return std::nullopt;
        std::uint64_t out = rest_.front() & 0x3fU;
        for (std::size_t i = 1; i < size; ++i) out = out << 8 | rest_[i];
        rest_ = rest_.subspan(size);
        return out;
    }
    bool skip(std::uint64_t n) noexcept
    {
        if (n > rest_.size()) return false;
        rest_ = rest_.subspan(static_cast<std::size_t>(n));
        return true;
    }

    frames rest_;
};

/// ngtcp2 0.12 takes it that no id is retired twice before the peer has acknowledged the first time.
/// A peer that issues an id below `Retire Prior To` again, in whatever packet, asks for just that: such a
/// frame becomes PADDING, since what it asks for was done. \par Threads one.
class retired_ids {
public:
    /// Most sequence numbers kept beyond the first that is missing.
    static constexpr std::size_t max_ahead = 64;

    /// Looks at the frames of a packet, in the order of arrival.
    void look(std::span<std::uint8_t> plain)
    {
        frame_walk walk(plain);
        while (const auto frame = walk.next()) {
            if (repeats(frame->sequence, frame->retire_prior_to))
                std::fill(frame->whole.begin(), frame->whole.end(), std::uint8_t{0});
        }
    }
    /// Below it all ids are retired.
    [[nodiscard]] std::uint64_t retire_prior_to() const noexcept { return retire_prior_to_; }

private:
    bool repeats(std::uint64_t sequence, std::uint64_t retire_prior_to)
    {
        if (retire_prior_to > sequence) return false;  // an error of the peer's, which ngtcp2 finds
        retire_prior_to_ = std::max(retire_prior_to_, retire_prior_to);
        const bool seen = sequence < first_missing_ || !ahead_.insert(sequence).second;
        if (ahead_.size() > max_ahead) first_missing_ = *ahead_.begin();
        for (auto it = ahead_.begin(); it != ahead_.end() && *it <= first_missing_;) {
            first_missing_ = std::max(first_missing_, *it + 1);
            it = ahead_.erase(it);
        }
        return seen && sequence < retire_prior_to_;
    }

    std::uint64_t retire_prior_to_ = 0;
    /// The handshake issues 0, and may issue 1 (preferred_address).
    std::uint64_t first_missing_ = 2;
    std::set<std::uint64_t> ahead_;
};

}  // namespace copse::quic::detail
