// Counters of a connection, and how long what kept it from sending.
#pragma once

#include <copse/quic/impl/state.hpp>

#include <algorithm>

namespace copse::quic::detail {

namespace {

void add_blocked(connection_statistics& to, send_limit what, std::uint64_t time)
{
    switch (what) {
    case send_limit::none: return;
    case send_limit::congestion: to.blocked_by_congestion_ns += time; return;
    case send_limit::connection_credit: to.blocked_by_connection_credit_ns += time; return;
    case send_limit::stream_credit: to.blocked_by_stream_credit_ns += time; return;
    case send_limit::application: to.blocked_by_application_ns += time; return;
    }
}

}  // namespace

// Asked when ngtcp2 wrote nothing though it was offered what waits.
send_limit connection_state::what_limits(bool datagrams_wait, bool stream_waits) const
{
    if (datagrams_wait) return send_limit::congestion;
    if (stream_waits) {
        const bool credit = ::ngtcp2_conn_get_max_data_left(conn_) > 0;
        return credit ? send_limit::congestion : send_limit::connection_credit;
    }
    // A stream that waits for its own credit is not in the list of those ready.
    const auto unsent = [](const auto& entry) { return entry.second->sends(); };
    return std::ranges::any_of(streams_, unsent) ? send_limit::stream_credit
                                                 : send_limit::application;
}

void connection_state::limited_by(send_limit what, timestamp now)
{
    if (what == limit_) return;
    add_blocked(counted_, limit_, now - limited_since_);
    limit_ = what;
    limited_since_ = now;
}

connection_statistics connection_state::statistics() const
{
    connection_statistics out = counted_;
    if (!conn_) return out;
    add_blocked(out, limit_, timestamp_now() - limited_since_);
    native_statistics native;
    get_statistics(conn_, native);
    out.packets_lost = lost_packets(native);
    out.smoothed_rtt_ns = native.smoothed_rtt;
    out.latest_rtt_ns = native.latest_rtt;
    out.min_rtt_ns = native.min_rtt == UINT64_MAX ? 0 : native.min_rtt;
    out.rtt_variance_ns = native.rttvar;
    out.congestion_window = native.cwnd;
    out.slow_start_threshold = native.ssthresh;
    out.bytes_in_flight = native.bytes_in_flight;
    out.max_datagram_size = path_payload();
    return out;
}

}  // namespace copse::quic::detail
