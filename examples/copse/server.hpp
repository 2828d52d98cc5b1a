// Serving one collection to whoever asks.
#pragma once

#include "failure.hpp"
#include "progress.hpp"
#include "sources.hpp"

#include <copse/blob/provide.hpp>
#include <copse/core/asio.hpp>
#include <copse/core/offload.hpp>
#include <copse/core/scope.hpp>
#include <copse/disk/leaf_pool.hpp>
#include <copse/hash/digest.hpp>
#include <copse/quic/endpoint.hpp>
#include <copse/store/reference_store.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace app {

/// A collection on offer, and what its requests look like.
struct offer {
    hash::digest root;
    // Payload of the request for all sizes that precedes a download, in its two forms: with the
    // names' last chunk, and with all of them.
    std::uint64_t sizes_payload = 0;
    std::uint64_t sizes_and_names_payload = 0;
    // What such a request does not bring: a download has moved at least this much.
    std::uint64_t beyond_sizes = 0;
};

/// Adds names and hash sequence of a collection to a store.
step<offer> make_offer(const source_list& list, const std::vector<hash::digest>& hashes,
                       store::reference_store& into);

struct serve_options {
    bool once = false;           ///< end after the first complete transfer
    std::uint64_t limit_up = 0;  ///< bytes a second to all together, 0: no limit
};

/// All it is given must outlive it.
class server {
public:
    server(quic::endpoint& ep, store::reference_store& store, offload_pool& pool, offer what,
           serve_options options, progress& shown);

    /// Serves until the first complete transfer with `once`, else until cancelled.
    /// \return whether there was a complete one.
    awaitable<bool> run();

private:
    struct visit;

    awaitable<void> accept();
    awaitable<void> serve(std::shared_ptr<connection> c);
    void report_end(const connection& c, const visit& v, const close_reason& why, bool complete,
                    std::chrono::nanoseconds time);
    void judge(visit& v, const blob::provide_report& report) const;
    [[nodiscard]] bool is_complete(const visit& v, const close_reason& why) const noexcept;
    void show_getters();

    disk::leaf_pool buffers_;
    blob::provide_share share_;
    blob::provide_environment env_;
    const offer offer_;
    const bool once_;
    progress& shown_;
    scope children_;
    quic::listener listener_;
    std::uint64_t getters_ = 0;
    bool complete_ = false;
};

}  // namespace app
