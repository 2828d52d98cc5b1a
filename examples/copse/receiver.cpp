#include "receiver.hpp"

#include "console.hpp"
#include "records.hpp"
#include "transfer.hpp"

#include <copse/codec/key_text.hpp>
#include <copse/hash/blake3.hpp>

#include <algorithm>
#include <map>
#include <utility>

namespace app {

namespace {

/// Lines below a message.
std::string indented(std::string_view lines)
{
    std::string out;
    while (!lines.empty()) {
        const std::string_view line = lines.substr(0, lines.find('\n'));
        lines.remove_prefix(std::min(lines.size(), line.size() + 1));
        out += "\n    " + std::string(line);
    }
    return out;
}

}  // namespace

receiver::receiver(executor ex, const recv_options& options, offload_pool& pool, workplace& work,
                   progress& shown)
    : executor_(std::move(ex)),
      options_(options),
      pool_(pool),
      work_(work),
      shown_(shown),
      to_(real_file_system(), options.folder, options.force, options.durable),
      buffers_("receive buffers", receive_buffer_bytes, receive_extent_bytes),
      rate_(options.limit_down),
      env_{work.store(), pool, buffers_}
{
    for (const blob::blob_ticket& ticket : options.tickets) {
        provider p;
        p.ticket = &ticket;
        providers_.push_back(std::move(p));
    }
    if (options.to_output) pipe_.emplace(executor_, work.store());
}

awaitable<step<exit_code>> receiver::run()
{
    // A download that was interrupted while files were put in place needs nobody any more.
    auto local = co_await know_locally();
    if (!local) co_return std::move(local).as_failure();
    if (!local.assume_value()) {
        auto downloaded = co_await go_online();
        if (!downloaded) {
            // What is complete is of use without the rest, if the rest is nowhere.
            if (downloaded.assume_error().code != exit_code::partial) {
                co_return std::move(downloaded).as_failure();
            }
            lost_ = set_lost_aside();
        }
    }
    if (!pipe_) COPSE_CO_TRYV(co_await place_files());
    report_served();
    print_summary();
    if (lost_.empty()) co_return exit_code::ok;
    std::string text = to_count(lost_.size(), "file") + " could not be had: ";
    for (std::size_t i = 0; i < std::min<std::size_t>(lost_.size(), 3); ++i) {
        text += (i ? ", '" : "'") + blob::escape_name(lost_[i]) + "'";
    }
    if (lost_.size() > 3) text += " and " + std::to_string(lost_.size() - 3) + " more";
    co_return fail(exit_code::partial, text +
                                           "; the others are in place, and the same command with "
                                           "another provider fetches the rest");
}

awaitable<step<void>> receiver::place_files()
{
    shown_.begin("export", total_bytes());
    auto placed = co_await to_.place(files_, work_.store(), pool_,
                                     [this](std::uint64_t bytes) { shown_.add(bytes); });
    shown_.end();
    if (!placed) co_return std::move(placed).as_failure();
    if (!lost_.empty()) co_return outcome::success();  // parts of them stay for the next time
    auto clean = [this] { return work_.remove(); };
    const bool gone = co_await offload(pool_, clean);
    if (!gone) {
        shown_.note("copse: some files were left in " +
                    shown_path(to_.path_of(blob::partial_folder)));
    }
    co_return outcome::success();
}

std::vector<std::string> receiver::set_lost_aside()
{
    std::vector<std::string> out = without_size_;
    std::erase_if(files_, [this, &out](const target_file& file) {
        if (file.in_place) return false;
        const auto about = work_.store().status(file.hash);
        if (about && about.assume_value().complete()) return false;
        out.push_back(file.name);
        return true;
    });
    return out;
}

std::uint64_t receiver::total_bytes() const noexcept
{
    std::uint64_t sum = 0;
    for (const target_file& file : files_) sum = blob::add_sizes(sum, file.size);
    return sum;
}

// ---- without the network ----

awaitable<step<bool>> receiver::know_locally()
{
    if (options_.raw()) {
        auto job = [this] { return work_.store().status(options_.hash()); };
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
    if (all) here_ = distinct_bytes();
    else files_.clear();
    co_return all;
}

bool receiver::is_all_here()
{
    for (const target_file& file : files_) {
        if (file.in_place) continue;
        const auto about = work_.store().status(file.hash);
        if (!about || !about.assume_value().complete()) return false;
    }
    return true;
}

std::uint64_t receiver::distinct_bytes() const
{
    std::map<hash::digest, std::uint64_t> sizes;
    for (const target_file& file : files_) sizes.emplace(file.hash, file.size);
    std::uint64_t sum = 0;
    for (const auto& [hash, size] : sizes) sum = blob::add_sizes(sum, size);
    return sum;
}

// ---- what the ticket names ----

void receiver::take_raw(std::uint64_t size)
{
    target_file file;
    file.name = hash::to_hex(options_.hash());
    file.hash = options_.hash();
    file.size = size;
    files_.assign(1, file);
}

void receiver::take_manifest(const blob::manifest& m)
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

step<void> receiver::check_offer()
{
    const auto refuse = [this](exit_code code, std::string text) {
        discard_ = true;
        return fail(code, std::move(text));
    };
    if (files_.empty() && without_size_.empty()) {
        return refuse(exit_code::refused, "the collection has no files");
    }
    if (distinct_bytes() > options_.max_size) {
        return refuse(exit_code::limit,
                      to_count(distinct_bytes(), "byte") +
                          " are more than --max-size allows; nothing was fetched");
    }
    if (pipe_ && files_.size() + without_size_.size() != 1) {
        return refuse(exit_code::usage, "-o - takes a single file, and this ticket names " +
                                            to_count(files_.size() + without_size_.size(), "file"));
    }
    return outcome::success();
}

awaitable<step<void>> receiver::survey()
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

// ---- what is said about it ----

void receiver::announce(const blob::missing_parts& parts)
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
    here_ = parts.present_bytes - std::min(parts.present_bytes, just_came);
    if (pipe_) pipe_->begin(files_[0].hash, files_[0].size);
    if (prints_records()) {
        record("download")
            .text("hash", hash::to_hex(options_.hash()))
            .number("files", files_.size())
            .number("bytes", total_bytes())
            .number("here", here_)
            .print();
        return;
    }
    const std::string total = to_size(distinct_bytes());
    if (here_ > 0) {
        shown_.note("resuming: " + to_size(here_) + " of " + total + " are here");
    } else {
        shown_.note("fetching " + to_count(files_.size(), "file") + ", " + total);
    }
}

void receiver::first_byte()
{
    if (std::exchange(saw_first_byte_, true)) return;
    record("first-byte").print();
}

failure receiver::explain(const std::error_code& error) const
{
    const exit_code code = to_exit_code(error);
    std::string text = error.message();
    switch (code) {
    case exit_code::interrupted:
        return fail(code, options_.to_output
                              ? "interrupted"
                              : "interrupted; the same command goes on where this one ended");
    case exit_code::unreachable:
        if (!current().ever_connected) {
            text = "cannot reach " + name_of(current()) + ": " + text +
                   "; does the sender still run, and does UDP pass between you?" +
                   indented(current().dial.to_string());
            return fail(code, text);
        }
        return fail(code, text + "; the same command goes on where this one ended");
    case exit_code::integrity:
        return fail(code, text + ": " + where_.to_string() +
                              "; nothing wrong was stored, take another provider");
    case exit_code::refused:
        if (discard_) return fail(code, text + "; nothing was written");
        return fail(code, text + ": " + where_.to_string());
    case exit_code::files:
    case exit_code::disk_full: return fail(code, "while storing: " + text);
    default: return fail(code, text);
    }
}

void receiver::report_served() const
{
    for (const provider& p : providers_) {
        if (p.fetched == 0) continue;
        if (prints_records()) {
            record("served")
                .text("id", codec::to_string(p.ticket->address.id))
                .number("bytes", p.fetched)
                .print();
        } else if (providers_.size() > 1) {
            shown_.note("served   " + to_count(p.fetched, "byte") + " by " + name_of(p));
        }
    }
}

void receiver::print_summary() const
{
    if (prints_records()) {
        record done("done");
        done.text("hash", hash::to_hex(options_.hash()))
            .number("fetched", fetched_)
            .number("here", here_)
            .number("files", files_.size())
            .number("bytes", total_bytes())
            .text("folder", options_.folder)
            .list("lost", lost_);
        if (files_.size() == 1) done.text("path", to_.path_of(files_[0].name));
        done.decimal("transfer_ms", std::chrono::duration<double, std::milli>(time_).count())
            .print();
        return;
    }
    const auto say = [this](const std::string& line) {
        if (pipe_) shown_.note(line);
        else print(line);
    };
    say("hash     " + hash::to_hex(options_.hash()));
    std::string line = "fetched  " + to_count(fetched_, "byte") + ", verified";
    if (fetched_ > 0) {
        line += ", in " + to_duration(time_) + ", " + to_rate(fetched_, time_);
    }
    say(line + "; " + to_count(here_, "byte") + " were already here");
    line = (pipe_ ? "written  " : "saved    ") + to_count(files_.size(), "file") + ", " +
           to_count(total_bytes(), "byte") + " (" + to_size(total_bytes()) + "), ";
    if (pipe_) line += "to standard output";
    else if (files_.size() == 1) line += "as " + shown_path(to_.path_of(files_[0].name));
    else line += "in " + shown_path(options_.folder);
    say(line);
}

}  // namespace app
