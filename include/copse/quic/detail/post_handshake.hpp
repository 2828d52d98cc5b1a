// What TLS messages may still come once the handshake is complete. Internal to quic/.
#pragma once

#include <copse/core/bytes.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace copse::quic::detail {

/// Reads past the messages that a TLS peer sends behind the handshake. In QUIC a server may send
/// session tickets, of which we take none, and nobody may send anything else.
/// \par Spec RFC 8446 section 4.6, RFC 9001 sections 4.4 and 6.
class post_handshake {
public:
    /// \return false when the message is forbidden: close with the alert unexpected_message.
    [[nodiscard]] bool receive(byte_view data, bool from_server) noexcept
    {
        while (!data.empty()) {
            if (body_ > 0) {
                const auto n = std::min<std::size_t>(body_, data.size());
                body_ -= static_cast<std::uint32_t>(n);
                data = data.subspan(n);
                continue;
            }
            const auto next = std::to_integer<std::uint32_t>(data.front());
            data = data.subspan(1);
            if (header_ == 0) {
                if (!from_server || next != new_session_ticket) return false;
                length_ = 0;
            } else {
                length_ = length_ << 8 | next;
            }
            if (++header_ < 4) continue;
            header_ = 0;
            body_ = length_;
        }
        return true;
    }

private:
    static constexpr std::uint32_t new_session_ticket = 4;

    std::uint32_t body_ = 0;    // bytes of the message's body still to come
    std::uint32_t length_ = 0;  // as far as it is known
    std::uint8_t header_ = 0;   // bytes of type and length that came
};

}  // namespace copse::quic::detail
