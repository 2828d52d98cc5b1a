// copse send: hashes files where they are, prints a ticket, and serves it.
#include "arguments.hpp"
#include "commands.hpp"
#include "console.hpp"
#include "key_file.hpp"
#include "progress.hpp"
#include "sources.hpp"
#include "transfer.hpp"

#include <copse/blob/collection.hpp>
#include <copse/blob/provide.hpp>
#include <copse/blob/ticket.hpp>
#include <copse/core/cancellation.hpp>
#include <copse/core/clock.hpp>
#include <copse/core/offload.hpp>
#include <copse/core/run.hpp>
#include <copse/core/scope.hpp>
#include <copse/disk/leaf_pool.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/store/error.hpp>
#include <copse/store/import.hpp>
#include <copse/store/reference_store.hpp>

#include <algorithm>
#include <csignal>
#include <deque>
#include <memory>
#include <set>
#include <utility>

namespace app {

const char send_help[] =
    R"(usage: copse send PATH... [options]

Hashes files and folders where they are, prints a ticket for `copse recv` (and sendme), and serves
them until Ctrl-C. Nothing is copied. Symbolic links and special files are skipped and counted.

  --bind ADDR:PORT     listen here only (repeated for several); default: all interfaces, a free port
  --once               end after one complete transfer
  --skip-unsupported   leave out files whose names receivers would refuse
  --key FILE           who serves: another key file than the one `copse id` uses)";

namespace {

// Files from this size on are hashed one after another, each by all threads.
constexpr std::uint64_t large_file_bytes = 16U << 20;

struct send_options {
    words paths;
    std::vector<socket_address> bind;
    bool once = false;
    bool skip_unsupported = false;
};

// ---- hashing ----

/// Imports the files of a list into a store.
class importer {
public:
    importer(executor ex, offload_pool& pool, const source_list& list, store::reference_store& into,
             progress& shown)
        : pool_(pool),
          list_(list),
          into_(into),
          shown_(shown),
          children_(std::move(ex)),
          hashes_(list.files.size())
    {}

    /// The hashes, in the order of the list. \par Cancellation total.
    awaitable<step<std::vector<hash::digest>>> run()
    {
        shown_.begin("hash", list_.total_bytes);
        std::vector<std::size_t> small;
        for (std::size_t i = 0; i < list_.files.size(); ++i) {
            if (list_.files[i].size < large_file_bytes) {
                small.push_back(i);
                continue;
            }
            const auto imported = co_await import_one(i, pool_.concurrency());
            if (!imported) co_return explain(imported.error());
        }
        for (const std::size_t i : small) {
            const std::error_code stop = co_await children_.wait_below(2 * pool_.concurrency());
            if (stop || children_.stopping()) break;
            children_.spawn(import_one(i, 1));
        }
        const auto joined = co_await children_.join();
        if (!joined) co_return explain(joined.error());
        const bool stop = co_await cancellation_requested();
        if (stop) co_return explain(make_error_code(std::errc::operation_canceled));
        shown_.end();
        co_return std::move(hashes_);
    }

private:
    awaitable<result<void>> import_one(std::size_t index, unsigned workers)
    {
        const source_file& file = list_.files[index];
        std::uint64_t counted = 0;
        store::import_options options;
        options.workers = workers;
        options.progress = [this, &counted](std::uint64_t done) {
            shown_.add(done - std::exchange(counted, done));
        };
        auto imported =
            co_await store::import_file(real_file_system(), pool_, file.path, std::move(options));
        if (!imported) {
            // The first failure is the one that people should see.
            if (failed_ == list_.files.size()) failed_ = index;
            co_return imported.error();
        }
        hashes_[index] = imported.value().root;
        into_.add(std::move(imported).assume_value());
        co_return outcome::success();
    }

    [[nodiscard]] failure explain(const std::error_code& error) const
    {
        if (error == std::errc::operation_canceled) {
            return fail(exit_code::interrupted, "interrupted while hashing");
        }
        std::string what = "hash";
        if (failed_ < list_.files.size()) what = shown_path(list_.files[failed_].path);
        failure out = fail(error, what);
        if (error == store::store_errc::file_changed) {
            out.text += "; send it again when nothing writes to it";
        }
        return out;
    }

    offload_pool& pool_;
    const source_list& list_;
    store::reference_store& into_;
    progress& shown_;
    scope children_;
    std::vector<hash::digest> hashes_;
    std::size_t failed_ = list_.files.size();  // none
};

// ---- what is offered ----

struct offer {
    hash::digest root;
    // Payload of the request for all sizes that precedes a download, in its two forms: with the
    // names' last chunk, and with all of them.
    std::uint64_t sizes_payload = 0;
    std::uint64_t sizes_and_names_payload = 0;
    // What such a request does not bring: a download has moved at least this much.
    std::uint64_t beyond_sizes = 0;
};

std::uint64_t last_chunk_bytes(std::uint64_t size) noexcept
{
    return size == 0 ? 0 : (size - 1) % hash::chunk_size + 1;
}

step<offer> make_offer(const source_list& list, const std::vector<hash::digest>& hashes,
                       store::reference_store& into)
{
    std::vector<std::string> names;
    names.reserve(list.files.size());
    for (const source_file& file : list.files) names.push_back(file.name);
    const auto meta = blob::encode_collection_meta(names);
    if (!meta) return fail(meta.error(), "the list of names");
    std::vector<hash::digest> sequence{into.add_bytes(shared_bytes::copy(meta.assume_value()))};
    sequence.insert(sequence.end(), hashes.begin(), hashes.end());
    const auto encoded = blob::encode_hash_sequence(sequence);

    offer out;
    out.root = into.add_bytes(shared_bytes::copy(encoded));
    out.sizes_payload = encoded.size() + last_chunk_bytes(meta.assume_value().size());
    std::set<hash::digest> seen;
    for (std::size_t i = 0; i < hashes.size(); ++i) {
        const std::uint64_t size = list.files[i].size;
        const std::uint64_t last = last_chunk_bytes(size);
        out.sizes_payload += last;
        if (seen.insert(hashes[i]).second) out.beyond_sizes += size - last;
    }
    out.sizes_and_names_payload = out.sizes_payload + meta.assume_value().size() -
                                  last_chunk_bytes(meta.assume_value().size());
    return out;
}

// ---- serving ----

/// One getter's requests so far.
struct visit {
    bool asked = false;         ///< a request was answered
    bool acknowledged = false;  ///< so was the last one for data, by the getter's transport
    std::uint64_t payload = 0;  ///< of requests for data
    std::uint64_t sent = 0;     ///< of all requests
};

class server {
public:
    server(quic::endpoint& ep, store::reference_store& store, offload_pool& pool, offer what,
           bool once, progress& shown)
        : buffers_("send buffers", send_buffer_bytes, blob::provide_buffer_bytes),
          env_{store, pool, buffers_},
          offer_(what),
          once_(once),
          shown_(shown),
          children_(ep.get_executor()),
          listener_(ep.listen(blob::alpn))
    {}

    /// Serves until the first complete transfer with --once, else until cancelled.
    /// \return whether there was a complete one.
    awaitable<bool> run()
    {
        shown_.begin("serve", std::nullopt);
        show_getters();
        children_.spawn(accept());
        const auto joined = co_await children_.join();
        // Children report what concerns people themselves; cancellation is how serving ends.
        static_cast<void>(joined);
        shown_.end();
        co_return complete_;
    }

private:
    awaitable<void> accept()
    {
        for (;;) {
            auto next = co_await listener_.accept();
            if (!next) break;
            children_.spawn(serve(std::move(next).assume_value()));
        }
    }

    awaitable<void> serve(std::shared_ptr<connection> c)
    {
        const std::string who = short_id(c->peer()) + " at " + to_text(c->remote_address());
        shown_.note("getter " + who);
        const time_point began = monotonic_clock::now();
        visit v;
        ++getters_;
        show_getters();
        blob::provide_options options;
        options.progress = [this, &v](std::uint64_t bytes) {
            v.sent += bytes;
            shown_.add(bytes);
        };
        options.finished = [this, &v](const blob::provide_report& report) { judge(v, report); };
        const close_reason why = co_await blob::provide(c, env_, std::move(options));
        c->close(0, "");
        --getters_;
        show_getters();
        const bool complete = is_complete(v, why);
        const auto time = monotonic_clock::now() - began;
        shown_.note("getter " + who + (complete ? " has everything: " : " left: ") +
                    to_size(v.sent) + " sent in " + to_duration(time) + ", " +
                    to_rate(v.sent, time) + describe(why));
        if (complete && once_) {
            complete_ = true;
            children_.request_stop();
        }
    }

    void judge(visit& v, const blob::provide_report& report) const
    {
        if (report.root != offer_.root) return;
        v.asked = true;
        // With nothing but files of one chunk the question for sizes brings all there is.
        const bool for_sizes = report.payload_bytes == offer_.sizes_payload ||
                               report.payload_bytes == offer_.sizes_and_names_payload;
        if (for_sizes && offer_.beyond_sizes > 0) return;
        v.payload += report.payload_bytes;
        v.acknowledged = report.acknowledged;
    }

    // A getter that is content closes with code 0, as every program that is told to stop may. So
    // the last answer must have been acknowledged, or all data was sent: the close can overtake the
    // acknowledgement of a small answer.
    [[nodiscard]] bool is_complete(const visit& v, const close_reason& why) const noexcept
    {
        const bool content = why.by_peer && why.application && why.code == 0;
        const bool all_sent = v.asked && v.payload >= offer_.beyond_sizes;
        return content ? v.acknowledged || all_sent : v.acknowledged && all_sent;
    }

    [[nodiscard]] static std::string describe(const close_reason& why)
    {
        if (why.application && why.code == 0) return {};
        if (!why.by_peer && why.error == std::errc::operation_canceled) return {};
        std::string text = "; " + why.error.message();
        if (why.application) text += " with code " + std::to_string(why.code);
        if (!why.reason.empty()) text += " '" + blob::escape_name(why.reason) + "'";
        return text;
    }

    void show_getters() { shown_.detail(to_count(getters_, "getter")); }

    disk::leaf_pool buffers_;
    blob::provide_environment env_;
    const offer offer_;
    const bool once_;
    progress& shown_;
    scope children_;
    quic::listener listener_;
    std::uint64_t getters_ = 0;
    bool complete_ = false;
};

// ---- the command ----

std::string skipped_text(const source_list& list)
{
    std::string out;
    const auto add = [&out](std::uint64_t count, std::string_view what) {
        if (count > 0) out += (out.empty() ? "" : ", ") + to_count(count, what);
    };
    add(list.links, "symbolic link");
    add(list.special, "special file");
    add(list.unsupported.size(), "unsupported name");
    return out;
}

void print_ticket(const quic::endpoint& ep, const hash::digest& root)
{
    blob::blob_ticket ticket;
    ticket.address = ep.address();
    // A machine without network still has itself.
    if (udp_addresses(ticket.address).empty()) {
        for (const auto& bound : ep.bound_addresses()) {
            if (bound.is_v4()) {
                ticket.address.paths.emplace_back(socket_address::loopback_v4(bound.port));
            }
        }
    }
    ticket.format = blob::blob_format::hash_seq;
    ticket.hash = root;
    const std::string text = blob::to_string(ticket);
    print(output_is_terminal() ? "copse recv " + text : text);
}

awaitable<step<exit_code>> send_from(quic::endpoint& ep, const send_options& options,
                                     offload_pool& pool, progress& shown)
{
    const executor ex = ep.get_executor();
    file_system& fs = real_file_system();
    auto list_job = [&fs, &options] {
        return list_sources(fs, options.paths, options.skip_unsupported);
    };
    auto listed = co_await offload(pool, list_job);
    if (!listed) co_return std::move(listed).as_failure();
    const source_list list = std::move(listed).assume_value();
    const std::string skipped = skipped_text(list);
    if (!skipped.empty()) shown.note("skipped: " + skipped);
    for (const std::string& name : list.unsupported) shown.note("skipped: '" + name + "'");

    store::reference_store store(fs);
    importer files(ex, pool, list, store, shown);
    const time_point began = monotonic_clock::now();
    auto hashes = co_await files.run();
    if (!hashes) co_return std::move(hashes).as_failure();
    const auto time = monotonic_clock::now() - began;
    COPSE_CO_TRY(const offer what, make_offer(list, hashes.assume_value(), store));
    shown.note("hash     " + hash::to_hex(what.root));
    shown.note("offered  " + to_count(list.files.size(), "file") + ", " +
               to_count(list.total_bytes, "byte") + " (" + to_size(list.total_bytes) +
               "), hashed in " + to_duration(time) + ", " + to_rate(list.total_bytes, time));

    server serving(ep, store, pool, what, options.once, shown);
    print_ticket(ep, what.root);
    shown.note(options.once ? "serving until one getter has everything" : "serving until Ctrl-C");
    const bool complete = co_await serving.run();
    if (options.once && !complete) {
        co_return fail(exit_code::interrupted, "interrupted before anyone had everything");
    }
    co_return exit_code::ok;
}

awaitable<result<void>> send_main(const send_options& options, quic::secret_key key,
                                  step<exit_code>& ended)
{
    const executor ex = co_await asio::this_coro::executor;
    const auto pool = make_thread_pool(usable_processors());
    quic::endpoint_options endpoint_options;
    endpoint_options.identity = std::move(key);
    endpoint_options.bind = options.bind;
    // First of all: a port that is taken must not show after an hour of hashing.
    auto opened = open_endpoint(ex, std::move(endpoint_options));
    if (!opened) {
        ended = std::move(opened).assume_error();
        co_return outcome::success();
    }
    quic::endpoint& ep = opened.assume_value();
    {
        progress shown(ex);
        ended = co_await send_from(ep, options, *pool, shown);
    }
    co_await ep.close();
    co_return outcome::success();
}

step<quic::secret_key> choose_key(const std::optional<std::string>& given)
{
    const auto path = given ? given : default_key_path();
    if (path) return load_or_create_key(*path);
    complain("copse: no place for a key file (set HOME or COPSE_HOME): this ticket ends with this "
             "program");
    return quic::secret_key::generate();
}

}  // namespace

step<exit_code> run_send(const words& input)
{
    COPSE_TRY(
        const auto given,
        arguments::parse(input, {{"bind", true}, {"once"}, {"skip-unsupported"}, {"key", true}}));
    send_options options;
    options.paths = given.words();
    if (options.paths.empty()) return fail(exit_code::usage, "nothing to send: give a PATH");
    COPSE_TRY(options.bind, given.bind_addresses());
    options.once = given.has("once");
    options.skip_unsupported = given.has("skip-unsupported");
    COPSE_TRY(auto key, choose_key(given.get("key")));
    std::signal(SIGPIPE, SIG_IGN);  // a script that read the ticket may close the pipe
    step<exit_code> ended = exit_code::ok;
    const auto ran = run_until_complete(send_main(options, std::move(key), ended));
    if (!ran) return fail(ran.error(), "send");
    return ended;
}

}  // namespace app
