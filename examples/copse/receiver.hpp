// One download: from what is here, by whoever has the rest, to its place.
#pragma once

#include "failure.hpp"
#include "output_pipe.hpp"
#include "placement.hpp"
#include "progress.hpp"
#include "workplace.hpp"

#include <copse/blob/collection.hpp>
#include <copse/blob/download.hpp>
#include <copse/blob/fetch.hpp>
#include <copse/blob/ticket.hpp>
#include <copse/core/asio.hpp>
#include <copse/core/clock.hpp>
#include <copse/core/offload.hpp>
#include <copse/disk/leaf_pool.hpp>
#include <copse/quic/endpoint.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace app {

struct recv_options {
    std::vector<blob::blob_ticket> tickets;  ///< at least one; all name the same
    std::string folder = ".";
    bool to_output = false;  ///< to standard output; `folder` is a temporary one
    bool force = false;
    bool durable = false;
    std::uint64_t max_size = std::numeric_limits<std::uint64_t>::max();
    std::vector<socket_address> bind;
    std::chrono::seconds timeout{30};
    std::uint64_t limit_down = 0;  ///< bytes a second, 0: none

    [[nodiscard]] const hash::digest& hash() const noexcept { return tickets.front().hash; }
    [[nodiscard]] bool raw() const noexcept
    {
        return tickets.front().format == blob::blob_format::raw;
    }
};

/// Blobs in a row that a provider lacks, each of which costs a request, before it has nothing more.
inline constexpr std::size_t most_gaps = 256;

/// Whether the provider may have the rest, although not the blob at which it ended.
[[nodiscard]] bool is_gap(const std::error_code& error) noexcept;

/// All it is given must outlive it. \par Threads one executor.
class receiver {
public:
    receiver(executor ex, const recv_options& options, offload_pool& pool, workplace& work,
             progress& shown);

    /// Everything, to the lines at the end.
    awaitable<step<exit_code>> run();

    /// Nothing is worth keeping: the offer was refused, or nothing of the files has come.
    [[nodiscard]] bool discard() const noexcept
    {
        return discard_ || (work_.fresh() && gained_ == 0);
    }

private:
    /// What is known of one of those that may have the data.
    struct provider {
        const blob::blob_ticket* ticket = nullptr;
        bool alive = true;  ///< worth another attempt
        bool ever_connected = false;
        bool exhausted = false;  ///< gave all it has
        unsigned fruitless = 0;  ///< attempts in a row that brought next to nothing
        std::uint64_t fetched = 0;
        std::set<hash::digest> lacking;  ///< what it was asked for in vain
        std::string failure;             ///< why the last attempt ended
        quic::dial_report dial;          ///< the last one
        exit_code code = exit_code::ok;
    };

    // receiver.cpp: without the network
    awaitable<step<bool>> know_locally();
    bool is_all_here();
    [[nodiscard]] std::uint64_t total_bytes() const noexcept;
    [[nodiscard]] std::uint64_t distinct_bytes() const;
    void take_raw(std::uint64_t size);
    void take_manifest(const blob::manifest& m);
    step<void> check_offer();
    awaitable<step<void>> survey();
    awaitable<step<void>> place_files();
    /// Moves the files that are not here out of the list. \return their names.
    std::vector<std::string> set_lost_aside();
    [[nodiscard]] failure explain(const std::error_code& error) const;
    void print_summary() const;
    void report_served() const;

    // receiver_online.cpp: with it
    awaitable<step<void>> go_online();
    awaitable<result<void>> connect(quic::endpoint& ep);
    awaitable<step<void>> download(quic::endpoint& ep);
    awaitable<result<void>> download_for_pipe(quic::endpoint& ep, step<void>& out);
    /// \return what ended this attempt, nothing when all is here; a failure ends the command.
    awaitable<step<std::error_code>> try_download(quic::endpoint& ep);
    /// The same, as far as it can be had from this provider.
    awaitable<step<std::error_code>> fetch_missing();
    awaitable<std::error_code> fetch_once(const blob::missing_parts& parts,
                                          blob::fetch_environment& env);
    std::optional<hash::digest> first_missing(resumed_store& known, std::size_t most) const;
    awaitable<result<blob::missing_parts>> find_all_missing(blob::fetch_environment& env);
    [[nodiscard]] blob::fetch_options fetch_options();
    [[nodiscard]] provider& current() noexcept { return providers_[current_]; }
    [[nodiscard]] const provider& current() const noexcept { return providers_[current_]; }
    [[nodiscard]] std::string name_of(const provider& p) const;
    /// The next one worth an attempt, in order, the current one last.
    [[nodiscard]] std::optional<std::size_t> next_alive() const noexcept;
    void leave(std::size_t next);
    [[nodiscard]] failure give_up() const;
    [[nodiscard]] failure explain_attempt(const std::error_code& error) const;
    void report_attempt(const failure& why, std::size_t next);
    void announce(const blob::missing_parts& parts);
    void first_byte();

    // receiver_learn.cpp: names and sizes
    std::map<hash::digest, std::uint64_t> local_sizes(const blob::manifest& m);
    awaitable<std::error_code> ask(blob::ranges_seq ranges,
                                   std::function<void(const blob::fetched_blob&)> answer);
    awaitable<step<std::error_code>> learn();
    awaitable<step<std::error_code>> learn_collection();
    awaitable<step<std::error_code>> learn_piecewise(std::error_code error);
    awaitable<result<std::uint64_t>> learn_size();

    executor executor_;
    const recv_options& options_;
    offload_pool& pool_;
    workplace& work_;
    progress& shown_;
    destination to_;
    std::optional<output_pipe> pipe_;
    disk::leaf_pool buffers_;
    rate_limiter rate_;
    blob::fetch_environment env_;
    std::vector<provider> providers_;
    std::size_t current_ = 0;
    std::shared_ptr<connection> connection_;
    blob::manifest manifest_;
    std::vector<target_file> files_;         // empty: not known yet
    std::vector<std::string> without_size_;  // files of which the provider has not even the end
    std::vector<std::string> lost_;          // files that could not be had
    blob::fetch_diagnostics where_;
    std::uint64_t gained_ = 0;  // bytes of files that arrived: what makes another attempt worth it
    bool announced_ = false;
    bool discard_ = false;
    bool saw_first_byte_ = false;
    // For the lines at the end: bytes verified, bytes that were here before, time in transfer.
    std::uint64_t fetched_ = 0;
    std::uint64_t here_ = 0;
    std::chrono::nanoseconds time_{0};
};

}  // namespace app
