// Failures that any transport can report.
#pragma once

#include <string>
#include <system_error>

namespace copse {

/// What went wrong on a connection or stream, whatever carries it.
enum class transport_errc {
    closed_by_peer = 1,  ///< The peer closed the connection; its code and reason are kept there.
    closed_locally,      ///< This side closed the connection or the endpoint.
    idle_timeout,        ///< Nothing arrived for the idle timeout; dial again.
    handshake_timeout,   ///< The peer did not complete the handshake; check address and firewall.
    handshake_failed,    ///< TLS or QUIC handshake failed; see the connection's close reason.
    no_common_protocol,  ///< The peer does not speak the requested ALPN.
    peer_id_mismatch,    ///< Another identity answered at this address; the ticket may be old.
    protocol_violation,  ///< The peer broke the transport protocol; drop it.
    stream_reset,        ///< The peer aborted its sending side; see reset_code().
    stream_stopped,      ///< The peer asked to stop sending; see stop_code().
    unreachable,         ///< No known address of the peer answered.
    no_usable_address,   ///< The peer's address holds nothing this endpoint can dial.
    limit_reached,       ///< A local limit (connections, streams, budget) is used up; retry later.
    sink_failed,         ///< The consumer of a stream refused its data.
    refused,             ///< The peer takes no further connections now; try again later.
};

inline const std::error_category& transport_category() noexcept
{
    static const struct category_type final : std::error_category {
        const char* name() const noexcept override { return "copse.transport"; }
        std::string message(int ev) const override
        {
            switch (static_cast<transport_errc>(ev)) {
            case transport_errc::closed_by_peer: return "connection closed by the peer";
            case transport_errc::closed_locally: return "connection closed by this side";
            case transport_errc::idle_timeout:
                return "connection lost: nothing heard from the peer";
            case transport_errc::handshake_timeout:
                return "the peer did not complete the handshake";
            case transport_errc::handshake_failed: return "handshake failed";
            case transport_errc::no_common_protocol: return "the peer does not speak this protocol";
            case transport_errc::peer_id_mismatch: return "another identity answered";
            case transport_errc::protocol_violation:
                return "the peer violated the transport protocol";
            case transport_errc::stream_reset: return "the peer aborted the stream";
            case transport_errc::stream_stopped: return "the peer does not want the stream's data";
            case transport_errc::unreachable: return "no address of the peer answered";
            case transport_errc::no_usable_address: return "no usable address of the peer is known";
            case transport_errc::limit_reached: return "a local limit is used up";
            case transport_errc::sink_failed: return "the stream's consumer refused its data";
            case transport_errc::refused: return "the peer takes no connections now";
            }
            return "unknown transport error";
        }
    } category;
    return category;
}

inline std::error_code make_error_code(transport_errc e) noexcept
{
    return {static_cast<int>(e), transport_category()};
}

}  // namespace copse

template <>
struct std::is_error_code_enum<copse::transport_errc> : std::true_type {};
