#include "receiver.hpp"

#include "console.hpp"
#include "records.hpp"
#include "transfer.hpp"

#include <copse/codec/key_text.hpp>
#include <copse/core/race.hpp>
#include <copse/core/scope.hpp>

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

namespace app {

using namespace std::chrono_literals;

namespace {

// Attempts in a row that bring nothing before a provider is given up, and the waits between them.
constexpr unsigned most_fruitless = 3;
constexpr std::chrono::seconds first_backoff = 1s;
// An attempt that brings less counts as one that brings nothing.
constexpr std::uint64_t least_gain = 1U << 20;
// Long enough for a delayed acknowledgement to leave (RFC 9000: 25 ms by default).
constexpr std::chrono::nanoseconds farewell = 40ms;

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

/// Whether no provider can help.
bool is_ours(exit_code code) noexcept
{
    return code == exit_code::files || code == exit_code::disk_full || code == exit_code::limit ||
           code == exit_code::interrupted || code == exit_code::other;
}

std::string addresses_text(const endpoint_address& address)
{
    std::string text;
    for (const auto& one : udp_addresses(address)) {
        text += (text.empty() ? "" : ", ") + one.to_string();
    }
    return text;
}

std::string_view outcome_text(quic::dial_attempt::outcome_type outcome) noexcept
{
    using enum quic::dial_attempt::outcome_type;
    switch (outcome) {
    case not_tried: return "not-tried";
    case unusable: return "unusable";
    case pending: return "pending";
    case abandoned: return "abandoned";
    case failed: return "failed";
    case connected: return "connected";
    }
    return "unknown";
}

void report_dial(const quic::dial_attempt& attempt)
{
    const auto ms = [](std::chrono::nanoseconds time) {
        return std::chrono::duration<double, std::milli>(time).count();
    };
    record out("dial");
    out.text("address", to_text(attempt.address)).text("outcome", outcome_text(attempt.outcome));
    if (attempt.error) out.text("message", attempt.error.message());
    out.decimal("start_ms", ms(attempt.start)).decimal("duration_ms", ms(attempt.duration)).print();
}

}  // namespace

// ---- providers ----

std::string receiver::name_of(const provider& p) const
{
    return short_id(p.ticket->address.id) + " at " + addresses_text(p.ticket->address);
}

std::optional<std::size_t> receiver::next_alive() const noexcept
{
    for (std::size_t step = 1; step <= providers_.size(); ++step) {
        const std::size_t i = (current_ + step) % providers_.size();
        if (providers_[i].alive) return i;
    }
    return std::nullopt;
}

void receiver::leave(std::size_t next)
{
    if (next == current_) return;
    if (connection_) connection_->close(static_cast<std::uint64_t>(close_code::failed), "");
    connection_.reset();
    current_ = next;
    // Another one may know what this one did not.
    if (!without_size_.empty()) files_.clear();
    without_size_.clear();
}

failure receiver::give_up() const
{
    const bool exhausted = std::ranges::any_of(providers_, &provider::exhausted);
    const bool some = std::ranges::any_of(files_, [this](const target_file& file) {
        if (file.in_place) return true;
        const auto about = work_.store().status(file.hash);
        return about && about.assume_value().complete();
    });
    if (exhausted && some) return fail(exit_code::partial, "");
    if (providers_.size() == 1) return fail(current().code, current().failure);
    std::string text =
        "none of " + std::to_string(providers_.size()) + " providers could serve it:";
    for (const provider& p : providers_) text += "\n  " + name_of(p) + ": " + p.failure;
    return fail(current().code, text);
}

// ---- with the network ----

awaitable<step<void>> receiver::go_online()
{
    quic::endpoint_options wanted;
    wanted.bind = options_.bind;
    wanted.handshake_timeout = options_.timeout;
    auto opened = open_endpoint(executor_, std::move(wanted));
    if (!opened) co_return std::move(opened).as_failure();
    quic::endpoint& ep = opened.assume_value();
    step<void> downloaded = outcome::success();
    if (!pipe_) {
        downloaded = co_await download(ep);
    } else {
        scope both(executor_);
        both.spawn(pipe_->run());
        both.spawn(download_for_pipe(ep, downloaded));
        const auto piped = co_await both.join();
        if (!piped && piped.error() == std::errc::broken_pipe) {
            downloaded = fail(exit_code::interrupted, "nobody reads standard output any more");
        } else if (!piped && downloaded) {
            downloaded = fail(piped.error(), "standard output");
        } else if (downloaded && !pipe_->complete()) {
            // Stopped when all was here, but not yet out: join() does not report what was asked for.
            downloaded = fail(exit_code::interrupted, "interrupted");
        }
    }
    if (connection_) {
        auto code = close_code::done;
        if (!downloaded) {
            const bool stopped = downloaded.assume_error().code == exit_code::interrupted;
            code = stopped ? close_code::interrupted : close_code::failed;
        } else if (here_ > 0 || providers_.size() > 1) {
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

// Its failure stops the pipe, and the end of the pipe stops it.
awaitable<result<void>> receiver::download_for_pipe(quic::endpoint& ep, step<void>& out)
{
    out = co_await download(ep);
    if (!out) co_return make_error_code(std::errc::operation_canceled);
    pipe_->begin(files_[0].hash, files_[0].size);
    pipe_->end();
    co_return outcome::success();
}

awaitable<result<void>> receiver::connect(quic::endpoint& ep)
{
    if (connection_ && !connection_->why_closed()) co_return outcome::success();
    connection_.reset();
    const endpoint_address& address = current().ticket->address;
    shown_.begin("connect", std::nullopt);
    shown_.detail(addresses_text(address));
    auto dial = ep.connect(address, std::string(blob::alpn), current().dial);
    auto dialled = co_await with_timeout(std::move(dial), options_.timeout);
    shown_.end();
    for (const quic::dial_attempt& attempt : current().dial.attempts) report_dial(attempt);
    if (!dialled) co_return dialled.error();
    connection_ = std::move(dialled).assume_value();
    record("connected")
        .text("id", codec::to_string(address.id))
        .text("address", to_text(connection_->remote_address()))
        .print();
    co_return outcome::success();
}

awaitable<step<void>> receiver::download(quic::endpoint& ep)
{
    const time_point began = monotonic_clock::now();
    for (;;) {
        const std::uint64_t before = gained_;
        provider& from = current();
        auto attempt = co_await try_download(ep);
        if (!attempt) co_return std::move(attempt).as_failure();
        const std::error_code error = attempt.assume_value();
        if (!error) break;
        const failure why = explain_attempt(error);
        from.failure = why.text;
        from.code = why.code;
        if (is_ours(why.code)) co_return why;
        // What a provider does not have, it will hardly have later.
        const bool gained =
            gained_ - before >= least_gain && error != blob::blob_errc::not_available;
        from.fruitless = gained ? 0 : from.fruitless + 1;
        from.alive = may_pass(error) && from.ever_connected && !from.exhausted &&
                     from.fruitless < most_fruitless;
        const auto next = next_alive();
        if (!next) co_return give_up();
        shown_.end();
        report_attempt(why, *next);
        const bool again = *next <= current_;  // all were asked since the last wait
        leave(*next);
        if (!again) continue;
        const auto backoff = first_backoff * std::max(1U, current().fruitless);
        const std::error_code stop = co_await sleep_for(backoff);
        if (stop) co_return explain(stop);
    }
    time_ = monotonic_clock::now() - began;
    co_return outcome::success();
}

void receiver::report_attempt(const failure& why, std::size_t next)
{
    if (prints_records()) {
        record("attempt-failed")
            .text("id", codec::to_string(current().ticket->address.id))
            .text("class", class_name(why.code))
            .text("message", why.text)
            .print();
    } else if (next == current_) {
        shown_.note("copse: " + why.text + "; trying again");
    } else {
        shown_.note("copse: " + why.text + "; trying " + name_of(providers_[next]));
    }
}

failure receiver::explain_attempt(const std::error_code& error) const
{
    if (!udp_addresses(current().ticket->address).empty()) return explain(error);
    const bool relay = !current().ticket->address.paths.empty();
    return fail(exit_code::unreachable,
                relay ? "the ticket has relay addresses only, and this version dials direct ones; "
                        "with sendme, make the ticket by `sendme send --ticket-type addresses`"
                      : "the ticket has no address to dial");
}

awaitable<step<std::error_code>> receiver::try_download(quic::endpoint& ep)
{
    const auto connected = co_await connect(ep);
    if (!connected) co_return connected.error();
    current().ever_connected = true;
    if (files_.empty() && without_size_.empty()) {
        shown_.begin("ask", std::nullopt);
        auto known = co_await learn();
        shown_.end();
        if (!known) co_return std::move(known).as_failure();
        if (known.assume_value()) co_return known.assume_value();
        COPSE_CO_TRYV(check_offer());
        auto surveyed = co_await survey();
        if (!surveyed) co_return std::move(surveyed).as_failure();
    }
    auto fetched = co_await fetch_missing();
    co_return fetched;
}

awaitable<step<std::error_code>> receiver::fetch_missing()
{
    constexpr std::size_t everything = std::numeric_limits<std::size_t>::max() / 2;
    std::size_t most = everything;  // blobs in one request: fewer around a gap
    std::size_t gaps = 0;           // in a row
    for (;;) {
        resumed_store known(work_.store(), files_);
        // The names are here, and are no part of the files.
        if (!manifest_.hashes.empty()) known.claim(manifest_.hashes[0], 0);
        blob::fetch_environment env{known, pool_, buffers_};
        auto all = co_await find_all_missing(env);
        if (!all) co_return fail(all.error(), "partial download");
        announce(all.assume_value());
        if (all.assume_value().request.empty()) co_return std::error_code{};
        const std::uint64_t present = all.assume_value().present_bytes;
        auto missing = all;
        std::optional<hash::digest> first;
        if (most < everything || !current().lacking.empty()) {
            for (const hash::digest& hash : current().lacking) known.claim(hash, 0);
            auto narrow = [this, &known, most] { return first_missing(known, most); };
            first = co_await offload(pool_, narrow);
            if (!first) {
                current().exhausted = true;
                co_return make_error_code(blob::blob_errc::not_available);
            }
            missing = co_await find_all_missing(env);
            if (!missing) co_return fail(missing.error(), "partial download");
        }
        shown_.begin("transfer", all.assume_value().total_bytes, present);
        auto error = co_await fetch_once(missing.assume_value(), env);
        shown_.end();
        auto after = co_await find_all_missing(env);
        if (!after) co_return fail(after.error(), "partial download");
        // The provider ended its answer well, and still something is not here.
        if (!error && !after.assume_value().request.empty()) {
            error = blob::blob_errc::truncated_response;
        }
        if (options_.raw() || (error && !is_gap(error))) co_return error;
        if (!error || after.assume_value().present_bytes > missing.assume_value().present_bytes) {
            if (most < everything) most *= 2;
            gaps = 0;
        } else if (most > 1) {
            // A provider that gives up throws away what was under way: the gap may be anywhere.
            most = most == everything ? std::max<std::size_t>(files_.size() / 2, 1) : most / 2;
        } else {
            current().lacking.insert(*first);
            if (++gaps < most_gaps) continue;
            current().exhausted = true;
            co_return error;
        }
    }
}

awaitable<std::error_code> receiver::fetch_once(const blob::missing_parts& parts,
                                                blob::fetch_environment& env)
{
    blob::get_request wanted;
    wanted.hash = options_.hash();
    wanted.ranges = parts.request;
    where_ = {};
    const std::uint64_t before = fetched_;
    const auto fetched =
        co_await blob::fetch(connection_, std::move(wanted), env, fetch_options(), where_);
    gained_ += fetched_ - before;
    if (!fetched) co_return fetched.error();
    co_return std::error_code{};
}

// On the pool. Beyond the first `most` blobs everything counts as known.
std::optional<hash::digest> receiver::first_missing(resumed_store& known, std::size_t most) const
{
    if (options_.raw()) return options_.hash();
    std::set<hash::digest> found;
    std::optional<hash::digest> first;
    for (const hash::digest& hash : manifest_.hashes) {
        const auto about = known.status(hash);
        if (!about || about.assume_value().complete() || found.contains(hash)) continue;
        if (!first) first = hash;
        if (found.size() < most) found.insert(hash);
        else known.claim(hash, 0);
    }
    return first;
}

blob::fetch_options receiver::fetch_options()
{
    blob::fetch_options options;
    options.progress_timeout = options_.timeout;
    options.durable = options_.durable;
    options.rate = &rate_;
    options.progress = [this](std::uint64_t bytes) {
        fetched_ += bytes;
        current().fetched += bytes;
        shown_.add(bytes);
        if (pipe_) pipe_->more();
        if (announced_) first_byte();  // the answer to a question for sizes has names, too
    };
    return options;
}

awaitable<result<blob::missing_parts>> receiver::find_all_missing(blob::fetch_environment& env)
{
    if (options_.raw()) {
        auto found = co_await blob::find_missing(options_.hash(), env);
        co_return found;
    }
    auto found = co_await blob::find_missing(manifest_, env);
    co_return found;
}

}  // namespace app
