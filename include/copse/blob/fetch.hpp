// The getter: a Get or GetMany request over a connection, verified as it streams, into a store.
#pragma once

#include <copse/blob/wire.hpp>
#include <copse/core/address.hpp>
#include <copse/core/asio.hpp>
#include <copse/core/duration.hpp>
#include <copse/core/offload.hpp>
#include <copse/core/rate_limit.hpp>
#include <copse/core/result.hpp>
#include <copse/core/transport.hpp>
#include <copse/disk/leaf_pool.hpp>
#include <copse/hash/digest.hpp>
#include <copse/store/blob_store.hpp>

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace copse::blob {

/// What a fetch works with; all of it must outlive the fetch.
struct fetch_environment {
    store::blob_store& store;  ///< receives verified data; says what is there already
    offload_pool& pool;        ///< where data is verified and written
    disk::leaf_pool& buffers;  ///< bounds received leaves, over all fetches that share it
};

/// A blob of the answer whose size is known and proven.
struct fetched_blob {
    std::uint64_t index = 0;  ///< 0: the blob named in the request, i + 1: child i; of many: hash i
    hash::digest hash;        ///< of its content
    std::uint64_t size = 0;   ///< proven by its last chunk
    bool complete = false;    ///< the store has all of it now
};

/// How a fetch behaves. The defaults suit files between machines.
struct fetch_options {
    /// A fetch that receives less than `least_progress_bytes` in this time is given up.
    std::chrono::nanoseconds progress_timeout = std::chrono::seconds(30);
    /// Larger blobs are refused before anything of them is stored.
    std::uint64_t max_blob_size = std::numeric_limits<std::int64_t>::max();
    /// Credit asked of the connection for the response stream, in bytes.
    std::size_t window = 4U << 20;
    /// Finished blobs survive power loss, not only kill -9. Those that were complete before stay as
    /// they are.
    bool durable = false;
    /// Limits the rate of payload, null for none: credit is given late, so that the sender slows. It
    /// may be shared and must outlive the fetch. What is under way at first, a window, is not slowed.
    rate_limiter* rate = nullptr;
    /// Called on the executor with bytes newly verified and stored. Must not throw.
    std::function<void(std::uint64_t)> progress;
    /// Called on the executor with each run of verified bytes of a blob, in ascending order, also of
    /// parts too small to be stored. The bytes are valid during the call. Must not throw.
    std::function<void(std::uint64_t index, std::uint64_t offset, byte_view bytes)> data;
    /// Called on the executor for each blob whose size was proven. Must not throw.
    std::function<void(const fetched_blob&)> blob;
};

/// What one fetch moved.
struct fetch_report {
    std::uint64_t payload_bytes = 0;  ///< leaf bytes received
    std::uint64_t stored_bytes = 0;   ///< of these, bytes verified and stored
    std::uint64_t other_bytes = 0;    ///< headers and hash pairs
    std::uint64_t blobs = 0;          ///< blobs completed
};

/// Where and with whom a fetch failed.
struct fetch_diagnostics {
    hash::digest hash;                       ///< blob concerned
    std::uint64_t index = 0;                 ///< and its place in the request
    std::uint64_t offset = 0;                ///< first byte not verified or wrong
    endpoint_id peer;                        ///< who sent it
    std::optional<std::uint64_t> peer_code;  ///< code of the peer's reset
    /// `blob <hash> at byte <offset> from <peer>`.
    [[nodiscard]] std::string to_string() const;
};

/// Sends a Get request and stores what comes. What was verified stays stored, whatever happens.
///
/// Children are taken from the root blob when it is part of the answer, else from the store.
/// \param c       connection of protocol `blob::alpn`.
/// \param env     must outlive the awaitable, as must `where`.
/// \param where   filled when the fetch fails.
/// \par Errors       `blob_errc::*` (which say what to do with the peer), store and transport codes.
///                   std::errc::not_enough_memory: what was verified is kept, as with every error.
/// \par Cancellation partial: the stream is stopped, verified data stays, it can be repeated.
/// \par Cost         payload touched four times: decrypt, copy to buffer, hash, write from the buffer.
awaitable<result<fetch_report>> fetch(std::shared_ptr<connection> c, get_request request,
                                      fetch_environment& env, fetch_options options,
                                      fetch_diagnostics& where);

/// The same for chunks of several blobs, which need not be a sequence. At most
/// `max_get_many_hashes` of them; a provider may refuse less.
/// \par Errors as fetch(), `blob_errc::request_too_large` before anything is sent.
awaitable<result<fetch_report>> fetch_many(std::shared_ptr<connection> c, get_many_request request,
                                           fetch_environment& env, fetch_options options,
                                           fetch_diagnostics& where);

}  // namespace copse::blob
