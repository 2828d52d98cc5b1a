// `get-many`: one GetMany request.
#include "content.hpp"
#include "modes.hpp"
#include "network.hpp"

#include <copse/blob/fetch.hpp>
#include <copse/codec/hex.hpp>
#include <copse/core/clock.hpp>
#include <copse/core/offload.hpp>
#include <copse/core/race.hpp>
#include <copse/disk/leaf_pool.hpp>
#include <copse/store/memory_store.hpp>

#include <memory>

namespace probe {
namespace {

blob::get_many_request plan(const arguments& args)
{
    blob::get_many_request out;
    blob::ranges_seq::builder ranges;
    for (const std::string& text : args.all("blob")) {
        const std::size_t equals = text.find('=');
        const std::string spec = equals == text.npos ? "all" : text.substr(equals + 1);
        ranges.from(out.hashes.size(), to_ranges(spec));
        out.hashes.push_back(to_hash(text.substr(0, equals)));
    }
    out.ranges = ranges.from(out.hashes.size(), bao::chunk_ranges::none()).build();
    return out;
}

awaitable<bool> get_many_over(std::shared_ptr<wrapped_connection> c, const arguments& args)
{
    const blob::get_many_request wanted = plan(args);
    const auto pool = make_thread_pool(1);
    store::memory_store store(memory_limit);
    disk::leaf_pool buffers("probe buffers", buffers_bytes, 256U << 10);
    blob::fetch_environment env{store, *pool, buffers};
    blob::fetch_diagnostics where;
    answer got;
    blob::fetch_options options;
    options.data = [&got](std::uint64_t index, std::uint64_t offset, byte_view bytes) {
        got[index].pieces[offset].assign(bytes.begin(), bytes.end());
    };
    say("request " + codec::encode_hex(blob::encode_request(wanted)));
    const time_point began = monotonic_clock::now();
    auto op = blob::fetch_many(c, wanted, env, std::move(options), where);
    const auto done = co_await with_timeout(std::move(op), args.seconds("timeout", 60));
    outcome_of_request how;
    how.time = monotonic_clock::now() - began;
    if (!done) how.error = done.error();
    if (!done) how.where = where.to_string();
    std::function<std::string(std::uint64_t)> file;
    if (const auto out = args.get("out")) {
        file = [path = *out](std::uint64_t index) { return path + "." + std::to_string(index); };
    }
    report_answer(*c, wanted.ranges, wanted.hashes, std::move(got), how, file);
    co_return !how.error;
}

}  // namespace

awaitable<bool> get_many(std::vector<std::string> input)
{
    const arguments args(input, {"id", "addr", "blob", "out", "bind", "timeout"}, {});
    const endpoint_address provider = provider_address(args);
    const bool good = co_await talk(provider, std::string(blob::alpn), get_many_over, args);
    co_return good;
}

}  // namespace probe
