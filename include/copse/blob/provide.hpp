// The provider: answers the requests of a connection from a store.
#pragma once

#include <copse/blob/wire.hpp>
#include <copse/core/asio.hpp>
#include <copse/core/credit.hpp>
#include <copse/core/duration.hpp>
#include <copse/core/memory.hpp>
#include <copse/core/offload.hpp>
#include <copse/core/rate_limit.hpp>
#include <copse/core/result.hpp>
#include <copse/core/transport.hpp>
#include <copse/disk/leaf_pool.hpp>
#include <copse/store/blob_store.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

namespace copse::blob {

/// Buffers of a provider's pool are at least this large: an extent of 256 KiB with its hash pairs.
inline constexpr std::size_t provide_buffer_bytes = (256U << 10) + (8U << 10);

/// What the connections of one provider may use together.
struct provide_limits {
    /// Connections; a further one is closed with `wire_code::limit` and the reason "limit".
    std::size_t connections = 1024;
    /// Requests that are answered at the same time; a further one is reset with `wire_code::limit`.
    std::size_t requests = 4096;
    /// Observers at the same time; a further one is reset with `wire_code::limit`.
    std::size_t observers = 4096;
    /// Bytes a second that are sent in all, 0 for no limit.
    std::uint64_t upload_bytes_per_s = 0;
    /// Memory of requests from their first byte to their end: `request_cost` for each byte of them, the
    /// sequences that pushes name, and 256 KiB for an answer with parts of blobs, or with a sequence.
    /// What would exceed it is reset with `wire_code::limit`.
    std::size_t request_memory = 256U << 20;
};

/// What a byte of a request counts: ranges take up to 8 bytes for each, once as they were asked for and
/// once as they are answered.
inline constexpr std::size_t request_cost = 16;

/// What happened at a provider since it began.
struct provide_counters {
    std::uint64_t requests = 0;   ///< streams that were opened
    std::uint64_t malformed = 0;  ///< of these: not understood
    std::uint64_t refused = 0;    ///< of these: refused by policy
    std::uint64_t limited = 0;    ///< of these: over a limit
    /// Of these: reset since they held buffers that others waited for.
    std::uint64_t reclaimed = 0;
    std::uint64_t connections_refused = 0;  ///< not counted above
};

/// Limits and counters that all connections of a provider share.
/// \par Threads one executor.
/// \par Lifetime must outlive the connections that use it.
struct provide_share {
    /// Takes all limits as they are. \param memory what requests reserve of; must outlive it.
    explicit provide_share(const provide_limits& limits = {},
                           memory_budget& memory = process_memory())
        : connections("provide: connections", limits.connections, limit_unit::count),
          requests("provide: requests", limits.requests, limit_unit::count),
          observers("provide: observers", limits.observers, limit_unit::count),
          request_memory("provide: memory of requests", limits.request_memory, memory, 1U << 20),
          upload(limits.upload_bytes_per_s)
    {}
    budget connections;         ///< that are served now
    budget requests;            ///< that are answered now
    budget observers;           ///< that are told of changes now
    budget request_memory;      ///< what requests take now, in bytes
    rate_limiter upload;        ///< of everything that is sent
    provide_counters counters;  ///< since the beginning
};

/// What a provider works with; all of it must outlive provide(), and `buffers` the connection too,
/// which keeps what was sent until it is acknowledged.
struct provide_environment {
    store::blob_store& store;  ///< what is offered
    offload_pool& pool;        ///< where data is read and verified
    disk::leaf_pool& buffers;  ///< bounds data read and not yet acknowledged, over all connections;
                               ///< its extents hold `provide_buffer_bytes`
    provide_share* share = nullptr;  ///< null: no limit over all connections
};

/// What a hook answers.
enum class verdict {
    allow,        ///< go on
    refuse,       ///< `wire_code::permission`: do not ask again
    limit,        ///< `wire_code::limit`: ask later
    unavailable,  ///< `wire_code::internal`: as if it were not there
};

/// Which request an event is about.
struct request_info {
    std::uint64_t number = 0;               ///< counts the requests of a connection from 0
    request_type type = request_type::get;  ///< its kind, once that is known
    endpoint_id peer;                       ///< who asks
};

/// A blob of an answer.
struct provided_blob {
    std::uint64_t index = 0;  ///< 0: the blob named in the request, i + 1: child i; of many: hash i
    hash::digest hash;        ///< of its content
    std::uint64_t size = 0;   ///< in bytes
};

/// How far an answer is.
struct blob_position {
    std::uint64_t index = 0;  ///< the blob
    /// Bytes of it up to here were given to the transport, as far as wanted.
    std::uint64_t end = 0;
};

/// How one request went.
struct provide_report {
    hash::digest root;                ///< the blob that was asked for; of a GetMany the first
    std::error_code error;            ///< empty: answered in full
    std::uint64_t payload_bytes = 0;  ///< leaf bytes given to the transport; of a push, received
    std::uint64_t other_bytes = 0;    ///< headers and hash pairs, likewise
    std::uint64_t blobs = 0;          ///< blobs answered in full
    bool acknowledged = false;        ///< the getter has received the end
    request_info request;             ///< which request it was
    /// The blob that could not be read from the store: it is not there or its disk fails, or else it has
    /// rotted (see `store::folder_store::repair()`). None when the answer failed for another reason.
    std::optional<hash::digest> failed_blob;
    std::chrono::nanoseconds duration{};  ///< since it began to arrive
};

/// What a program may decide and hear about. Each may be empty. They are called on the executor,
/// must not throw and must not close the connection or end the provider inside the call.
struct provide_hooks {
    /// Whether the peer may ask anything: otherwise the connection is closed with the code.
    std::function<verdict(const connection&)> admit;
    /// Whether this Get, GetMany or Observe is answered: otherwise it is reset with the code.
    std::function<verdict(const request_info&, const request&)> authorise;
    /// Whether this push is stored. Without this hook every push is refused.
    std::function<verdict(const request_info&, const push_request&)> authorise_push;

    /// A connection was admitted.
    std::function<void(const connection&)> opened;
    /// An admitted connection ended.
    std::function<void(const connection&, const close_reason&)> closed;
    /// A request was decoded and is about to be answered.
    std::function<void(const request_info&, const request&)> received;
    /// A blob of the answer begins.
    std::function<void(const request_info&, const provided_blob&)> blob_started;
    /// More was given to the transport; this is how far it goes.
    std::function<void(const request_info&, const blob_position&)> progressed;
    /// Payload bytes of this request that the peer's transport has acknowledged so far.
    std::function<void(const request_info&, std::uint64_t)> confirmed;
};

/// How requests of a connection are answered.
struct provide_options {
    /// A request of which nothing came after this long is refused, and one that is not complete
    /// so long after its turn has come.
    std::chrono::nanoseconds request_timeout = std::chrono::seconds(20);
    /// A getter that takes nothing for this long is given up, as is a pusher that sends nothing.
    std::chrono::nanoseconds progress_timeout = std::chrono::seconds(60);
    /// While others wait for buffers, a getter that acknowledges less than 16 KiB in this time is
    /// reset with `wire_code::limit`; one that is not heard of at all loses its connection.
    std::chrono::nanoseconds reclaim_timeout = std::chrono::seconds(5);
    /// Requests of one connection that are answered at the same time; more wait, of which the first
    /// byte is read.
    std::size_t max_requests = 32;
    /// Streams of one connection that are looked after at the same time, also those whose requests
    /// wait: more stay with the transport. A peer that resets what waits may at once open another.
    std::size_t max_streams = 256;
    /// Observers of one connection; a further one is reset with `wire_code::limit`.
    std::size_t max_observers = 16;
    /// Pushes of one connection that are received at the same time; a further one is stopped with
    /// `wire_code::limit`. With the first window of a stream (`remote_stream_window`) each, they must
    /// fit into the connection's window, or those that wait for buffers starve the others.
    std::size_t max_pushes = 8;
    /// Requests that make no sense; with one more the connection is closed (`permission`).
    std::size_t max_malformed = 64;
    /// Hashes of a GetMany; a request with more is refused.
    std::size_t max_hashes = max_get_many_hashes;
    /// Bytes read for one connection and not yet acknowledged by it; more are not read. While others
    /// wait for buffers it is one buffer.
    std::size_t connection_bytes = 4U << 20;
    /// Bytes a second that one connection is sent, 0 for no limit.
    std::uint64_t upload_bytes_per_s = 0;
    /// Larger blobs that are pushed are refused before anything of them is stored.
    std::uint64_t max_pushed_blob = std::uint64_t{64} << 30;
    /// Kinds of request that are answered; others are reset with `wire_code::permission`.
    bool serve_get = true;
    bool serve_get_many = true;  ///< likewise
    bool serve_observe = true;   ///< likewise
    /// Decisions and events.
    provide_hooks hooks;
    /// Called on the executor with payload bytes given to the transport. Must not throw.
    std::function<void(std::uint64_t)> progress;
    /// Called on the executor at the end of each request. Must not throw.
    std::function<void(const provide_report&)> finished;
};

/// Answers requests until the connection ends; every byte is verified before it is sent.
/// \param c    connection of protocol `blob::alpn`.
/// \param env  must outlive the awaitable.
/// \return     why the connection ended.
/// \par Cancellation terminal: requests are aborted and joined. The connection stays open, unless data
///      of theirs is still under way: then it is closed (code 0), which gives the buffers back.
awaitable<close_reason> provide(std::shared_ptr<connection> c, provide_environment& env,
                                provide_options options);

}  // namespace copse::blob
