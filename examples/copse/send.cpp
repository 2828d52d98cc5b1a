// copse send: hashes files where they are, prints a ticket, and serves it.
#include "arguments.hpp"
#include "commands.hpp"
#include "console.hpp"
#include "importer.hpp"
#include "key_file.hpp"
#include "progress.hpp"
#include "qr.hpp"
#include "records.hpp"
#include "server.hpp"
#include "sources.hpp"
#include "spool.hpp"
#include "transfer.hpp"

#include <copse/blob/collection.hpp>
#include <copse/blob/ticket.hpp>
#include <copse/core/clock.hpp>
#include <copse/core/offload.hpp>
#include <copse/core/run.hpp>
#include <copse/store/reference_store.hpp>

#include <algorithm>
#include <csignal>
#include <utility>

namespace app {

namespace {

struct send_options {
    words paths;
    std::vector<socket_address> bind;
    bool standard_input = false;
    std::string name = "stdin";  ///< of standard input
    bool once = false;
    bool skip_unsupported = false;
    bool qr = false;
    std::uint64_t limit_up = 0;  ///< bytes a second, 0: none
};

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

std::string make_ticket(const quic::endpoint& ep, const hash::digest& root)
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
    return blob::to_string(ticket);
}

step<void> print_ticket(const std::string& ticket, bool qr)
{
    if (prints_records()) {
        record("ticket").text("ticket", ticket).print();
        return outcome::success();
    }
    if (qr) {
        COPSE_TRY(const std::string code, qr_text(ticket));
        complain(code);
    }
    print(output_is_terminal() ? "copse recv " + ticket : ticket);
    return outcome::success();
}

void report_offer(const source_list& list, const hash::digest& root, std::chrono::nanoseconds time,
                  progress& shown)
{
    if (prints_records()) {
        record("offer")
            .text("hash", hash::to_hex(root))
            .number("files", list.files.size())
            .number("bytes", list.total_bytes)
            .number("skipped_links", list.links)
            .number("skipped_special", list.special)
            .list("skipped_names", list.unsupported)
            .print();
        return;
    }
    const std::string skipped = skipped_text(list);
    if (!skipped.empty()) shown.note("skipped: " + skipped);
    for (const std::string& name : list.unsupported) shown.note("skipped: '" + name + "'");
    shown.note("hash     " + hash::to_hex(root));
    shown.note("offered  " + to_count(list.files.size(), "file") + ", " +
               to_count(list.total_bytes, "byte") + " (" + to_size(list.total_bytes) +
               "), hashed in " + to_duration(time) + ", " + to_rate(list.total_bytes, time));
}

/// What is sent: the files below the paths, or standard input in `spool`.
awaitable<step<source_list>> find_sources(const send_options& options, offload_pool& pool,
                                          spool_file& spool, progress& shown)
{
    if (options.standard_input) {
        auto spooled = co_await spool.fill(pool, shown);
        if (!spooled) co_return std::move(spooled).as_failure();
        source_list list;
        list.files.push_back({options.name, spool.path(), spooled.assume_value()});
        list.total_bytes = spooled.assume_value();
        co_return list;
    }
    file_system& fs = real_file_system();
    auto list_job = [&fs, &options] {
        return list_sources(fs, options.paths, options.skip_unsupported);
    };
    auto listed = co_await offload(pool, list_job);
    co_return listed;
}

awaitable<step<exit_code>> send_from(quic::endpoint& ep, const send_options& options,
                                     offload_pool& pool, progress& shown)
{
    spool_file spool;
    auto found = co_await find_sources(options, pool, spool, shown);
    if (!found) co_return std::move(found).as_failure();
    const source_list list = std::move(found).assume_value();

    store::reference_store store(real_file_system());
    importer files(ep.get_executor(), pool, list, store, shown);
    const time_point began = monotonic_clock::now();
    auto hashes = co_await files.run();
    if (!hashes) co_return std::move(hashes).as_failure();
    const auto time = monotonic_clock::now() - began;
    COPSE_CO_TRY(const offer what, make_offer(list, hashes.assume_value(), store));
    report_offer(list, what.root, time, shown);

    server serving(ep, store, pool, what, {options.once, options.limit_up}, shown);
    COPSE_CO_TRYV(print_ticket(make_ticket(ep, what.root), options.qr));
    if (!prints_records()) {
        shown.note(options.once ? "serving until one getter has everything"
                                : "serving until Ctrl-C");
    }
    const bool complete = co_await serving.run();
    if (options.once && !complete) {
        co_return fail(exit_code::interrupted, "interrupted before anyone had everything");
    }
    record("end").number("code", 0).print();
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

step<exit_code> run_send(const arguments& given)
{
    send_options options;
    options.paths = given.plain();
    if (options.paths.empty()) return fail(exit_code::usage, "nothing to send: give a PATH");
    options.standard_input = std::ranges::find(options.paths, "-") != options.paths.end();
    if (options.standard_input && options.paths.size() > 1) {
        return fail(exit_code::usage, "- for standard input must be the only PATH");
    }
    if (const auto name = given.get("name")) {
        if (!options.standard_input) {
            return fail(exit_code::usage, "--name is for standard input: copse send - --name NAME");
        }
        options.name = *name;
        const auto good = blob::check_name(options.name);
        if (!good) return fail(exit_code::usage, shown_path(*name) + ": " + good.error().message());
    }
    COPSE_TRY(options.bind, given.bind_addresses());
    options.once = given.has("once");
    options.skip_unsupported = given.has("skip-unsupported");
    COPSE_TRY(const auto rate, given.rate("limit-up"));
    options.limit_up = rate.value_or(0);
    options.qr = given.has("qr");
    if (options.qr) {
        if (prints_records()) return fail(exit_code::usage, "--qr is for people: not with --json");
        COPSE_TRYV(qr_text("to know at once whether this works"));
    }
    COPSE_TRY(auto key, choose_key(given.get("key")));
    std::signal(SIGPIPE, SIG_IGN);  // a script that read the ticket may close the pipe
    step<exit_code> ended = exit_code::ok;
    const auto ran = run_until_complete(send_main(options, std::move(key), ended));
    if (!ran) return fail(ran.error(), "send");
    return ended;
}

}  // namespace app
