// One connection over ngtcp2: callbacks in, packets out, streams between.
#pragma once

#include <copse/core/entropy.hpp>
#include <copse/quic/impl/state.hpp>

#include <algorithm>
#include <cassert>
#include <cstring>

namespace copse::quic::detail {

// TLS alert of a certificate by an unknown authority: what real peers send when the id differs.
inline constexpr std::uint8_t alert_unknown_ca = 48;
inline constexpr std::uint64_t crypto_error_base = 0x100;  // RFC 9001 section 4.8
inline constexpr std::uint64_t alert_no_application_protocol = 120;
inline constexpr std::size_t max_reason = 256;
// Flush for credit alone once this much came back, or a quarter of the smallest window if that is
// less: before ngtcp2's smallest threshold.
inline constexpr std::size_t credit_flush_bytes = 8U << 10;

inline const std::uint8_t* raw_bytes(const std::byte* p) noexcept
{
    return reinterpret_cast<const std::uint8_t*>(p);
}
inline std::uint8_t* raw_bytes(std::byte* p) noexcept
{
    return reinterpret_cast<std::uint8_t*>(p);
}

inline socklen_t fill_sockaddr(const socket_address& from, ngtcp2_sockaddr_union& out) noexcept
{
    std::memset(&out, 0, sizeof out);
    if (from.is_v4()) {
        out.in.sin_family = AF_INET;
        out.in.sin_port = __builtin_bswap16(from.port);
        std::memcpy(&out.in.sin_addr, from.ip.data(), 4);
        return sizeof out.in;
    }
    out.in6.sin6_family = AF_INET6;
    out.in6.sin6_port = __builtin_bswap16(from.port);
    out.in6.sin6_scope_id = from.scope_id;
    std::memcpy(&out.in6.sin6_addr, from.ip.data(), 16);
    return sizeof out.in6;
}

inline socket_address read_sockaddr(const ngtcp2_addr& from) noexcept
{
    socket_address out;
    if (from.addr->sa_family == AF_INET) {
        sockaddr_in in;
        std::memcpy(&in, from.addr, sizeof in);
        out.port = __builtin_bswap16(in.sin_port);
        std::memcpy(out.ip.data(), &in.sin_addr, 4);
        return out;
    }
    sockaddr_in6 in;
    std::memcpy(&in, from.addr, sizeof in);
    out.family = socket_address::family_type::v6;
    out.port = __builtin_bswap16(in.sin6_port);
    out.scope_id = in.sin6_scope_id;
    std::memcpy(out.ip.data(), &in.sin6_addr, 16);
    return out;
}

/// A network path as ngtcp2 wants it; must not move while the path is in use.
struct path_buffer {
    path_buffer(const socket_address& local, const socket_address& remote) noexcept
    {
        path.local.addr = &local_address.sa;
        path.local.addrlen = fill_sockaddr(local, local_address);
        path.remote.addr = &remote_address.sa;
        path.remote.addrlen = fill_sockaddr(remote, remote_address);
    }
    path_buffer(const path_buffer&) = delete;
    path_buffer& operator=(const path_buffer&) = delete;

    ngtcp2_sockaddr_union local_address;
    ngtcp2_sockaddr_union remote_address;
    ngtcp2_path path{};
};

// ---- callbacks: from C to members --------------------------------------------------------------

inline connection_state& self(void* user_data) noexcept
{
    return *static_cast<connection_state*>(user_data);
}

inline ngtcp2_callbacks make_callbacks() noexcept
{
    ngtcp2_callbacks c{};
    c.client_initial = ngtcp2_crypto_client_initial_cb;
    c.recv_client_initial = ngtcp2_crypto_recv_client_initial_cb;
    c.recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb;
    c.encrypt = ngtcp2_crypto_encrypt_cb;
    c.decrypt = ngtcp2_crypto_decrypt_cb;
    c.hp_mask = ngtcp2_crypto_hp_mask_cb;
    c.recv_retry = ngtcp2_crypto_recv_retry_cb;
    c.update_key = ngtcp2_crypto_update_key_cb;
    c.delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb;
    c.delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb;
    c.get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb;
    c.version_negotiation = ngtcp2_crypto_version_negotiation_cb;
    c.rand = [](std::uint8_t* out, std::size_t n, const ngtcp2_rand_ctx*) {
        fill_random({reinterpret_cast<std::byte*>(out), n});
    };
    c.get_new_connection_id = [](ngtcp2_conn*, ngtcp2_cid* cid, std::uint8_t* token,
                                 std::size_t length, void* user) {
        return self(user).on_new_connection_id(cid, token, length);
    };
    c.remove_connection_id = [](ngtcp2_conn*, const ngtcp2_cid* cid, void* user) {
        self(user).on_retired_connection_id(*cid);
        return 0;
    };
    c.handshake_completed = [](ngtcp2_conn*, void* user) {
        return self(user).on_handshake_completed();
    };
    c.recv_stream_data = [](ngtcp2_conn*, std::uint32_t flags, std::int64_t id, std::uint64_t,
                            const std::uint8_t* data, std::size_t n, void* user, void* stream) {
        return self(user).on_stream_data(flags, id, {reinterpret_cast<const std::byte*>(data), n},
                                         static_cast<stream_state*>(stream));
    };
    c.stream_open = [](ngtcp2_conn*, std::int64_t id, void* user) {
        return self(user).on_stream_open(id);
    };
    c.stream_close = [](ngtcp2_conn*, std::uint32_t flags, std::int64_t id, std::uint64_t code,
                        void* user, void* stream) {
        return self(user).on_stream_close(flags, id, code, static_cast<stream_state*>(stream));
    };
    c.stream_reset = [](ngtcp2_conn*, std::int64_t, std::uint64_t, std::uint64_t code, void* user,
                        void* stream) {
        return self(user).on_stream_reset(code, static_cast<stream_state*>(stream));
    };
    c.acked_stream_data_offset = [](ngtcp2_conn*, std::int64_t, std::uint64_t offset,
                                    std::uint64_t n, void* user, void* stream) {
        return self(user).on_acked(offset, n, static_cast<stream_state*>(stream));
    };
    c.extend_max_local_streams_bidi = [](ngtcp2_conn*, std::uint64_t, void* user) {
        self(user).on_peer_stream_limit();
        return 0;
    };
    c.extend_max_local_streams_uni = c.extend_max_local_streams_bidi;
    c.extend_max_stream_data = [](ngtcp2_conn*, std::int64_t, std::uint64_t, void* user,
                                  void* stream) {
        self(user).on_stream_window(static_cast<stream_state*>(stream));
        return 0;
    };
    return c;
}

// ---- construction --------------------------------------------------------------------------------

connection_state::connection_state(endpoint::state& owner, std::uint64_t serial, bool server)
    : owner_(&owner),
      serial_(serial),
      server_(server),
      ex_(owner.ex),
      established_changed_(ex_),
      open_changed_(ex_),
      incoming_changed_(ex_),
      closed_changed_(ex_),
      windows_("quic local stream windows", owner.options.local_windows_total)
{
    ref_.get_conn = [](ngtcp2_crypto_conn_ref* r) {
        return static_cast<tls_peer*>(r->user_data)->conn;
    };
    ref_.user_data = &peer_;
}

connection_state::~connection_state()
{
    if (conn_) ::ngtcp2_conn_del(conn_);
    if (session_) ::gnutls_deinit(session_);
}

namespace {

ngtcp2_settings make_settings(const endpoint_options& o, timestamp now)
{
    ngtcp2_settings s;
    ::ngtcp2_settings_default(&s);
    s.initial_ts = now;
    s.cc_algo = NGTCP2_CC_ALGO_CUBIC;
    s.handshake_timeout = static_cast<ngtcp2_duration>(o.handshake_timeout.count());
    s.max_tx_udp_payload_size = o.max_datagram_size;
    s.ack_thresh = 10;
    return s;
}

ngtcp2_transport_params make_parameters(const endpoint_options& o)
{
    ngtcp2_transport_params p;
    ::ngtcp2_transport_params_default(&p);
    p.max_idle_timeout = static_cast<ngtcp2_duration>(o.idle_timeout.count());
    p.active_connection_id_limit = 5;
    p.initial_max_data = o.connection_window;
    p.initial_max_stream_data_bidi_local = o.local_stream_window;
    p.initial_max_stream_data_bidi_remote = o.remote_stream_window;
    p.initial_max_stream_data_uni = o.remote_stream_window;
    p.initial_max_streams_bidi = o.max_remote_streams;
    p.initial_max_streams_uni = o.max_remote_streams;
    return p;
}

ngtcp2_cid random_cid(std::size_t length)
{
    ngtcp2_cid cid{};
    cid.datalen = length;
    fill_random({reinterpret_cast<std::byte*>(cid.data), length});
    cid.data[0] = length == connection_id_length ? std::uint8_t{0} : cid.data[0];
    return cid;
}

}  // namespace

void connection_state::start(ngtcp2_conn* conn)
{
    conn_ = conn;
    peer_.conn = conn;
    ::ngtcp2_conn_set_tls_native_handle(conn_, session_);
    ::ngtcp2_conn_set_keep_alive_timeout(
        conn_, static_cast<ngtcp2_duration>(owner_->options.keep_alive.count()));
}

result<void> connection_state::start_client(const endpoint_id& peer, std::string_view alpn,
                                            std::size_t socket, const socket_address& remote)
{
    const endpoint_options& o = owner_->options;
    reserved_ = owner_->receive_budget.try_take(o.connection_window);
    if (!reserved_) return transport_errc::limit_reached;
    peer_id_ = peer;
    peer_.expected = peer;
    alpn_ = alpn;
    remote_ = remote;
    socket_ = socket;
    local_ = owner_->sockets[socket]->local_address();
    COPSE_TRY(session_, owner_->tls->client_session(&ref_, alpn));

    const timestamp now = timestamp_now();
    const ngtcp2_settings settings = make_settings(o, now);
    const ngtcp2_transport_params parameters = make_parameters(o);
    const ngtcp2_callbacks callbacks = make_callbacks();
    const ngtcp2_cid dcid = random_cid(16);
    const ngtcp2_cid scid = random_cid(connection_id_length);
    const path_buffer path(local_, remote_);
    ngtcp2_conn* conn = nullptr;
    if (::ngtcp2_conn_client_new(&conn, &dcid, &scid, &path.path, NGTCP2_PROTO_VER_V1, &callbacks,
                                 &settings, &parameters, nullptr, this) != 0) {
        return make_error_code(std::errc::not_enough_memory);
    }
    ids_.emplace(scid.data, scid.datalen);
    owner_->routes.emplace(connection_id(scid.data, scid.datalen), this);
    start(conn);
    return outcome::success();
}

result<void> connection_state::start_server(const ngtcp2_pkt_hd& header, std::size_t socket,
                                            const socket_address& local,
                                            const socket_address& remote,
                                            std::span<const std::string> alpns)
{
    const endpoint_options& o = owner_->options;
    reserved_ = owner_->receive_budget.try_take(o.connection_window);
    if (!reserved_) return transport_errc::limit_reached;
    remote_ = remote;
    socket_ = socket;
    local_ = local;
    COPSE_TRY(session_, owner_->tls->server_session(&ref_, alpns));

    const timestamp now = timestamp_now();
    const ngtcp2_settings settings = make_settings(o, now);
    ngtcp2_transport_params parameters = make_parameters(o);
    set_original_dcid(parameters, header.dcid);
    const ngtcp2_callbacks callbacks = make_callbacks();
    const ngtcp2_cid scid = random_cid(connection_id_length);
    const path_buffer path(local_, remote_);
    ngtcp2_conn* conn = nullptr;
    if (::ngtcp2_conn_server_new(&conn, &header.scid, &scid, &path.path, header.version, &callbacks,
                                 &settings, &parameters, nullptr, this) != 0) {
        return make_error_code(std::errc::not_enough_memory);
    }
    // The client's first destination id routes its next Initials (and duplicates) here too.
    for (const ngtcp2_cid& cid : {scid, header.dcid}) {
        ids_.emplace(cid.data, cid.datalen);
        owner_->routes.emplace(connection_id(cid.data, cid.datalen), this);
    }
    start(conn);
    return outcome::success();
}

// ---- receiving ------------------------------------------------------------------------------------

void connection_state::receive(byte_view datagram, const ngtcp2_path& path, std::uint8_t ecn,
                               timestamp now)
{
    if (!conn_ || !owner_) return;
    bytes_received_ += datagram.size();
    ++packets_received_;
    ngtcp2_pkt_info info{};
    info.ecn = ecn;
    ngtcp2_path known = path;
    const path_buffer own(local_, remote_);
    // A dialler bound to a wildcard address does not follow the local address the reply came to.
    if (!server_) known.local = own.path.local;
    reading_ = heard_ = true;
    const int rv = ::ngtcp2_conn_read_pkt(conn_, &known, &info, raw_bytes(datagram.data()),
                                          datagram.size(), now);
    reading_ = false;
    if (rv != 0) {
        fail(rv);
        return;
    }
    after_read();
}

void connection_state::after_read()
{
    if (std::exchange(completed_now_, false)) {
        established_ = true;
        alpn_ = selected_alpn(session_);
        peer_id_ = *peer_.found;
        established_changed_.notify_all();
        owner_->established(shared_from_this());
    }
    for (auto& s : std::exchange(failed_sinks_, {})) stop_stream(*s, s->sink_stop_code);
    if (close_wanted_ && owner_) {
        const close_reason wanted = *std::exchange(close_wanted_, std::nullopt);
        close(wanted.code, wanted.reason, wanted.application);
    }
    if (owner_) owner_->mark_dirty(*this);
}

void connection_state::fail(int error)
{
    close_reason why;
    switch (error) {
    case NGTCP2_ERR_DRAINING: {
        const close_frame frame = received_close(conn_);
        why.by_peer = true;
        why.application = frame.application;
        why.code = frame.code;
        why.reason = std::string(frame.reason.substr(0, max_reason));
        why.error = transport_errc::closed_by_peer;
        if (!frame.application && frame.code == crypto_error_base + alert_no_application_protocol) {
            why.error = transport_errc::no_common_protocol;
        } else if (!established_) {
            why.error = transport_errc::handshake_failed;
        }
        // Draining: copies of the first packets that come late are not a new connection.
        closing_connection record;
        record.until = timestamp_now() + 3 * ::ngtcp2_conn_get_pto(conn_);
        end(std::move(why), std::move(record));
        return;
    }
    case NGTCP2_ERR_IDLE_CLOSE: why.error = transport_errc::idle_timeout; break;
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT: why.error = transport_errc::handshake_timeout; break;
    case NGTCP2_ERR_DROP_CONN:
    case NGTCP2_ERR_RETRY: why.error = transport_errc::handshake_failed; break;
    default: break;
    }
    if (why.error) {
        end(std::move(why));
        return;
    }
    native_close native;
    set_default(native);
    why.error =
        established_ ? transport_errc::protocol_violation : transport_errc::handshake_failed;
    if (peer_.mismatch) {
        why.error = transport_errc::peer_id_mismatch;
        why.code = crypto_error_base + alert_unknown_ca;
        set_tls_alert(native, alert_unknown_ca);
    } else if (error == NGTCP2_ERR_CRYPTO) {
        const std::uint8_t alert = ::ngtcp2_conn_get_tls_alert(conn_);
        if (alert == alert_no_application_protocol) why.error = transport_errc::no_common_protocol;
        why.code = crypto_error_base + alert;
        set_tls_alert(native, alert);
    } else {
        set_library_error(native, error);
        why.code = native.error_code;
        why.reason = ::ngtcp2_strerror(error);
    }
    end(std::move(why), write_close(native));
}

// Writes and sends the close packet, and leaves what answers stragglers with it.
closing_connection connection_state::write_close(const native_close& native)
{
    closing_connection record;
    record.packet.resize(1200);
    ngtcp2_path_storage path;
    ::ngtcp2_path_storage_zero(&path);
    ngtcp2_pkt_info info{};
    const timestamp now = timestamp_now();
    const auto n = ::ngtcp2_conn_write_connection_close(conn_, &path.path, &info,
                                                        raw_bytes(record.packet.data()),
                                                        record.packet.size(), &native, now);
    if (n <= 0) return {};
    record.packet.resize(static_cast<std::size_t>(n));
    const socket_address local = read_sockaddr(path.path.local);
    record.socket = owner_->socket_at(local, socket_);
    record.remote = read_sockaddr(path.path.remote);
    if (server_) record.local = local;
    record.until = now + 3 * ::ngtcp2_conn_get_pto(conn_);
    outgoing_datagrams out;
    out.bytes = record.packet;
    out.segment_size = record.packet.size();
    out.to = record.remote;
    out.from = record.local;
    owner_->send(record.socket, out);
    return record;
}

int connection_state::on_handshake_completed()
{
    if (!peer_.found) return NGTCP2_ERR_CALLBACK_FAILURE;
    completed_now_ = true;
    return 0;
}

std::shared_ptr<stream_state> connection_state::adopt(std::int64_t id)
{
    auto s = std::make_shared<stream_state>(ex_, id);
    streams_.emplace(id, s);
    ::ngtcp2_conn_set_stream_user_data(conn_, id, s.get());
    return s;
}

int connection_state::on_stream_open(std::int64_t id)
{
    auto s = adopt(id);
    s->unaccepted = true;
    const bool bidirectional = (id & 2) == 0;
    (bidirectional ? incoming_bi_ : incoming_uni_).push_back(std::move(s));
    incoming_changed_.notify_all();
    return 0;
}

int connection_state::on_stream_data(std::uint32_t flags, std::int64_t id, byte_view data,
                                     stream_state* s)
{
    static_cast<void>(id);
    if (!s) return NGTCP2_ERR_CALLBACK_FAILURE;
    s->received += data.size();
    if (s->recv_stopped) {
        // Not forwarded any more: the connection gets its credit at once.
        ::ngtcp2_conn_extend_max_offset(conn_, data.size());
        return 0;
    }
    if (flags & NGTCP2_STREAM_DATA_FLAG_FIN) s->fin_received = true;
    if (s->sink && !s->sink_error && s->queued() == 0 && !data.empty()) {
        const auto verdict = s->sink->consume(data);
        if (!verdict) {
            s->sink_error = verdict.error();
            s->sink_stop_code = s->sink->stop_code();
            s->uncredited += data.size();
            failed_sinks_.push_back(streams_.at(s->id));
            s->recv_changed.notify_all();
            return 0;
        }
        const sink_verdict v = verdict.assume_value();
        s->uncredited += v.accepted;
        credit_stream(*s, v.credit);
        data = data.subspan(v.accepted);
        if (data.empty()) {
            if (s->fin_received) s->recv_changed.notify_all();
            return 0;
        }
    }
    // A reader that never catches up must not leave what it has read behind.
    if (s->head > s->queued()) {
        s->queue.erase(s->queue.begin(), s->queue.begin() + static_cast<std::ptrdiff_t>(s->head));
        s->head = 0;
    }
    s->queue.insert(s->queue.end(), data.begin(), data.end());
    s->recv_changed.notify_all();
    return 0;
}

void connection_state::feed_sink(stream_state& s)
{
    while (s.sink && s.queued() > 0 && !s.recv_stopped && !s.sink_error) {
        const byte_view rest = byte_view(s.queue).subspan(s.head);
        const auto verdict = s.sink->consume(rest);
        if (!verdict) {
            s.sink_error = verdict.error();
            stop_stream(s, s.sink->stop_code());
            s.recv_changed.notify_all();
            return;
        }
        const sink_verdict v = verdict.assume_value();
        s.head += v.accepted;
        s.uncredited += v.accepted;
        if (s.queued() == 0) {
            s.queue.clear();
            s.head = 0;
        }
        return_credit(s, v.credit);
        if (v.accepted == 0) return;
    }
    if (s.fin_received && s.queued() == 0) s.recv_changed.notify_all();
}

// Credit of handed-out bytes, inside callbacks too: ngtcp2 only notes it until the next packet.
void connection_state::credit_stream(stream_state& s, std::size_t bytes)
{
    if (s.recv_stopped || bytes == 0) return;
    assert(bytes <= s.uncredited && "credit is returned once");
    s.uncredited -= bytes;
    if (!conn_) return;
    if (!s.closed && !s.fin_received) ::ngtcp2_conn_extend_max_stream_offset(conn_, s.id, bytes);
    ::ngtcp2_conn_extend_max_offset(conn_, bytes);
    credit_since_flush_ += bytes;
}

void connection_state::return_credit(stream_state& s, std::size_t bytes)
{
    credit_stream(s, bytes);
    if (!owner_ || reading_) return;
    const endpoint_options& o = owner_->options;
    const std::size_t enough = std::min({credit_flush_bytes, o.connection_window / 4,
                                         o.remote_stream_window / 4, o.local_stream_window / 4});
    if (credit_since_flush_ >= enough) owner_->mark_dirty(*this);
}

std::size_t connection_state::grow_window(stream_state& s, std::size_t bytes)
{
    const std::size_t now = s.window.amount();
    if (bytes <= now || !conn_ || s.closed || s.fin_received || s.recv_stopped) return now;
    credit more = windows_.take_up_to(bytes - now);
    const std::size_t total = windows_.used();
    if (total > granted_) {
        // Connection credit follows the windows, out of the endpoint's budget, and stays.
        credit part = owner_->receive_budget.try_take(total - granted_);
        if (!part) return now;
        ::ngtcp2_conn_extend_max_offset(conn_, total - granted_);
        granted_ = total;
        reserved_.absorb(std::move(part));
    }
    ::ngtcp2_conn_extend_max_stream_offset(conn_, s.id, more.amount());
    s.window.absorb(std::move(more));
    owner_->mark_dirty(*this);
    return s.window.amount();
}

// The receiving side is over: everything held or queued is credited to the connection, once.
void connection_state::settle_receive(stream_state& s)
{
    if (s.recv_stopped) return;
    s.recv_stopped = true;
    if (conn_) ::ngtcp2_conn_extend_max_offset(conn_, s.uncredited + s.queued());
    s.uncredited = 0;
    s.queue = {};
    s.head = 0;
    s.window.reset();
    open_changed_.notify_all();
}

int connection_state::on_stream_reset(std::uint64_t code, stream_state* s)
{
    if (!s || s->fin_received) return 0;
    s->reset_code = code;
    settle_receive(*s);
    s->recv_changed.notify_all();
    return 0;
}

void connection_state::stop_stream(stream_state& s, std::uint64_t code)
{
    if (s.recv_stopped) return;
    const bool over = s.fin_received || s.reset_code.has_value();
    settle_receive(s);
    if (!over && conn_ && !s.closed) {
        shutdown_read(conn_, s.id, code);
        if (owner_) owner_->mark_dirty(*this);
    }
    s.recv_changed.notify_all();
}

// ---- sending --------------------------------------------------------------------------------------

void connection_state::queue_data(stream_state& s, shared_bytes data)
{
    s.queued_end += data.bytes.size();
    s.chunks.push_back(std::move(data));
    want_send(s);
}

void connection_state::want_send(stream_state& s)
{
    if (!owner_ || s.closed) return;
    if (!s.ready && s.sends()) {
        s.ready = true;
        ready_.push_back(streams_.at(s.id));
    }
    owner_->mark_dirty(*this);
}

void connection_state::on_stream_window(stream_state* s)
{
    if (s && !s->ready && s->sends()) {
        s->ready = true;
        ready_.push_back(streams_.at(s->id));
    }
}

int connection_state::on_acked(std::uint64_t offset, std::uint64_t length, stream_state* s)
{
    if (!s) return 0;
    s->acked = offset + length;
    if (length == 0) s->fin_frame_acked = true;
    release_acked(*s);
    if (s->fin_sent && s->acked == s->queued_end) {
        s->fin_acked = !s->fin_alone || s->fin_frame_acked;
        ends_in_doubt_ = ends_in_doubt_ || !s->fin_acked;
    }
    s->send_changed.notify_all();
    return 0;
}

void connection_state::release_acked(stream_state& s)
{
    while (s.next_chunk > 0 && s.base + s.chunks.front().bytes.size() <= s.acked) {
        s.base += s.chunks.front().bytes.size();
        s.chunks.pop_front();
        --s.next_chunk;
    }
}

void connection_state::reset_stream(stream_state& s, std::uint64_t code)
{
    if (s.send_reset || s.send_stopped || s.fin_acked || s.closed) return;
    s.send_reset = true;
    if (conn_ && owner_) {
        shutdown_write(conn_, s.id, code);
        owner_->mark_dirty(*this);
    }
    drop_unsent(s);
}

// What was given to ngtcp2 stays until it is acknowledged or the stream is closed: 0.12 repeats lost
// data of a reset stream too.
void connection_state::drop_unsent(stream_state& s)
{
    if (s.next_position > 0) {
        shared_bytes& partial = s.chunks[s.next_chunk++];
        partial.bytes = partial.bytes.first(std::exchange(s.next_position, 0));
    }
    s.chunks.erase(s.chunks.begin() + static_cast<std::ptrdiff_t>(s.next_chunk), s.chunks.end());
    s.queued_end = s.sent_end;
    release_acked(s);
    s.send_changed.notify_all();
}

// Only for streams that ngtcp2 has forgotten or is about to.
void connection_state::drop_chunks(stream_state& s)
{
    s.chunks.clear();
    s.next_chunk = 0;
    s.next_position = 0;
    s.send_changed.notify_all();
}

// The FIN was sent alone and all data is acknowledged, but a repetition may have joined the two, which
// ngtcp2 reports like data. With nothing in flight and nothing to send all has arrived.
void connection_state::settle_ends()
{
    native_statistics now;
    get_statistics(conn_, now);
    if (now.bytes_in_flight > 0) return;
    ends_in_doubt_ = false;
    for (auto& [id, s] : streams_) {
        if (s->fin_acked || !s->fin_sent || s->send_reset || s->acked != s->queued_end) continue;
        s->fin_acked = true;
        s->send_changed.notify_all();
    }
}

// ngtcp2 tells of STOP_SENDING only when asked to write. A writer that waits for credit never would,
// so it is asked for the impossible, which answers without writing anything.
void connection_state::notice_stops()
{
    ngtcp2_vec endless{nullptr, SIZE_MAX};
    for (auto& [id, s] : streams_) {
        if (!s->send_handle || s->ready || s->send_reset || s->send_stopped || s->fin_sent)
            continue;
        ngtcp2_path_storage path;
        ::ngtcp2_path_storage_zero(&path);
        std::uint8_t none = 0;
        const auto n = ::ngtcp2_conn_writev_stream(conn_, &path.path, nullptr, &none, 0, nullptr, 0,
                                                   id, &endless, 1, timestamp_now());
        if (n != NGTCP2_ERR_STREAM_SHUT_WR) continue;
        s->send_stopped = true;
        drop_unsent(*s);
    }
}

int connection_state::on_stream_close(std::uint32_t flags, std::int64_t id, std::uint64_t code,
                                      stream_state* s)
{
    if (!s) return 0;
    const auto keep = streams_.at(id);
    s->closed = true;
    const bool has_code = (flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET) != 0;
    if (!s->fin_acked && !s->send_reset) {
        // Closed before we knew of the end: it was acknowledged with it, or the peer stopped us.
        s->fin_acked = s->fin_sent && (!has_code || s->acked == s->queued_end);
        s->send_stopped = !s->fin_acked;
        if (has_code) s->stop_code = code;
    }
    if (!s->fin_received && !s->reset_code && !s->recv_stopped) {
        // Opened and ended by a reset that overtook everything else.
        s->reset_code = code;
        settle_receive(*s);
    }
    drop_chunks(*s);
    s->recv_changed.notify_all();
    streams_.erase(id);
    const bool by_peer = ((id & 1) != 0) != server_;
    if (!by_peer) open_changed_.notify_all();
    else if (!s->unaccepted) free_place(id);
    return 0;
}

// A stream that is gone frees its place in the limit that we advertised, but not while it still waits
// to be accepted: the queue would grow without end.
void connection_state::free_place(std::int64_t id)
{
    if ((id & 2) == 0) ::ngtcp2_conn_extend_max_streams_bidi(conn_, 1);
    else ::ngtcp2_conn_extend_max_streams_uni(conn_, 1);
}

void connection_state::accepted(stream_state& s)
{
    s.unaccepted = false;
    if (!s.closed || !conn_) return;
    free_place(s.id);
    owner_->mark_dirty(*this);
}

int connection_state::on_new_connection_id(ngtcp2_cid* cid, std::uint8_t* token, std::size_t length)
{
    *cid = random_cid(length);
    if (::ngtcp2_crypto_generate_stateless_reset_token(
            token, raw_bytes(owner_->reset_secret.data()), owner_->reset_secret.size(), cid) != 0) {
        return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    ids_.emplace(cid->data, cid->datalen);
    owner_->routes.emplace(connection_id(cid->data, cid->datalen), this);
    return 0;
}

void connection_state::on_retired_connection_id(const ngtcp2_cid& cid)
{
    const connection_id key(cid.data, cid.datalen);
    ids_.erase(key);
    if (owner_) owner_->routes.erase(key);
}

timestamp connection_state::expiry() const
{
    return conn_ ? ::ngtcp2_conn_get_expiry(conn_) : never;
}

void connection_state::expire(timestamp now)
{
    if (!conn_ || !owner_) return;
    const int rv = ::ngtcp2_conn_handle_expiry(conn_, now);
    if (rv != 0) {
        fail(rv);
        return;
    }
    owner_->mark_dirty(*this);
}

/// Packets of one send call: equal sizes but the last, one path, one ECN mark.
struct connection_state::batch {
    std::size_t used = 0;
    std::size_t segment = 0;
    std::size_t packets = 0;
    socket_address to;
    socket_address from;
    std::uint8_t ecn = 0;
    bool more = false;  ///< the batch is full, not the connection

    void start(std::size_t size, const ngtcp2_path& path, std::uint8_t mark)
    {
        used = segment = size;
        packets = 1;
        to = read_sockaddr(path.remote);
        from = read_sockaddr(path.local);
        ecn = mark;
    }
    [[nodiscard]] bool fits(std::size_t size, const ngtcp2_path& path, std::uint8_t mark) const
    {
        return size <= segment && mark == ecn && read_sockaddr(path.remote) == to &&
               read_sockaddr(path.local) == from;
    }
};

// Fills the slab with packets; `carry` is one behind them that goes in a batch of its own. Returns
// false when the connection failed.
bool connection_state::write_packets(batch& out, batch& carry, timestamp now)
{
    std::byte* const slab = owner_->slab.data();
    const std::size_t limit = std::min<std::size_t>(
        {owner_->slab.size() - 1, 65000, ::ngtcp2_conn_get_send_quantum(conn_)});
    const std::size_t most = owner_->sockets[socket_]->max_send_segments();
    ngtcp2_path_storage path;
    ::ngtcp2_path_storage_zero(&path);
    std::size_t since_rotation = 0;
    bool control_only = false;
    for (;;) {
        const std::size_t room = ::ngtcp2_conn_get_max_tx_udp_payload_size(conn_);
        if (out.packets > 0 && (out.used + room > limit || out.packets >= most)) {
            out.more = true;
            break;
        }
        stream_state* s = nullptr;
        if (!control_only) {
            while (!ready_.empty() && !ready_.front()->sends()) {
                ready_.front()->ready = false;
                ready_.pop_front();
            }
            if (!ready_.empty()) s = ready_.front().get();
        }
        std::array<ngtcp2_vec, 8> vectors;
        std::size_t count = 0;
        std::uint64_t offered = 0;
        if (s) {
            std::size_t position = s->next_position;
            for (std::size_t i = s->next_chunk; i < s->chunks.size() && count < vectors.size();
                 ++i) {
                const byte_view part = s->chunks[i].bytes.subspan(position);
                position = 0;
                if (part.empty()) continue;
                vectors[count++] = {const_cast<std::uint8_t*>(raw_bytes(part.data())), part.size()};
                offered += part.size();
                if (offered >= room) break;
            }
        }
        const bool reaches_end = s && s->sent_end + offered == s->queued_end;
        const std::uint32_t flags =
            s && s->fin_wanted && reaches_end ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0U;
        ngtcp2_ssize taken = -1;
        ngtcp2_pkt_info info{};
        const auto n =
            ::ngtcp2_conn_writev_stream(conn_, &path.path, &info, raw_bytes(slab + out.used), room,
                                        &taken, flags, s ? s->id : -1, vectors.data(), count, now);
        if (n < 0) {
            if (n == NGTCP2_ERR_STREAM_DATA_BLOCKED) {
                if (::ngtcp2_conn_get_max_data_left(conn_) == 0) {
                    control_only = true;  // the whole connection waits for credit
                } else {
                    s->ready = false;  // on_stream_window() brings it back
                    ready_.pop_front();
                }
                continue;
            }
            if (n == NGTCP2_ERR_STREAM_SHUT_WR || n == NGTCP2_ERR_STREAM_NOT_FOUND) {
                if (!s->send_reset) s->send_stopped = true;
                drop_unsent(*s);
                s->ready = false;
                ready_.pop_front();
                continue;
            }
            fail(static_cast<int>(n));
            return false;
        }
        if (s && taken >= 0) {
            const auto accepted = static_cast<std::uint64_t>(taken);
            s->sent_end += accepted;
            if (flags != 0 && accepted == offered) {
                s->fin_sent = true;
                s->fin_alone = accepted == 0;
            }
            for (std::uint64_t left = accepted; left > 0;) {
                const std::size_t part = s->chunks[s->next_chunk].bytes.size() - s->next_position;
                if (left < part) {
                    s->next_position += static_cast<std::size_t>(left);
                    break;
                }
                left -= part;
                ++s->next_chunk;
                s->next_position = 0;
            }
            since_rotation += accepted;
        }
        if (n == 0) break;  // congestion window, pacing, or nothing to say
        const auto size = static_cast<std::size_t>(n);
        const auto mark = static_cast<std::uint8_t>(info.ecn);
        if (out.packets == 0) {
            out.start(size, path.path, mark);
        } else if (out.fits(size, path.path, mark)) {
            out.used += size;
            ++out.packets;
        } else {
            // A larger packet (MTU probe) or another path: it begins the next batch.
            carry.start(size, path.path, mark);
            carry.more = out.more = true;
        }
        ++packets_sent_;
        bytes_sent_ += size;
        // Streams take turns, a batch each.
        if (s && since_rotation >= (48U << 10) && ready_.size() > 1) {
            since_rotation = 0;
            ready_.push_back(std::move(ready_.front()));
            ready_.pop_front();
        }
        if (carry.packets > 0) break;
        if (size < out.segment) {
            out.more = true;
            break;
        }
    }
    return true;
}

void connection_state::send_batch(const batch& b, byte_view bytes)
{
    outgoing_datagrams message;
    message.bytes = bytes;
    message.segment_size = b.segment;
    message.to = b.to;
    if (server_) message.from = b.from;
    message.ecn = b.ecn;
    owner_->send(owner_->socket_at(b.from, socket_), message);
}

bool connection_state::flush(unsigned batches)
{
    credit_since_flush_ = 0;
    if (conn_ && std::exchange(heard_, false)) notice_stops();
    for (unsigned i = 0; i < batches; ++i) {
        if (!conn_ || !owner_ || owner_->blocked) return false;
        const timestamp now = timestamp_now();
        batch out;
        batch carry;
        if (!write_packets(out, carry, now)) return false;
        const byte_view slab(owner_->slab);
        if (out.packets > 0) send_batch(out, slab.first(out.used));
        if (carry.packets > 0) send_batch(carry, slab.subspan(out.used, carry.used));
        // Pacing starts with the first round-trip sample: by the assumed 333 ms of RFC 9002 it would
        // hold back the dialler's second flight for tens of milliseconds.
        if (established_) ::ngtcp2_conn_update_pkt_tx_time(conn_, now);
        if (!out.more) {
            if (ends_in_doubt_) settle_ends();
            return false;
        }
    }
    return true;
}

// ---- streams --------------------------------------------------------------------------------------

std::shared_ptr<stream_state> connection_state::open_stream(bool bidirectional,
                                                            std::error_code& why)
{
    if (why_ || !conn_) {
        why = why_ ? why_->error : make_error_code(transport_errc::closed_locally);
        return nullptr;
    }
    credit window;
    credit part;
    const std::size_t wanted = bidirectional ? owner_->options.local_stream_window : 0;
    if (wanted > 0) {
        window = windows_.try_take(wanted);
        if (!window) {
            if (wanted > windows_.capacity()) why = transport_errc::limit_reached;
            return nullptr;  // until one of our streams ends
        }
        if (windows_.used() > granted_) {
            part = owner_->receive_budget.try_take(windows_.used() - granted_);
            if (!part) {
                why = transport_errc::limit_reached;
                return nullptr;
            }
        }
    }
    std::int64_t id = -1;
    const int rv = bidirectional ? ::ngtcp2_conn_open_bidi_stream(conn_, &id, nullptr)
                                 : ::ngtcp2_conn_open_uni_stream(conn_, &id, nullptr);
    if (rv == NGTCP2_ERR_STREAM_ID_BLOCKED) return nullptr;
    if (rv != 0) {
        why = transport_errc::limit_reached;
        return nullptr;
    }
    if (part) {
        ::ngtcp2_conn_extend_max_offset(conn_, part.amount());
        granted_ += part.amount();
        reserved_.absorb(std::move(part));
    }
    auto s = adopt(id);
    s->window = std::move(window);
    return s;
}

void connection_state::drop_handle(stream_state& s, bool sending)
{
    if (sending) {
        s.send_handle = false;
        if (!s.fin_wanted) reset_stream(s, 0);
    } else {
        s.recv_handle = false;
        s.sink = nullptr;
        stop_stream(s, 0);
    }
}

// ---- the end --------------------------------------------------------------------------------------

void connection_state::close(std::uint64_t code, std::string_view reason, bool application)
{
    if (why_ || !owner_) return;
    close_reason why;
    why.error = transport_errc::closed_locally;
    why.application = application;
    why.code = code;
    why.reason = std::string(reason.substr(0, max_reason));
    if (reading_) {
        close_wanted_ = std::move(why);
        return;
    }
    // What is queued and may be sent goes first: a response and its end are not cut off.
    if (conn_) flush(1);
    if (!owner_) return;
    closing_connection record;
    if (conn_) {
        native_close native;
        set_default(native);
        if (application) set_application(native, code, why.reason);
        else set_transport(native, code);
        record = write_close(native);
    }
    end(std::move(why), std::move(record));
}

void connection_state::end(close_reason why, closing_connection record)
{
    if (!owner_) return;
    const auto keep = shared_from_this();
    why_ = std::move(why);
    record.ids = ids_;
    owner_->forget(*this, std::move(record));
    owner_ = nullptr;
    for (auto& [id, s] : streams_) {
        s->closed = true;
        s->window.reset();
        drop_chunks(*s);
        s->recv_changed.notify_all();
    }
    streams_.clear();
    ready_.clear();
    failed_sinks_.clear();
    ::ngtcp2_conn_del(std::exchange(conn_, nullptr));
    ::gnutls_deinit(std::exchange(session_, nullptr));
    reserved_.reset();
    established_changed_.notify_all();
    open_changed_.notify_all();
    incoming_changed_.notify_all();
    closed_changed_.notify_all();
}

connection_statistics connection_state::statistics() const
{
    connection_statistics out;
    out.bytes_sent = bytes_sent_;
    out.bytes_received = bytes_received_;
    out.packets_sent = packets_sent_;
    out.packets_received = packets_received_;
    if (conn_) {
        native_statistics native;
        get_statistics(conn_, native);
        out.smoothed_rtt_ns = native.smoothed_rtt;
        out.congestion_window = native.cwnd;
        out.max_datagram_size = ::ngtcp2_conn_get_path_max_tx_udp_payload_size(conn_);
    }
    return out;
}

}  // namespace copse::quic::detail
