// `observe`: what a provider has of a blob, and how that changes.
#include "modes.hpp"
#include "network.hpp"

#include <copse/blob/observe.hpp>
#include <copse/blob/wire.hpp>
#include <copse/core/clock.hpp>
#include <copse/core/race.hpp>

#include <memory>
#include <optional>

namespace probe {
namespace {

/// `0-64,70-` or `none`.
std::string describe(const bao::chunk_ranges& ranges)
{
    std::string out;
    for (std::size_t i = 0; i < ranges.interval_count(); ++i) {
        const auto part = ranges.interval(i);
        out += (out.empty() ? "" : ",") + std::to_string(part.first) + "-";
        if (part.end != bao::chunk_ranges::max_chunk) out += std::to_string(part.end);
    }
    return out.empty() ? "none" : out;
}

std::string describe(const blob::observation& what)
{
    return std::to_string(what.size) + " " + describe(what.ranges);
}

struct sights {
    blob::observation state;
    std::uint64_t items = 0;
};

/// Looks on until it has seen what was asked for.
awaitable<std::error_code> watch(blob::observer& from, const arguments& args, sights& seen)
{
    const std::uint64_t enough = args.number("items", 0);
    const time_point end = monotonic_clock::now() + args.seconds("wait", 5);
    for (;;) {
        auto op = from.next();
        const auto next = co_await with_timeout(std::move(op), end - monotonic_clock::now());
        if (!next) co_return next.error();
        const blob::observation now = blob::to_observation(next.value());
        say("item " + describe(seen.items == 0 ? now : blob::change_between(seen.state, now)));
        seen.state = now;
        ++seen.items;
        const bool complete = now.ranges == bao::chunk_ranges::all();
        if (seen.items == enough || (args.has("complete") && complete)) co_return std::error_code{};
    }
}

awaitable<bool> observe_over(std::shared_ptr<wrapped_connection> c, const arguments& args)
{
    std::error_code error;
    sights seen;
    {
        auto opened = co_await blob::observer::open(c, to_hash(args.need("hash")));
        blob::observer watching = must(std::move(opened), "observe");
        error = co_await watch(watching, args, seen);
    }
    // The stream is gone by now, and told what it had seen.
    const receipt of_stream = c->last ? *c->last : receipt{};
    if (!error) {
        say("state " + describe(seen.state));
        say("end left");
    } else if (error == std::errc::timed_out) {
        say("end silence");
    } else {
        say("end " + describe_end(error, of_stream, *c));
        say("error " + error.message());
    }
    say(error ? "result failed" : "result ok");
    co_return !error;
}

}  // namespace

awaitable<bool> observe(std::vector<std::string> input)
{
    const arguments args(input, {"id", "addr", "hash", "items", "wait", "bind", "timeout"},
                         {"complete"});
    const endpoint_address provider = provider_address(args);
    const bool good = co_await talk(provider, std::string(blob::alpn), observe_over, args);
    co_return good;
}

}  // namespace probe
