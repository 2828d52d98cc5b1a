// copse recv: fetches what tickets name, resumes what is there, and puts it in place.
#include "arguments.hpp"
#include "commands.hpp"
#include "receiver.hpp"
#include "records.hpp"
#include "spool.hpp"

#include <copse/core/run.hpp>

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <utility>

namespace app {

namespace {

/// A folder for a download on its way to standard output, removed with this object.
class temporary_place {
public:
    temporary_place() = default;
    temporary_place(const temporary_place&) = delete;
    temporary_place& operator=(const temporary_place&) = delete;
    ~temporary_place()
    {
        std::error_code ignored;  // there is nobody to tell, and nothing to do about it
        if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
    }

    step<std::string> make()
    {
        std::string path = temporary_folder() + "/copse-recv-XXXXXX";
        if (!::mkdtemp(path.data())) {
            return fail(std::error_code(errno, std::generic_category()),
                        "temporary folder " + shown_path(path));
        }
        path_ = path;
        return path;
    }

private:
    std::string path_;
};

awaitable<result<void>> recv_main(const recv_options& options, step<exit_code>& ended)
{
    const executor ex = co_await asio::this_coro::executor;
    const auto pool = make_thread_pool(usable_processors());
    auto open = [&options] {
        return workplace::open(real_file_system(), options.folder, options.hash());
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

step<std::vector<blob::blob_ticket>> parse_tickets(const words& texts)
{
    if (texts.empty())
        return fail(exit_code::usage, "one ticket is needed, or several for one hash");
    std::vector<blob::blob_ticket> out;
    for (const std::string& text : texts) {
        auto ticket = blob::parse_blob_ticket(text);
        if (!ticket) return fail(ticket.error(), "ticket");
        out.push_back(std::move(ticket).assume_value());
        const blob::blob_ticket& first = out.front();
        if (out.back().hash != first.hash) {
            return fail(exit_code::usage,
                        "the tickets name different hashes: " + hash::to_hex(first.hash) + " and " +
                            hash::to_hex(out.back().hash));
        }
        if (out.back().format != first.format) {
            return fail(exit_code::usage, "of the tickets for " + hash::to_hex(first.hash) +
                                              " one names a blob and another a collection");
        }
    }
    return out;
}

}  // namespace

step<exit_code> run_recv(const arguments& given)
{
    recv_options options;
    COPSE_TRY(options.tickets, parse_tickets(given.plain()));
    options.folder = given.get("output").value_or(".");
    if (options.folder.empty()) return fail(exit_code::usage, "-o needs a folder");
    options.to_output = options.folder == "-";
    if (options.to_output && prints_records()) {
        return fail(exit_code::usage, "-o - and --json both want standard output");
    }
    options.force = given.has("force");
    options.durable = given.has("durable");
    COPSE_TRY(options.bind, given.bind_addresses());
    COPSE_TRY(const auto seconds, given.number("timeout", 1, 86400));
    if (seconds) options.timeout = std::chrono::seconds(*seconds);
    COPSE_TRY(const auto most, given.size("max-size"));
    if (most) options.max_size = *most;
    COPSE_TRY(const auto rate, given.rate("limit-down"));
    options.limit_down = rate.value_or(0);
    temporary_place place;
    if (options.to_output) {
        COPSE_TRY(options.folder, place.make());
    }
    std::signal(SIGPIPE, SIG_IGN);
    step<exit_code> ended = exit_code::ok;
    const auto ran = run_until_complete(recv_main(options, ended));
    if (!ran) return fail(ran.error(), "recv");
    return ended;
}

}  // namespace app
