// Dialling: all addresses of a peer, staggered (RFC 8305).
#pragma once

#include <copse/core/race.hpp>
#include <copse/quic/impl/endpoint_state.hpp>
#include <copse/quic/impl/ngtcp2_values.hpp>

#include <algorithm>
#include <deque>

namespace copse::quic {

namespace detail {

// How many addresses, and how long one has a head start before the next (RFC 8305 section 5).
inline constexpr std::size_t max_dialled_addresses = 16;
inline constexpr auto dial_stagger = std::chrono::milliseconds(250);

// Fills the report with every address once, and returns those to try, in the report's order: the
// caller's, but with the families taking turns (RFC 8305 section 4), so that a family without a route
// costs one head start and not one for each of its addresses.
inline std::vector<socket_address> plan_dial(const endpoint::state& ep,
                                             const std::vector<path_address>& paths,
                                             dial_report& report)
{
    report = {};
    std::deque<socket_address> first;
    std::deque<socket_address> second;
    std::vector<dial_attempt> unusable;
    std::set<path_address> seen;
    for (const path_address& path : paths) {
        if (!seen.insert(path).second) continue;
        const auto* const ip = std::get_if<socket_address>(&path);
        const bool dialable = ip && ip->port != 0 && !ip->is_unspecified();
        if (!dialable || !ep.socket_for(*ip)) {
            unusable.push_back({path, dial_attempt::outcome_type::unusable, {}, {}, {}});
            continue;
        }
        const bool same = first.empty() || first.front().family == ip->family;
        (same ? first : second).push_back(*ip);
    }
    std::vector<socket_address> out;
    for (; !first.empty() || !second.empty(); first.swap(second)) {
        if (first.empty()) continue;
        out.push_back(first.front());
        first.pop_front();
    }
    for (const socket_address& remote : out) {
        report.attempts.push_back({remote, dial_attempt::outcome_type::not_tried, {}, {}, {}});
    }
    report.attempts.insert(report.attempts.end(), unusable.begin(), unusable.end());
    if (out.size() > max_dialled_addresses) out.resize(max_dialled_addresses);
    return out;
}

using connection_result = result<std::shared_ptr<connection_state>>;

// What all attempts of one connect() share.
struct dial_race {
    dial_race(std::shared_ptr<endpoint::state> state, endpoint_id whom, std::string protocol)
        : ep(std::move(state)),
          peer(whom),
          alpn(std::move(protocol)),
          began(monotonic_clock::now()),
          changed(ep->ex)
    {}

    const std::shared_ptr<endpoint::state> ep;
    const endpoint_id peer;
    const std::string alpn;
    const time_point began;
    event changed;
    dial_report report;
    std::shared_ptr<connection_state> winner;
    std::shared_ptr<bool> won = std::make_shared<bool>(false);
    std::error_code error = transport_errc::unreachable;
    std::size_t failed = 0;
    std::size_t beats = 0;  ///< head starts that are over

    [[nodiscard]] std::chrono::nanoseconds elapsed() const
    {
        return monotonic_clock::now() - began;
    }
    void lost(std::size_t index, std::error_code why)
    {
        ++failed;
        dial_attempt& a = report.attempts[index];
        const bool abandoned = winner || why == std::errc::operation_canceled;
        a.outcome =
            abandoned ? dial_attempt::outcome_type::abandoned : dial_attempt::outcome_type::failed;
        if (abandoned) return;
        a.error = why;
        // The most telling error wins: an answer of the wrong kind says more than silence.
        const auto silent = [](const std::error_code& e) {
            return e == transport_errc::unreachable || e == transport_errc::handshake_timeout ||
                   e == transport_errc::idle_timeout;
        };
        if (silent(error)) error = why;
    }
};

// One attempt at one address.
inline awaitable<connection_result> dial(std::shared_ptr<dial_race> race, socket_address remote)
{
    endpoint::state& ep = *race->ep;
    if (ep.draining || ep.closing_down) co_return transport_errc::closed_locally;
    // Not earlier: the network may have changed since the dial began.
    const auto socket = ep.socket_for(remote);
    if (!socket) co_return transport_errc::unreachable;
    credit place = ep.places.try_take(1);
    if (!place) co_return transport_errc::limit_reached;
    const auto c = std::make_shared<connection_state>(ep, ep.next_serial++, false);
    c->place_ = std::move(place);
    ep.connections.emplace(c->serial_, c);
    ++ep.dials;
    c->race_won_ = race->won;
    const auto started = c->start_client(race->peer, race->alpn, *socket, remote);
    if (!started) {
        c->close(0, {});
        co_return started.error();
    }
    ep.mark_dirty(*c);
    while (!c->established() && !c->why_) {
        const std::error_code ec = co_await c->established_changed_.wait();
        if (ec) {
            c->close(0, {});
            co_return ec;
        }
    }
    if (c->why_) co_return c->why_->error;
    co_return c;
}

inline awaitable<void> dial_entry(std::shared_ptr<dial_race> race, socket_address remote,
                                  std::size_t index)
{
    race->report.attempts[index].start = race->elapsed();
    race->report.attempts[index].outcome = dial_attempt::outcome_type::pending;
    auto dialled = co_await dial(race, remote);
    dial_attempt& a = race->report.attempts[index];
    a.duration = race->elapsed() - a.start;
    if (dialled) {
        race->winner = std::move(dialled).assume_value();  // the only one: see race_won_
        a.outcome = dial_attempt::outcome_type::connected;
    } else {
        race->lost(index, dialled.error());
    }
    race->changed.notify_all();
}

// Runs the race to its end; the error is that of a cancelled caller.
inline awaitable<std::error_code> run_dial(std::shared_ptr<dial_race> race,
                                           std::vector<socket_address> targets)
{
    scope attempts(race->ep->ex);
    std::size_t started = 0;
    std::error_code stopped;
    while (!race->winner && race->failed < targets.size() && !stopped) {
        if (started < targets.size()) {
            attempts.spawn(dial_entry(race, targets[started], started));
            ++started;
            const std::size_t failed = race->failed;
            if (started == targets.size()) continue;
            // Until the head start is over, or a failure makes room at once.
            timer head_start(race->ep->ex);
            head_start.expires_after(dial_stagger);
            const std::size_t beats = race->beats;
            head_start.async_wait([race](std::error_code ec) {
                if (ec) return;  // a failure came first: the next head start is not over
                ++race->beats;
                race->changed.notify_all();
            });
            while (race->beats == beats && !race->winner && race->failed == failed && !stopped) {
                stopped = co_await race->changed.wait();
            }
            continue;
        }
        stopped = co_await race->changed.wait();
    }
    attempts.request_stop();
    const auto joined = co_await attempts.join();
    static_cast<void>(joined);  // attempts report through the race
    co_return stopped;
}

inline std::string describe(const path_address& path)
{
    if (const auto* const ip = std::get_if<socket_address>(&path)) return ip->to_string();
    if (const auto* const custom = std::get_if<custom_address>(&path)) {
        return "transport " + std::to_string(custom->transport);
    }
    // From a ticket, so from anybody: nothing of it may act on a terminal.
    std::string out = "relay " + std::get<relay_address>(path).url.substr(0, 200);
    for (char& ch : out) {
        if (ch < ' ' || ch > '~') ch = '?';
    }
    return out;
}

}  // namespace detail

awaitable<result<std::shared_ptr<connection>>> endpoint::connect(endpoint_address peer,
                                                                 std::string alpn)
{
    dial_report unread;
    auto dialled = co_await connect(std::move(peer), std::move(alpn), unread);
    co_return dialled;
}

awaitable<result<std::shared_ptr<connection>>> endpoint::connect(endpoint_address peer,
                                                                 std::string alpn,
                                                                 dial_report& report)
{
    const auto ep = state_;
    report = {};
    if (alpn.empty() || alpn.size() > max_alpn_bytes) {
        co_return make_error_code(std::errc::invalid_argument);
    }
    const auto race = std::make_shared<detail::dial_race>(ep, peer.id, std::move(alpn));
    std::vector<socket_address> targets = detail::plan_dial(*ep, peer.paths, race->report);
    std::error_code stopped;
    if (targets.empty()) race->error = transport_errc::no_usable_address;
    else stopped = co_await detail::run_dial(race, std::move(targets));
    race->report.total = race->elapsed();
    report = std::move(race->report);
    if (race->winner) {
        std::shared_ptr<connection> made =
            std::make_shared<detail::connection_handle>(race->winner, ep->options.send_buffer);
        if (!stopped) co_return made;
    }
    if (stopped) co_return stopped;
    co_return race->error;
}

std::string dial_report::to_string() const
{
    const auto ms = [](std::chrono::nanoseconds d) {
        return std::to_string(std::chrono::round<std::chrono::milliseconds>(d).count()) + " ms";
    };
    std::string out;
    for (const dial_attempt& a : attempts) {
        if (!out.empty()) out += '\n';
        out += detail::describe(a.address) + ": ";
        const std::string when = ", tried at " + ms(a.start) + " for " + ms(a.duration);
        switch (a.outcome) {
        case dial_attempt::outcome_type::not_tried: out += "not tried"; break;
        case dial_attempt::outcome_type::unusable: out += "cannot be dialled here"; break;
        case dial_attempt::outcome_type::pending: out += "under way"; break;
        case dial_attempt::outcome_type::abandoned: out += "abandoned" + when; break;
        case dial_attempt::outcome_type::failed: out += a.error.message() + when; break;
        case dial_attempt::outcome_type::connected: out += "connected" + when; break;
        }
    }
    return out;
}

}  // namespace copse::quic
