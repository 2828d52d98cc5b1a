// The provider: answers Get requests of a connection from a store.
#pragma once

#include <copse/blob/wire.hpp>
#include <copse/core/asio.hpp>
#include <copse/core/duration.hpp>
#include <copse/core/offload.hpp>
#include <copse/core/result.hpp>
#include <copse/core/transport.hpp>
#include <copse/disk/leaf_pool.hpp>
#include <copse/store/blob_store.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

namespace copse::blob {

/// Buffers of a provider's pool are at least this large: an extent of 256 KiB with its hash pairs.
inline constexpr std::size_t provide_buffer_bytes = (256U << 10) + (8U << 10);

/// What a provider works with; all of it must outlive provide(), and `buffers` the connection too,
/// which keeps what was sent until it is acknowledged.
struct provide_environment {
    store::blob_store& store;  ///< what is offered
    offload_pool& pool;        ///< where data is read and verified
    disk::leaf_pool& buffers;  ///< bounds data read and not yet acknowledged, over all connections;
                               ///< its extents hold `provide_buffer_bytes`
};

/// How one request went.
struct provide_report {
    hash::digest root;                ///< the blob that was asked for
    std::error_code error;            ///< empty: answered in full
    std::uint64_t payload_bytes = 0;  ///< leaf bytes given to the transport
    std::uint64_t other_bytes = 0;    ///< headers and hash pairs
    std::uint64_t blobs = 0;          ///< blobs answered in full
    bool acknowledged = false;        ///< the getter has received the end
};

/// How requests of a connection are answered.
struct provide_options {
    /// A request that is not complete after this long is refused.
    std::chrono::nanoseconds request_timeout = std::chrono::seconds(20);
    /// A getter that takes nothing for this long is given up.
    std::chrono::nanoseconds progress_timeout = std::chrono::seconds(60);
    /// Requests of one connection that are answered at the same time; more wait unread.
    std::size_t max_requests = 32;
    /// Bytes read for one connection and not yet acknowledged by it; more are not read.
    std::size_t connection_bytes = 4U << 20;
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
