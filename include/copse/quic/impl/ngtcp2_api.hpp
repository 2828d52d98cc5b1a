// The only place that knows the difference between ngtcp2 0.12 (Debian 12) and 1.x (Debian 13).
// Internal to quic/.
#pragma once

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace copse::quic::detail {

inline constexpr bool ngtcp2_is_v1 = NGTCP2_VERSION_NUM >= 0x010000;

/// Content of a CONNECTION_CLOSE frame in either direction.
struct close_frame {
    bool application = false;
    bool idle = false;
    std::uint64_t code = 0;
    std::string_view reason;  ///< valid until the connection is used again
};

#if NGTCP2_VERSION_NUM >= 0x010000
using native_close = ngtcp2_ccerr;
inline void set_application(native_close& e, std::uint64_t code, std::string_view reason)
{
    ::ngtcp2_ccerr_set_application_error(&e, code, reinterpret_cast<const uint8_t*>(reason.data()),
                                         reason.size());
}
inline void set_transport(native_close& e, std::uint64_t code)
{
    ::ngtcp2_ccerr_set_transport_error(&e, code, nullptr, 0);
}
inline void set_tls_alert(native_close& e, std::uint8_t alert)
{
    ::ngtcp2_ccerr_set_tls_alert(&e, alert, nullptr, 0);
}
inline void set_library_error(native_close& e, int error)
{
    ::ngtcp2_ccerr_set_liberr(&e, error, nullptr, 0);
}
inline void set_default(native_close& e)
{
    ::ngtcp2_ccerr_default(&e);
}
inline close_frame received_close(ngtcp2_conn* conn)
{
    const ngtcp2_ccerr* const e = ::ngtcp2_conn_get_ccerr(conn);
    return {e->type == NGTCP2_CCERR_TYPE_APPLICATION,
            e->type == NGTCP2_CCERR_TYPE_IDLE_CLOSE,
            e->error_code,
            {reinterpret_cast<const char*>(e->reason), e->reasonlen}};
}
inline int shutdown_read(ngtcp2_conn* conn, std::int64_t id, std::uint64_t code)
{
    return ::ngtcp2_conn_shutdown_stream_read(conn, 0, id, code);
}
inline int shutdown_write(ngtcp2_conn* conn, std::int64_t id, std::uint64_t code)
{
    return ::ngtcp2_conn_shutdown_stream_write(conn, 0, id, code);
}
/// Which sizes path MTU discovery tries, best first; `probes` must outlive the connection's start.
inline void set_probes(ngtcp2_settings& settings, std::span<const std::uint16_t> probes)
{
    settings.pmtud_probes = probes.data();
    settings.pmtud_probeslen = probes.size();
}
/// Clients pass their first destination id; servers have it in their parameters here.
inline void set_qlog(ngtcp2_settings& settings, ngtcp2_qlog_write write, const ngtcp2_cid&)
{
    settings.qlog_write = write;
}
using native_statistics = ngtcp2_conn_info;
inline void get_statistics(ngtcp2_conn* conn, native_statistics& out)
{
    ::ngtcp2_conn_get_conn_info(conn, &out);
}
inline std::optional<std::uint64_t> lost_packets(const native_statistics& from)
{
#ifdef NGTCP2_CONN_INFO_V2
    return from.pkt_lost;
#else
    static_cast<void>(from);
    return std::nullopt;
#endif
}
inline void set_original_dcid(ngtcp2_transport_params& params, const ngtcp2_cid& dcid)
{
    params.original_dcid = dcid;
    params.original_dcid_present = 1;
}
inline ngtcp2_vec token_of(const ngtcp2_pkt_hd& header)
{
    return {const_cast<std::uint8_t*>(header.token), header.tokenlen};
}
inline void set_token(ngtcp2_settings& settings, const ngtcp2_pkt_hd& header)
{
    settings.token = header.token;
    settings.tokenlen = header.tokenlen;
    settings.token_type = NGTCP2_TOKEN_TYPE_RETRY;
}
/// Calls `Told(bool works, void* user)` when a path was validated, or was not and is given up.
template <auto Told>
void on_path_validation(ngtcp2_callbacks& c)
{
    c.path_validation = [](ngtcp2_conn*, std::uint32_t, const ngtcp2_path*, const ngtcp2_path*,
                           ngtcp2_path_validation_result r, void* user) {
        if (r != NGTCP2_PATH_VALIDATION_RESULT_ABORTED)
            Told(r == NGTCP2_PATH_VALIDATION_RESULT_SUCCESS, user);
        return 0;
    };
}
#else
using native_close = ngtcp2_connection_close_error;
template <auto Told>
void on_path_validation(ngtcp2_callbacks& c)
{
    c.path_validation = [](ngtcp2_conn*, std::uint32_t, const ngtcp2_path*,
                           ngtcp2_path_validation_result r, void* user) {
        if (r != NGTCP2_PATH_VALIDATION_RESULT_ABORTED)
            Told(r == NGTCP2_PATH_VALIDATION_RESULT_SUCCESS, user);
        return 0;
    };
}
inline void set_application(native_close& e, std::uint64_t code, std::string_view reason)
{
    ::ngtcp2_connection_close_error_set_application_error(
        &e, code, reinterpret_cast<const uint8_t*>(reason.data()), reason.size());
}
inline void set_transport(native_close& e, std::uint64_t code)
{
    ::ngtcp2_connection_close_error_set_transport_error(&e, code, nullptr, 0);
}
inline void set_tls_alert(native_close& e, std::uint8_t alert)
{
    ::ngtcp2_connection_close_error_set_transport_error_tls_alert(&e, alert, nullptr, 0);
}
inline void set_library_error(native_close& e, int error)
{
    ::ngtcp2_connection_close_error_set_transport_error_liberr(&e, error, nullptr, 0);
}
inline void set_default(native_close& e)
{
    ::ngtcp2_connection_close_error_default(&e);
}
inline close_frame received_close(ngtcp2_conn* conn)
{
    ngtcp2_connection_close_error e;
    ::ngtcp2_conn_get_connection_close_error(conn, &e);
    return {e.type == NGTCP2_CONNECTION_CLOSE_ERROR_CODE_TYPE_APPLICATION,
            e.type == NGTCP2_CONNECTION_CLOSE_ERROR_CODE_TYPE_TRANSPORT_IDLE_CLOSE,
            e.error_code,
            {reinterpret_cast<const char*>(e.reason), e.reasonlen}};
}
inline int shutdown_read(ngtcp2_conn* conn, std::int64_t id, std::uint64_t code)
{
    return ::ngtcp2_conn_shutdown_stream_read(conn, id, code);
}
inline int shutdown_write(ngtcp2_conn* conn, std::int64_t id, std::uint64_t code)
{
    return ::ngtcp2_conn_shutdown_stream_write(conn, id, code);
}
/// Version 0.12 has its own list, which ends at 1444.
inline void set_probes(ngtcp2_settings&, std::span<const std::uint16_t>) {}
inline void set_qlog(ngtcp2_settings& settings, ngtcp2_qlog_write write, const ngtcp2_cid& odcid)
{
    settings.qlog.write = write;
    settings.qlog.odcid = odcid;
}
using native_statistics = ngtcp2_conn_stat;
inline void get_statistics(ngtcp2_conn* conn, native_statistics& out)
{
    ::ngtcp2_conn_get_conn_stat(conn, &out);
}
inline std::optional<std::uint64_t> lost_packets(const native_statistics&)
{
    return std::nullopt;
}
inline void set_original_dcid(ngtcp2_transport_params& params, const ngtcp2_cid& dcid)
{
    params.original_dcid = dcid;
}
inline ngtcp2_vec token_of(const ngtcp2_pkt_hd& header)
{
    return header.token;
}
inline void set_token(ngtcp2_settings& settings, const ngtcp2_pkt_hd& header)
{
    settings.token = header.token;
}
#endif

}  // namespace copse::quic::detail
