// One connection over ngtcp2: how it begins and ends.
#pragma once

#include <copse/core/entropy.hpp>
#include <copse/quic/impl/ngtcp2_values.hpp>
#include <copse/quic/impl/state.hpp>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>

namespace copse::quic::detail {

// ---- callbacks: from C to members --------------------------------------------------------------

inline connection_state& self(void* user_data) noexcept
{
    return *static_cast<connection_state*>(user_data);
}

// Nothing may be thrown through C: without memory the connection ends.
template <class Fn>
int guarded(void* user_data, Fn&& fn) noexcept
{
    try {
        return fn(self(user_data));
    } catch (const std::bad_alloc&) {
        self(user_data).no_memory_ = true;
        return NGTCP2_ERR_CALLBACK_FAILURE;
    }
}

// What the connection whose packets are being read has seen of the peer's ids.
inline thread_local retired_ids* ids_of_reader = nullptr;

// For ngtcp2 0.12: frames are seen in plain text, and changes of ids and paths are told.
inline void watch_ids(ngtcp2_callbacks& c) noexcept
{
    c.decrypt = [](std::uint8_t* out, const ngtcp2_crypto_aead* aead,
                   const ngtcp2_crypto_aead_ctx* context, const std::uint8_t* in, std::size_t n,
                   const std::uint8_t* nonce, std::size_t nonce_size, const std::uint8_t* header,
                   std::size_t header_size) {
        const int rv = ::ngtcp2_crypto_decrypt_cb(out, aead, context, in, n, nonce, nonce_size,
                                                  header, header_size);
        if (rv != 0 || !ids_of_reader || n < aead->max_overhead) return rv;
        try {
            ids_of_reader->look({out, n - aead->max_overhead});
        } catch (const std::bad_alloc&) {
            return NGTCP2_ERR_NOMEM;
        }
        return 0;
    };
    c.dcid_status = [](ngtcp2_conn*, auto type, std::uint64_t, const ngtcp2_cid*,
                       const std::uint8_t*, void* user) {
        if (type == NGTCP2_CONNECTION_ID_STATUS_TYPE_ACTIVATE) self(user).on_id_activated();
        return 0;
    };
    on_path_validation<[](bool works, void* user) { self(user).on_path_validated(works); }>(c);
}

inline ngtcp2_callbacks make_callbacks() noexcept
{
    ngtcp2_callbacks c{};
    c.client_initial = ngtcp2_crypto_client_initial_cb;
    c.recv_client_initial = ngtcp2_crypto_recv_client_initial_cb;
    c.recv_crypto_data = [](ngtcp2_conn* conn, auto level, std::uint64_t offset,
                            const std::uint8_t* data, std::size_t n, void* user) {
        if (self(user).session_) {
            return ::ngtcp2_crypto_recv_crypto_data_cb(conn, level, offset, data, n, user);
        }
        return self(user).on_late_crypto({reinterpret_cast<const std::byte*>(data), n});
    };
    c.encrypt = ngtcp2_crypto_encrypt_cb;
    c.decrypt = ngtcp2_crypto_decrypt_cb;
    if constexpr (!ngtcp2_is_v1) watch_ids(c);
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
        return guarded(user, [&](auto& s) { return s.on_new_connection_id(cid, token, length); });
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
        return guarded(user, [&](auto& s) {
            const int rv =
                s.on_stream_data(flags, id, {reinterpret_cast<const std::byte*>(data), n},
                                 static_cast<stream_state*>(stream));
            if (flags & NGTCP2_STREAM_DATA_FLAG_FIN) s.on_receiving_end(id);
            return rv;
        });
    };
    c.stream_open = [](ngtcp2_conn*, std::int64_t id, void* user) {
        return guarded(user, [&](auto& s) { return s.on_stream_open(id); });
    };
    c.stream_close = [](ngtcp2_conn*, std::uint32_t flags, std::int64_t id, std::uint64_t code,
                        void* user, void* stream) {
        return guarded(user, [&](auto& s) {
            return s.on_stream_close(flags, id, code, static_cast<stream_state*>(stream));
        });
    };
    c.stream_reset = [](ngtcp2_conn*, std::int64_t id, std::uint64_t, std::uint64_t code,
                        void* user, void* stream) {
        return guarded(user, [&](auto& s) {
            const int rv = s.on_stream_reset(code, static_cast<stream_state*>(stream));
            s.on_receiving_end(id);
            return rv;
        });
    };
    c.acked_stream_data_offset = [](ngtcp2_conn*, std::int64_t, std::uint64_t offset,
                                    std::uint64_t n, void* user, void* stream) {
        return guarded(user, [&](auto& s) {
            return s.on_acked(offset, n, static_cast<stream_state*>(stream));
        });
    };
    c.extend_max_local_streams_bidi = [](ngtcp2_conn*, std::uint64_t, void* user) {
        self(user).on_peer_stream_limit();
        return 0;
    };
    c.extend_max_local_streams_uni = c.extend_max_local_streams_bidi;
    c.extend_max_stream_data = [](ngtcp2_conn*, std::int64_t, std::uint64_t, void* user,
                                  void* stream) {
        return guarded(user, [&](auto& s) {
            s.on_stream_window(static_cast<stream_state*>(stream));
            return 0;
        });
    };
    c.recv_datagram = [](ngtcp2_conn*, std::uint32_t, const std::uint8_t* data, std::size_t n,
                         void* user) {
        return guarded(user, [&](auto& s) {
            s.on_datagram({reinterpret_cast<const std::byte*>(data), n});
            return 0;
        });
    };
    // A datagram's id is its size.
    c.lost_datagram = [](ngtcp2_conn*, std::uint64_t size, void* user) {
        return guarded(user, [&](auto& s) {
            s.on_lost_datagram(size);
            return 0;
        });
    };
    c.ack_datagram = [](ngtcp2_conn*, std::uint64_t size, void* user) {
        return guarded(user, [&](auto& s) {
            s.on_acked_datagram(size);
            return 0;
        });
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
      memory_(this,
              [](void* c) noexcept { return static_cast<connection_state*>(c)->memory_allowed(); }),
      windows_("quic: stream windows", owner.options.local_windows_total),
      sending_("quic: send queue of a connection", owner.options.connection_send_buffer)
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

// Bytes out of order within the credit that was given; what is kept of each packet in flight, of which the
// smallest has some 50 bytes, or that was and is lost; and of each stream. Asked at each allocation beyond
// the free ones, so that the most in flight is known.
std::size_t connection_state::memory_allowed() noexcept
{
    if (conn_) {
        native_statistics now;
        get_statistics(conn_, now);
        most_in_flight_ = std::max(most_in_flight_, static_cast<std::size_t>(now.bytes_in_flight));
    }
    return transport_memory::free_bytes + 2 * reserved_.amount() + 8 * most_in_flight_ +
           streams_.size() * (4U << 10) + static_cast<std::size_t>(kept_streams_) * 512;
}

namespace {

ngtcp2_settings make_settings(const endpoint_options& o, timestamp now)
{
    // Ethernet by IPv4 and by IPv6, some access lines, tunnels, the least of IPv6.
    static constexpr std::uint16_t probes[] = {1472, 1452, 1406, 1342, 1232};
    ngtcp2_settings s;
    ::ngtcp2_settings_default(&s);
    s.initial_ts = now;
    s.cc_algo = NGTCP2_CC_ALGO_CUBIC;
    s.handshake_timeout = static_cast<ngtcp2_duration>(o.handshake_timeout.count());
    s.max_tx_udp_payload_size = o.max_datagram_size;
    s.ack_thresh = 10;
    set_probes(s, probes);
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
    p.max_datagram_frame_size = o.max_datagram_frame_size;
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

void connection_state::start_qlog(ngtcp2_settings& settings, const ngtcp2_cid& original_id)
{
    if (!owner_->options.qlog) return;
    qlog_ = owner_->options.qlog(
        {reinterpret_cast<const std::byte*>(original_id.data), original_id.datalen}, server_);
    if (!qlog_) return;
    const auto write = [](void* user, std::uint32_t, const void* data, std::size_t n) {
        if (n > 0) self(user).qlog_->write({static_cast<const std::byte*>(data), n});
    };
    set_qlog(settings, write, original_id);
}

void connection_state::start(ngtcp2_conn* conn)
{
    conn_ = conn;
    peer_.conn = conn;
    ::ngtcp2_conn_set_tls_native_handle(conn_, session_);
    ::ngtcp2_conn_set_keep_alive_timeout(
        conn_, static_cast<ngtcp2_duration>(owner_->options.keep_alive.count()));
}

// What a connection needs before it exists: credit that it will promise, room to answer, itself.
result<void> connection_state::reserve()
{
    reserved_ = owner_->receive_budget.try_take(owner_->options.connection_window);
    send_reserved_ = owner_->send_budget.try_take(least_send_room);
    state_reserved_ = owner_->connection_memory.try_take(connection_bytes);
    if (!reserved_ || !send_reserved_ || !state_reserved_) return transport_errc::limit_reached;
    return outcome::success();
}

result<void> connection_state::start_client(const endpoint_id& peer, std::string_view alpn,
                                            std::size_t socket, const socket_address& remote)
{
    const endpoint_options& o = owner_->options;
    COPSE_TRYV(reserve());
    peer_id_ = peer;
    peer_.expected = peer;
    alpn_ = alpn;
    remote_ = remote;
    proof_.prove();
    socket_ = socket;
    local_ = owner_->sockets[socket]->local_address();
    COPSE_TRY(session_, owner_->tls->client_session(&ref_, alpn));

    const timestamp now = forward(timestamp_now());
    ngtcp2_settings settings = make_settings(o, now);
    const ngtcp2_transport_params parameters = make_parameters(o);
    const ngtcp2_callbacks callbacks = make_callbacks();
    const ngtcp2_cid dcid = random_cid(16);
    start_qlog(settings, dcid);
    const ngtcp2_cid scid = random_cid(connection_id_length);
    const path_buffer path(local_, remote_);
    ngtcp2_conn* conn = nullptr;
    if (::ngtcp2_conn_client_new(&conn, &dcid, &scid, &path.path, NGTCP2_PROTO_VER_V1, &callbacks,
                                 &settings, &parameters, memory_.functions(), this) != 0) {
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
                                            std::span<const std::string> alpns,
                                            const ngtcp2_cid* retried)
{
    const endpoint_options& o = owner_->options;
    COPSE_TRYV(reserve());
    remote_ = remote;
    socket_ = socket;
    local_ = local;
    COPSE_TRY(session_, owner_->tls->server_session(&ref_, alpns));

    const timestamp now = forward(timestamp_now());
    ngtcp2_settings settings = make_settings(o, now);
    start_qlog(settings, retried ? *retried : header.dcid);
    ngtcp2_transport_params parameters = make_parameters(o);
    set_original_dcid(parameters, retried ? *retried : header.dcid);
    if (retried) {
        proof_.prove();
        parameters.retry_scid = header.dcid;
        parameters.retry_scid_present = 1;
        set_token(settings, header);
    }
    const ngtcp2_callbacks callbacks = make_callbacks();
    const ngtcp2_cid scid = random_cid(connection_id_length);
    const path_buffer path(local_, remote_);
    ngtcp2_conn* conn = nullptr;
    if (::ngtcp2_conn_server_new(&conn, &header.scid, &scid, &path.path, header.version, &callbacks,
                                 &settings, &parameters, memory_.functions(), this) != 0) {
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
    if (conn_ && established_) flush(1);
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
    limited_by(send_limit::none, timestamp_now());
    counted_.ecn_in_use = false;
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
    starved_.clear();
    if (datagrams_) {
        datagrams_->out.clear();
        datagrams_->out_reserved.reset();
        datagrams_->in_reserved.reset();
        datagrams_->changed.notify_all();
    }
    ::ngtcp2_conn_del(std::exchange(conn_, nullptr));
    ::gnutls_deinit(std::exchange(session_, nullptr));
    qlog_.reset();
    reserved_.reset();
    send_reserved_.reset();
    state_reserved_.reset();
    established_changed_.notify_all();
    open_changed_.notify_all();
    incoming_changed_.notify_all();
    closed_changed_.notify_all();
}

}  // namespace copse::quic::detail
