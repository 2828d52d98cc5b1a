// Push: sends blobs to a peer that has not asked, if it allows that.
#pragma once

#include <copse/blob/provide.hpp>
#include <copse/blob/wire.hpp>
#include <copse/core/asio.hpp>
#include <copse/core/duration.hpp>
#include <copse/core/rate_limit.hpp>
#include <copse/core/result.hpp>
#include <copse/core/transport.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

namespace copse::blob {

/// How a push behaves.
struct push_options {
    /// A receiver that takes nothing for this long is given up.
    std::chrono::nanoseconds progress_timeout = std::chrono::seconds(60);
    /// Bytes read and not yet acknowledged.
    std::size_t connection_bytes = 4U << 20;
    /// Bytes a second, 0 for no limit.
    std::uint64_t upload_bytes_per_s = 0;
    /// Ask afterwards, by Observe, whether what was pushed is there: without it success means that
    /// the peer's transport has the data, not that it was verified and stored.
    bool confirm = false;
    /// Each blob must show within this time of being asked for.
    std::chrono::nanoseconds confirm_timeout = std::chrono::seconds(30);
    /// Called on the executor with payload bytes given to the transport. Must not throw.
    std::function<void(std::uint64_t)> progress;
};

/// What a push moved.
struct push_report {
    std::uint64_t payload_bytes = 0;  ///< leaf bytes sent
    std::uint64_t other_bytes = 0;    ///< headers and hash pairs
    std::uint64_t blobs = 0;          ///< blobs sent
    bool confirmed = false;           ///< the receiver shows all of them
};

/// Sends what a provider would answer to the Get `what`, verified before it is sent.
/// \param c    connection of protocol `blob::alpn`.
/// \param env  must outlive the awaitable, `env.buffers` the connection too.
/// \par Errors       `blob_errc::refused` and `rate_limited` (said by the receiver), `push_failed` (it
///                   could not store or verify the data), `stalled`, `not_confirmed`, those of the
///                   store (`store_errc::missing` when it lacks a part), transport codes.
/// \par Cancellation terminal: the stream is reset; what the receiver has verified stays there.
awaitable<result<push_report>> push(std::shared_ptr<connection> c, get_request what,
                                    provide_environment& env, push_options options);

}  // namespace copse::blob
