// copse recv: fetches what a ticket names, resumes what is there, and puts it in place.
#include "arguments.hpp"
#include "commands.hpp"
#include "console.hpp"
#include "placement.hpp"
#include "progress.hpp"
#include "transfer.hpp"
#include "workplace.hpp"

#include <copse/blob/collection.hpp>
#include <copse/blob/download.hpp>
#include <copse/blob/fetch.hpp>
#include <copse/blob/ticket.hpp>
#include <copse/core/clock.hpp>
#include <copse/core/event.hpp>
#include <copse/core/offload.hpp>
#include <copse/core/race.hpp>
#include <copse/core/run.hpp>
#include <copse/disk/leaf_pool.hpp>
#include <copse/hash/blake3.hpp>

#include <algorithm>
#include <csignal>
#include <memory>
#include <utility>

namespace app {

using namespace std::chrono_literals;

const char recv_help[] =
    R"(usage: copse recv TICKET [options]

Fetches the files that a ticket of copse or sendme names, verifies them as they arrive, and puts
them in place when all are complete. After an interruption the same command goes on where it ended.

  -o, --output DIR    where to put them (default: this folder); unfinished: DIR/.copse-partial
  --force             replace existing files
  --durable           survive power loss, not only the end of this process
  --bind ADDR:PORT    send from here (repeated for several)
  --timeout SECONDS   give up after so long without an answer or progress (default 30))";

namespace {

// Attempts in a row that bring nothing before a download is given up, and the waits between them.
constexpr unsigned most_fruitless = 3;
constexpr std::chrono::seconds first_backoff = 1s;
// An attempt that brings less counts as one that brings nothing.
constexpr std::uint64_t least_gain = 1U << 20;
// Long enough for a delayed acknowledgement to leave (RFC 9000: 25 ms by default).
constexpr std::chrono::nanoseconds farewell = 40ms;

struct recv_options {
    blob::blob_ticket ticket;
    std::string folder = ".";
    bool force = false;
    bool durable = false;
    std::vector<socket_address> bind;
    std::chrono::seconds timeout = 30s;
};

/// What became of it all, for the lines at the end.
struct summary {
    std::uint64_t fetched = 0;         ///< bytes that arrived and were verified
    std::uint64_t here = 0;            ///< bytes that were there before
    std::chrono::nanoseconds time{0};  ///< in transfer
};

/// Whether asking again, maybe over a new connection, may help.
bool may_pass(const std::error_code& error) noexcept
{
    if (error.category() == transport_category()) {
        return error != transport_errc::peer_id_mismatch &&
               error != transport_errc::no_common_protocol &&
               error != transport_errc::no_usable_address;
    }
    return error == blob::blob_errc::not_available || error == blob::blob_errc::rate_limited ||
           error == blob::blob_errc::aborted_by_peer ||
           error == blob::blob_errc::truncated_response || error == blob::blob_errc::stalled ||
           error == std::errc::timed_out;
}

std::string addresses_text(const endpoint_address& address)
{
    std::string text;
    for (const auto& one : udp_addresses(address)) {
        text += (text.empty() ? "" : ", ") + one.to_string();
    }
    return text;
}

class receiver {
public:
    receiver(executor ex, const recv_options& options, offload_pool& pool, workplace& work,
             progress& shown)
        : executor_(std::move(ex)),
          options_(options),
          pool_(pool),
          work_(work),
          shown_(shown),
          to_(real_file_system(), options.folder, options.force, options.durable),
          buffers_("receive buffers", receive_buffer_bytes, receive_extent_bytes),
          env_{work.store(), pool, buffers_}
    {}

    awaitable<step<exit_code>> run()
    {
        // A download that was interrupted while files were put in place needs nobody any more.
        auto local = co_await know_locally();
        if (!local) co_return std::move(local).as_failure();
        if (!local.assume_value()) {
            auto downloaded = co_await go_online();
            if (!downloaded) co_return std::move(downloaded).as_failure();
        }
        shown_.begin("export", total_bytes());
        auto placed = co_await to_.place(files_, work_.store(), pool_,
                                         [this](std::uint64_t bytes) { shown_.add(bytes); });
        shown_.end();
        if (!placed) co_return std::move(placed).as_failure();
        auto clean = [this] { return work_.remove(); };
        const bool gone = co_await offload(pool_, clean);
        if (!gone) {
            shown_.note("copse: some files were left in " +
                        shown_path(to_.path_of(blob::partial_folder)));
        }
        print_summary();
        co_return exit_code::ok;
    }

    /// Nothing is worth keeping: the offer was refused, or nothing of the files has come.
    [[nodiscard]] bool discard() const noexcept
    {
        return discard_ || (work_.fresh() && gained_ == 0);
    }

private:
    [[nodiscard]] std::uint64_t total_bytes() const noexcept
    {
        std::uint64_t sum = 0;
        for (const target_file& file : files_) sum += file.size;
        return sum;
    }

    // ---- without the network ----

    awaitable<step<bool>> know_locally()
    {
        if (options_.ticket.format == blob::blob_format::raw) {
            auto job = [this] { return work_.store().status(options_.ticket.hash); };
            const auto about = co_await offload(pool_, job);
            if (!about || !about.value().complete()) co_return false;
            take_raw(about.value().size);
        } else {
            auto job = [this] { return work_.stored_manifest(to_); };
            auto known = co_await offload(pool_, job);
            if (!known) co_return false;
            take_manifest(*known);
        }
        auto surveyed = co_await survey();
        if (!surveyed) co_return std::move(surveyed).as_failure();
        auto job = [this] { return is_all_here(); };
        const bool all = co_await offload(pool_, job);
        if (all) summary_.here = distinct_bytes();
        else files_.clear();
        co_return all;
    }

    bool is_all_here()
    {
        for (const target_file& file : files_) {
            if (file.in_place) continue;
            const auto about = work_.store().status(file.hash);
            if (!about || !about.assume_value().complete()) return false;
        }
        return true;
    }

    [[nodiscard]] std::uint64_t distinct_bytes() const
    {
        std::map<hash::digest, std::uint64_t> sizes;
        for (const target_file& file : files_) sizes.emplace(file.hash, file.size);
        std::uint64_t sum = 0;
        for (const auto& [hash, size] : sizes) sum += size;
        return sum;
    }

    // ---- what the ticket names ----

    void take_raw(std::uint64_t size)
    {
        target_file file;
        file.name = hash::to_hex(options_.ticket.hash);
        file.hash = options_.ticket.hash;
        file.size = size;
        files_.assign(1, file);
    }

    void take_manifest(const blob::manifest& m)
    {
        files_.clear();
        for (std::size_t i = 0; i < m.names.size(); ++i) {
            target_file file;
            file.name = m.names[i];
            file.hash = m.hashes[i + 1];
            file.size = m.sizes[i];
            files_.push_back(std::move(file));
        }
    }

    awaitable<step<void>> survey()
    {
        bool begun = false;
        auto count = [this, &begun](std::uint64_t bytes) {
            if (!std::exchange(begun, true)) shown_.begin("compare", std::nullopt);
            shown_.add(bytes);
        };
        auto surveyed = co_await to_.survey(files_, pool_, count);
        if (begun) shown_.end();
        co_return surveyed;
    }

    // ---- with the network ----

    awaitable<step<void>> go_online()
    {
        const auto addresses = udp_addresses(options_.ticket.address);
        if (addresses.empty()) {
            const bool relay = !options_.ticket.address.paths.empty();
            co_return fail(
                exit_code::unreachable,
                relay ? "the ticket has relay addresses only, and this version dials direct ones; "
                        "with sendme, make the ticket by `sendme send --ticket-type addresses`"
                      : "the ticket has no address to dial");
        }
        quic::endpoint_options wanted;
        wanted.bind = options_.bind;
        wanted.handshake_timeout = options_.timeout;
        auto opened = open_endpoint(executor_, std::move(wanted));
        if (!opened) co_return std::move(opened).as_failure();
        quic::endpoint& ep = opened.assume_value();
        auto downloaded = co_await download(ep);
        if (connection_) {
            auto code = close_code::done;
            if (!downloaded) {
                const bool stopped = downloaded.assume_error().code == exit_code::interrupted;
                code = stopped ? close_code::interrupted : close_code::failed;
            } else if (summary_.here > 0) {
                // The sender shall learn that all it sent arrived before it learns that we left. Of
                // a download from the beginning it can tell by the number of bytes.
                static_cast<void>(co_await sleep_for(farewell));
            }
            connection_->close(static_cast<std::uint64_t>(code), "");
            connection_.reset();
        }
        co_await ep.close();
        co_return downloaded;
    }

    awaitable<result<void>> connect(quic::endpoint& ep)
    {
        if (connection_ && !connection_->why_closed()) co_return outcome::success();
        connection_.reset();
        shown_.begin("connect", std::nullopt);
        shown_.detail(addresses_text(options_.ticket.address));
        auto dial = ep.connect(options_.ticket.address, std::string(blob::alpn));
        auto dialled = co_await with_timeout(std::move(dial), options_.timeout);
        shown_.end();
        if (!dialled) co_return dialled.error();
        connection_ = std::move(dialled).assume_value();
        co_return outcome::success();
    }

    /// Everything that is missing, with several attempts as long as something comes.
    awaitable<step<void>> download(quic::endpoint& ep)
    {
        const time_point began = monotonic_clock::now();
        unsigned fruitless = 0;
        for (;;) {
            const std::uint64_t before = gained_;
            auto attempt = co_await try_download(ep);
            if (!attempt) co_return std::move(attempt).as_failure();
            const std::error_code error = attempt.assume_value();
            if (!error) break;
            // What a provider does not have, it will hardly have later.
            const bool gained =
                gained_ - before >= least_gain && error != blob::blob_errc::not_available;
            fruitless = gained ? 0 : fruitless + 1;
            if (!may_pass(error) || !ever_connected_ || fruitless == most_fruitless) {
                co_return explain(error);
            }
            shown_.end();
            shown_.note("copse: " + error.message() + "; trying again");
            const auto backoff = first_backoff * std::max(1U, fruitless);
            const std::error_code stop = co_await sleep_for(backoff);
            if (stop) co_return explain(stop);
        }
        summary_.time = monotonic_clock::now() - began;
        co_return outcome::success();
    }

    /// \return what ended this attempt, nothing when all is here; a failure ends the command.
    awaitable<step<std::error_code>> try_download(quic::endpoint& ep)
    {
        const auto connected = co_await connect(ep);
        if (!connected) co_return connected.error();
        ever_connected_ = true;
        if (files_.empty()) {
            shown_.begin("ask", std::nullopt);
            auto known = co_await ask();
            shown_.end();
            if (!known) co_return std::move(known).as_failure();
            if (known.assume_value()) co_return known.assume_value();
            auto surveyed = co_await survey();
            if (!surveyed) co_return std::move(surveyed).as_failure();
        }
        resumed_store with_placed(work_.store(), files_);
        // The names are here, and are no part of the files.
        if (!manifest_.hashes.empty()) with_placed.claim(manifest_.hashes[0], 0);
        blob::fetch_environment env{with_placed, pool_, buffers_};
        auto missing = co_await find_all_missing(env);
        if (!missing) co_return fail(missing.error(), "partial download");
        const blob::missing_parts parts = std::move(missing).assume_value();
        announce(parts);
        if (parts.request.empty()) co_return std::error_code{};
        auto fetched = co_await fetch_missing(parts, env);
        co_return fetched;
    }

    awaitable<step<std::error_code>> fetch_missing(const blob::missing_parts& parts,
                                                   blob::fetch_environment& env)
    {
        shown_.begin("transfer", parts.total_bytes, parts.present_bytes);
        blob::get_request wanted;
        wanted.hash = options_.ticket.hash;
        wanted.ranges = parts.request;
        where_ = {};
        const std::uint64_t before = summary_.fetched;
        const auto fetched =
            co_await blob::fetch(connection_, std::move(wanted), env, fetch_options(), where_);
        gained_ += summary_.fetched - before;
        shown_.end();
        if (!fetched) co_return fetched.error();
        auto missing = co_await find_all_missing(env);
        if (!missing) co_return fail(missing.error(), "partial download");
        if (missing.assume_value().request.empty()) co_return std::error_code{};
        // The provider ended its answer well, and still something is not here.
        co_return make_error_code(blob::blob_errc::truncated_response);
    }

    awaitable<result<blob::missing_parts>> find_all_missing(blob::fetch_environment& env)
    {
        if (options_.ticket.format == blob::blob_format::raw) {
            auto found = co_await blob::find_missing(options_.ticket.hash, env);
            co_return found;
        }
        auto found = co_await blob::find_missing(manifest_, env);
        co_return found;
    }

    /// Learns names and sizes. \return as try_download().
    awaitable<step<std::error_code>> ask()
    {
        if (options_.ticket.format == blob::blob_format::raw) {
            auto size = co_await ask_size();
            if (!size) co_return size.error();
            take_raw(size.assume_value());
            co_return std::error_code{};
        }
        auto got = co_await blob::fetch_manifest(connection_, options_.ticket.hash, env_,
                                                 fetch_options(), where_);
        if (!got) {
            const std::error_code error = got.error();
            discard_ = error == blob::blob_errc::bad_hash_sequence ||
                       error == blob::blob_errc::bad_collection ||
                       error == blob::blob_errc::collection_too_large ||
                       error == blob::blob_errc::bad_name_encoding;
            co_return error;
        }
        manifest_ = std::move(got).assume_value();
        std::size_t refused = 0;
        const auto good = blob::check_names(manifest_.names, &refused);
        if (!good) {
            discard_ = true;
            co_return fail(exit_code::refused,
                           "refused the name '" + blob::escape_name(manifest_.names[refused]) +
                               "': " + good.error().message() + "; nothing was written");
        }
        take_manifest(manifest_);
        if (files_.empty()) co_return fail(exit_code::refused, "the collection has no files");
        co_return std::error_code{};
    }

    /// The proven size of a single blob: its last chunk tells it.
    awaitable<result<std::uint64_t>> ask_size()
    {
        std::uint64_t size = 0;
        blob::fetch_options options = fetch_options();
        options.blob = [&size](const blob::fetched_blob& b) { size = b.size; };
        blob::get_request wanted;
        wanted.hash = options_.ticket.hash;
        wanted.ranges = blob::ranges_seq::root(bao::chunk_ranges::last_chunk());
        const auto fetched =
            co_await blob::fetch(connection_, std::move(wanted), env_, std::move(options), where_);
        if (!fetched) co_return fetched.error();
        co_return size;
    }

    [[nodiscard]] blob::fetch_options fetch_options()
    {
        blob::fetch_options options;
        options.progress_timeout = options_.timeout;
        options.durable = options_.durable;
        options.progress = [this](std::uint64_t bytes) {
            summary_.fetched += bytes;
            shown_.add(bytes);
        };
        return options;
    }

    void announce(const blob::missing_parts& parts)
    {
        if (std::exchange(announced_, true)) return;
        // The question for sizes brought the last chunk of each file. Where that is all of the
        // file's last group it was kept, but it was not here before.
        std::uint64_t just_came = 0;
        std::map<hash::digest, std::uint64_t> sizes;
        for (const target_file& file : files_) {
            const std::uint64_t tail = file.size % hash::group_size;
            const bool kept = tail > 0 && tail <= hash::chunk_size;
            if (!file.in_place && kept) sizes.emplace(file.hash, tail);
        }
        for (const auto& [hash, size] : sizes) just_came += size;
        summary_.here = parts.present_bytes - std::min(parts.present_bytes, just_came);
        const std::string total = to_size(distinct_bytes());
        if (summary_.here > 0) {
            shown_.note("resuming: " + to_size(summary_.here) + " of " + total + " are here");
        } else {
            shown_.note("fetching " + to_count(files_.size(), "file") + ", " + total);
        }
    }

    [[nodiscard]] failure explain(const std::error_code& error) const
    {
        const exit_code code = to_exit_code(error);
        std::string text = error.message();
        switch (code) {
        case exit_code::interrupted:
            return fail(code, "interrupted; the same command goes on where this one ended");
        case exit_code::unreachable:
            if (!ever_connected_) {
                text = "cannot reach " + short_id(options_.ticket.address.id) + " at " +
                       addresses_text(options_.ticket.address) + ": " + text +
                       "; does the sender still run, and does UDP pass between you?";
                return fail(code, text);
            }
            return fail(code, text + "; the same command goes on where this one ended");
        case exit_code::integrity:
            return fail(code, text + ": " + where_.to_string() +
                                  "; nothing wrong was stored, take another provider");
        case exit_code::refused:
            if (discard_) return fail(code, text + "; nothing was written");
            return fail(code, text + ": " + where_.to_string());
        case exit_code::files: return fail(code, "while storing: " + text);
        default: return fail(code, text);
        }
    }

    void print_summary() const
    {
        std::size_t several = files_.size();
        print("hash     " + hash::to_hex(options_.ticket.hash));
        std::string line = "fetched  " + to_count(summary_.fetched, "byte") + ", verified";
        if (summary_.fetched > 0) {
            line += ", in " + to_duration(summary_.time) + ", " +
                    to_rate(summary_.fetched, summary_.time);
        }
        print(line + "; " + to_count(summary_.here, "byte") + " were already here");
        line = "saved    " + to_count(several, "file") + ", " + to_count(total_bytes(), "byte") +
               " (" + to_size(total_bytes()) + "), ";
        print(line + (several == 1 ? "as " + shown_path(to_.path_of(files_[0].name))
                                   : "in " + shown_path(options_.folder)));
    }

    executor executor_;
    const recv_options& options_;
    offload_pool& pool_;
    workplace& work_;
    progress& shown_;
    destination to_;
    disk::leaf_pool buffers_;
    blob::fetch_environment env_;
    std::shared_ptr<connection> connection_;
    bool ever_connected_ = false;
    blob::manifest manifest_;
    std::vector<target_file> files_;  // empty: not known yet
    blob::fetch_diagnostics where_;
    std::uint64_t gained_ = 0;  // bytes of files that arrived: what makes another attempt worth it
    bool announced_ = false;
    bool discard_ = false;
    summary summary_;
};

awaitable<result<void>> recv_main(const recv_options& options, step<exit_code>& ended)
{
    const executor ex = co_await asio::this_coro::executor;
    const auto pool = make_thread_pool(usable_processors());
    auto open = [&options] {
        return workplace::open(real_file_system(), options.folder, options.ticket.hash);
    };
    auto opened = co_await offload(*pool, open);
    if (!opened) {
        ended = std::move(opened).assume_error();
        co_return outcome::success();
    }
    workplace work = std::move(opened).assume_value();
    bool discard = false;
    {
        progress shown(ex);
        receiver r(ex, options, *pool, work, shown);
        ended = co_await r.run();
        discard = r.discard();
    }
    auto clean = [&work, discard] {
        if (discard) return work.remove();
        work.remove_if_unused();
        return true;
    };
    if (!ended) static_cast<void>(co_await offload(*pool, clean));
    co_return outcome::success();
}

}  // namespace

step<exit_code> run_recv(const words& input)
{
    COPSE_TRY(
        const auto given,
        arguments::parse(
            input,
            {{"output", true, 'o'}, {"force"}, {"durable"}, {"bind", true}, {"timeout", true}}));
    if (given.words().size() != 1) return fail(exit_code::usage, "one ticket is needed");
    auto ticket = blob::parse_blob_ticket(given.words().front());
    if (!ticket) return fail(ticket.error(), "ticket");
    recv_options options;
    options.ticket = std::move(ticket).assume_value();
    options.folder = given.get("output").value_or(".");
    if (options.folder.empty()) return fail(exit_code::usage, "-o needs a folder");
    options.force = given.has("force");
    options.durable = given.has("durable");
    COPSE_TRY(options.bind, given.bind_addresses());
    COPSE_TRY(const auto seconds, given.number("timeout", 1, 86400));
    if (seconds) options.timeout = std::chrono::seconds(*seconds);
    std::signal(SIGPIPE, SIG_IGN);
    step<exit_code> ended = exit_code::ok;
    const auto ran = run_until_complete(recv_main(options, ended));
    if (!ran) return fail(ran.error(), "recv");
    return ended;
}

}  // namespace app
