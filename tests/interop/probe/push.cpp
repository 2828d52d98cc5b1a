// `push`: a blob or a hash sequence given to a provider.
#include "blobs.hpp"
#include "modes.hpp"
#include "network.hpp"

#include <copse/blob/collection.hpp>
#include <copse/blob/push.hpp>
#include <copse/codec/key_text.hpp>
#include <copse/core/offload.hpp>
#include <copse/core/race.hpp>
#include <copse/disk/leaf_pool.hpp>
#include <copse/store/memory_store.hpp>

#include <memory>

namespace probe {
namespace {

struct push_plan {
    blob::get_request request;
    std::vector<hash::digest> hashes;  ///< of all blobs
};

push_plan load(store::blob_store& store, const arguments& args)
{
    push_plan out;
    const auto all = bao::chunk_ranges::all();
    for (const std::string& path : args.words) {
        const auto bytes = read_file(path);
        out.hashes.push_back(add_blob(store, bytes, all));
        say("hash " + hash::to_hex(out.hashes.back()) + " " + std::to_string(bytes.size()) + " " +
            path);
    }
    if (args.has("hashseq")) {
        const auto bytes = blob::encode_hash_sequence(out.hashes);
        out.hashes.insert(out.hashes.begin(), add_blob(store, bytes, all));
        say("hashseq " + hash::to_hex(out.hashes.front()));
        out.request.ranges = blob::ranges_seq::builder().from(0, all).build();
    } else {
        if (out.hashes.size() != 1) give_up("one PATH is needed, or --hashseq");
        out.request.ranges = blob::ranges_seq::root(to_ranges(args.get("ranges").value_or("all")));
    }
    out.request.hash = out.hashes.front();
    return out;
}

awaitable<bool> push_over(std::shared_ptr<wrapped_connection> c, const arguments& args)
{
    const auto pool = make_thread_pool(1);
    store::memory_store store(memory_limit);
    disk::leaf_pool buffers("probe buffers", buffers_bytes, blob::provide_buffer_bytes);
    blob::provide_environment env{store, *pool, buffers};
    const push_plan plan = load(store, args);
    if (const auto at = args.get("corrupt")) {
        const auto head = blob::encode_request(blob::push_request{plan.request});
        c->of_opened.corrupt = head.size() + to_number(*at);
    }
    blob::push_options options;
    options.confirm = !args.has("no-confirm");
    options.confirm_timeout = args.seconds("wait", 5);
    auto op = blob::push(c, plan.request, env, std::move(options));
    const auto done = co_await with_timeout(std::move(op), args.seconds("timeout", 60));
    if (done) {
        say("pushed");
        for (const auto& hash : plan.hashes) {
            if (done.value().confirmed) say("confirmed " + hash::to_hex(hash));
        }
    } else {
        const auto code = c->last ? c->last->stopped : std::nullopt;
        say("stop " + (code ? std::to_string(*code) : "none"));
        say("error " + done.error().message());
    }
    say(done ? "result ok" : "result failed");
    c->close(0, "");  // the buffers are not outlived by what is sent from them
    co_return done.has_value();
}

}  // namespace

awaitable<bool> push(std::vector<std::string> input)
{
    const arguments args(input, {"id", "addr", "ranges", "corrupt", "wait", "bind", "timeout"},
                         {"hashseq", "no-confirm"});
    const endpoint_address provider = provider_address(args);
    const bool good = co_await talk(provider, std::string(blob::alpn), push_over, args);
    co_return good;
}

}  // namespace probe
