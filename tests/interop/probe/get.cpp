// `get`: one Get request.
#include "content.hpp"
#include "modes.hpp"
#include "network.hpp"

#include <copse/blob/collection.hpp>
#include <copse/blob/fetch.hpp>
#include <copse/blob/ticket.hpp>
#include <copse/codec/hex.hpp>
#include <copse/core/clock.hpp>
#include <copse/core/offload.hpp>
#include <copse/core/race.hpp>
#include <copse/disk/leaf_pool.hpp>
#include <copse/store/memory_store.hpp>

#include <map>
#include <memory>

namespace probe {
namespace {

blob::ranges_seq wanted_ranges(const arguments& args, bool sequence)
{
    using bao::chunk_ranges;
    using blob::ranges_seq;
    const bool proof = args.has("size-proof");
    const auto spec = args.get("ranges");
    if (spec && proof) give_up("--ranges and --size-proof exclude each other");
    chunk_ranges root = chunk_ranges::all();
    if (spec) root = to_ranges(*spec);
    else if (proof && !sequence) root = chunk_ranges::last_chunk();
    ranges_seq::builder out;
    out.from(0, root);
    if (!sequence) return out.from(1, chunk_ranges::none()).build();
    std::map<std::uint64_t, chunk_ranges> single;
    for (const std::string& text : args.all("child")) {
        const std::size_t equals = text.find('=');
        if (equals == text.npos) give_up("--child is N=RANGES");
        const std::uint64_t number = to_number(std::string_view(text).substr(0, equals));
        if (number >= 1U << 20) give_up("child number too large");
        single[number] = to_ranges(std::string_view(text).substr(equals + 1));
    }
    if (single.empty()) {
        const auto children = args.get("children");
        return out.from(1, to_ranges(children.value_or(proof ? "last" : "all"))).build();
    }
    std::uint64_t next = 1;
    for (const auto& [number, ranges] : single) {
        if (number + 1 > next) out.from(next, chunk_ranges::none());
        out.from(number + 1, ranges);
        next = number + 2;
    }
    return out.from(next, chunk_ranges::none()).build();
}

struct get_plan {
    endpoint_address provider;
    hash::digest hash;
    bool sequence = false;
    blob::ranges_seq ranges;
    bool root_first = false;  ///< the sequence is fetched by a request of its own
    std::chrono::seconds limit{60};
};

get_plan plan_get(const arguments& args)
{
    get_plan out;
    if (const auto text = args.get("ticket")) {
        const auto ticket = must(blob::parse_blob_ticket(*text), "ticket");
        out.provider = ticket.address;
        out.hash = ticket.hash;
        out.sequence = ticket.format == blob::blob_format::hash_seq;
    } else {
        out.provider = provider_address(args);
        out.hash = to_hash(args.need("hash"));
    }
    out.sequence = out.sequence || args.has("hashseq");
    out.ranges = wanted_ranges(args, out.sequence);
    const auto spec = args.get("ranges");
    out.root_first = out.sequence && spec && *spec != "all";
    out.limit = args.seconds("timeout", 60);
    return out;
}

/// The hashes by index: the blob itself, then the children if it is a sequence.
std::vector<hash::digest> known_hashes(const get_plan& plan, store::blob_store& store)
{
    std::vector<hash::digest> out{plan.hash};
    if (!plan.sequence) return out;
    const auto reader = store.open(plan.hash);
    if (!reader) return out;
    std::vector<std::byte> bytes(static_cast<std::size_t>(reader.value()->size()));
    const byte_span part(bytes);
    if (!reader.value()->read(std::span(&part, 1), 0)) return out;
    const auto sequence = blob::hash_sequence::from_bytes(bytes);
    for (std::size_t i = 0; sequence && i < sequence.value().size(); ++i) {
        out.push_back(sequence.value()[i]);
    }
    return out;
}

awaitable<bool> get_over(std::shared_ptr<wrapped_connection> c, const arguments& args)
{
    const get_plan plan = plan_get(args);
    const auto pool = make_thread_pool(1);
    store::memory_store store(memory_limit);
    disk::leaf_pool buffers("probe buffers", buffers_bytes, 256U << 10);
    blob::fetch_environment env{store, *pool, buffers};
    blob::fetch_diagnostics where;
    if (plan.root_first) {
        blob::get_request first;
        first.hash = plan.hash;
        first.ranges = blob::ranges_seq::root(bao::chunk_ranges::all());
        blob::fetch_options options;
        auto op = blob::fetch(c, std::move(first), env, std::move(options), where);
        const auto done = co_await with_timeout(std::move(op), plan.limit);
        if (!done) give_up("the sequence: " + done.error().message());
    }

    answer got;
    blob::fetch_options options;
    options.data = [&got](std::uint64_t index, std::uint64_t offset, byte_view bytes) {
        got[index].pieces[offset].assign(bytes.begin(), bytes.end());
    };
    blob::get_request wanted;
    wanted.hash = plan.hash;
    wanted.ranges = plan.ranges;
    say("request " + codec::encode_hex(blob::encode_request(wanted)));
    const time_point began = monotonic_clock::now();
    auto op = blob::fetch(c, std::move(wanted), env, std::move(options), where);
    const auto done = co_await with_timeout(std::move(op), plan.limit);
    outcome_of_request how;
    how.time = monotonic_clock::now() - began;
    if (!done) how.error = done.error();
    if (!done) how.where = where.to_string();
    std::function<std::string(std::uint64_t)> file;
    if (const auto out = args.get("out")) {
        file = [path = *out](std::uint64_t index) {
            return index == 0 ? path : path + "." + std::to_string(index - 1);
        };
    }
    report_answer(*c, plan.ranges, known_hashes(plan, store), std::move(got), how, file);
    co_return !how.error;
}

}  // namespace

awaitable<bool> get(std::vector<std::string> input)
{
    const arguments args(
        input,
        {"ticket", "id", "addr", "hash", "ranges", "children", "child", "out", "bind", "timeout"},
        {"size-proof", "hashseq"});
    const endpoint_address provider = plan_get(args).provider;
    const bool good = co_await talk(provider, std::string(blob::alpn), get_over, args);
    co_return good;
}

}  // namespace probe
