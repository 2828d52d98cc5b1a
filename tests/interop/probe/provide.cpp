// `provide`: serves blobs until standard input ends. For tests of receivers it can also spoil what it
// sends: --corrupt N flips a bit of byte N of each answer, --truncate N ends each answer after N bytes,
// --stall N sends N bytes and then nothing more.
#include "blobs.hpp"
#include "modes.hpp"
#include "network.hpp"

#include <copse/blob/collection.hpp>
#include <copse/blob/provide.hpp>
#include <copse/blob/ticket.hpp>
#include <copse/codec/key_text.hpp>
#include <copse/core/file.hpp>
#include <copse/core/offload.hpp>
#include <copse/core/scope.hpp>
#include <copse/disk/leaf_pool.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/store/folder_store.hpp>
#include <copse/store/memory_store.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <memory>

namespace probe {
namespace {

/// A hash of which nobody has the blob.
hash::digest absent_hash()
{
    return hash::blake3_hash(as_bytes("copse: nobody has this blob"));
}

class offers {
public:
    offers(store::blob_store& store, endpoint_address address)
        : store_(store), address_(std::move(address))
    {}

    hash::digest file(const std::string& path)
    {
        const auto bytes = read_file(path);
        const hash::digest hash = add_blob(store_, bytes, bao::chunk_ranges::all());
        say("hash " + hash::to_hex(hash) + " " + std::to_string(bytes.size()) + " " + path);
        ticket("raw", hash, blob::blob_format::raw);
        return hash;
    }

    void sequence(const std::string& what, const std::vector<hash::digest>& hashes)
    {
        const auto bytes = blob::encode_hash_sequence(hashes);
        const hash::digest hash = add_blob(store_, bytes, bao::chunk_ranges::all());
        say(what + " " + hash::to_hex(hash) + " " + std::to_string(bytes.size()));
        ticket(what, hash, blob::blob_format::hash_seq);
    }

    void partial(const std::string& text)
    {
        const std::size_t equals = text.rfind('=');
        if (equals == text.npos) give_up("--partial is PATH=RANGES");
        const std::string path = text.substr(0, equals);
        const auto bytes = read_file(path);
        const hash::digest hash =
            add_blob(store_, bytes, to_ranges(std::string_view(text).substr(equals + 1)));
        say("partial " + hash::to_hex(hash) + " " + std::to_string(bytes.size()) + " " + path);
        ticket("partial", hash, blob::blob_format::raw);
    }

private:
    void ticket(const std::string& what, const hash::digest& hash, blob::blob_format format) const
    {
        blob::blob_ticket out;
        out.address = address_;
        out.hash = hash;
        out.format = format;
        say("ticket " + what + " " + hash::to_hex(hash) + " " + blob::to_string(out));
    }

    store::blob_store& store_;
    endpoint_address address_;
};

void offer_all(offers& offered, const arguments& args)
{
    std::vector<hash::digest> hashes;
    for (const std::string& path : args.words) hashes.push_back(offered.file(path));
    if (args.has("hashseq")) offered.sequence("hashseq", hashes);
    if (args.has("hashseq-missing")) {
        const auto given = args.get("missing-at");
        const std::uint64_t at = given ? to_number(*given) : hashes.size() / 2;
        if (at > hashes.size()) give_up("--missing-at is beyond the end");
        auto holed = hashes;
        holed.insert(holed.begin() + static_cast<std::ptrdiff_t>(at), absent_hash());
        say("missing " + std::to_string(at) + " " + hash::to_hex(absent_hash()));
        offered.sequence("hashseq-missing", holed);
    }
    for (const std::string& text : args.all("partial")) offered.partial(text);
}

/// What the options say of a kind of requests.
blob::verdict decide(const arguments& args, std::string_view kind)
{
    const auto listed = [&](std::string_view option) {
        const auto kinds = args.all(option);
        return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
    };
    if (listed("refuse")) return blob::verdict::refuse;
    return listed("limit") ? blob::verdict::limit : blob::verdict::allow;
}

/// \param args must outlive what is returned.
blob::provide_options provider_options(const arguments& args)
{
    constexpr std::string_view kinds[] = {"connect", "get", "get-many", "push", "observe"};
    for (const char* const option : {"refuse", "limit"}) {
        for (const std::string& kind : args.all(option)) {
            const bool known =
                std::find(std::begin(kinds), std::end(kinds), kind) != std::end(kinds);
            if (!known) give_up("there are no requests of the kind " + kind);
        }
    }
    blob::provide_options out;
    out.request_timeout = args.seconds("request-timeout", 20);
    out.hooks.admit = [&args](const connection&) { return decide(args, "connect"); };
    out.hooks.authorise = [&args](const blob::request_info& info, const blob::request&) {
        switch (info.type) {
        case blob::request_type::get: return decide(args, "get");
        case blob::request_type::get_many: return decide(args, "get-many");
        case blob::request_type::observe: return decide(args, "observe");
        case blob::request_type::push: break;
        }
        give_up("asked about a push like any request");
    };
    const blob::verdict push = decide(args, "push");
    if (args.has("allow-push") || push != blob::verdict::allow) {
        out.hooks.authorise_push = [push](const blob::request_info&, const blob::push_request& r) {
            say("push " + hash::to_hex(r.content.hash));
            return push;
        };
    }
    return out;
}

awaitable<void> serve_one(std::shared_ptr<connection> c, blob::provide_environment& env,
                          blob::provide_options options)
{
    const close_reason why = co_await blob::provide(c, env, std::move(options));
    static_cast<void>(why);  // getters come and go
    c->close(0, "");
}

awaitable<void> accept_all(quic::listener from, scope& children, blob::provide_environment& env,
                           blob::provide_options options, mischief how)
{
    for (;;) {
        auto next = co_await from.accept();
        if (!next) break;
        auto c = std::make_shared<wrapped_connection>(std::move(next).assume_value(), how);
        children.spawn(serve_one(std::move(c), env, options));
    }
}

/// A folder that is removed at the end, unless it was given by --store.
class store_folder {
public:
    explicit store_folder(const arguments& args) : ours_(!args.has("store"))
    {
        path_ = args.get("store").value_or("");
        if (!ours_) {
            std::filesystem::create_directories(path_);
            return;
        }
        path_ = (std::filesystem::temp_directory_path() / "copse-probe-XXXXXX").string();
        if (!::mkdtemp(path_.data())) give_up("cannot make a temporary folder");
    }
    store_folder(const store_folder&) = delete;
    store_folder& operator=(const store_folder&) = delete;
    ~store_folder()
    {
        std::error_code ignored;  // nothing depends on its removal
        if (ours_) std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

private:
    bool ours_;
    std::string path_;
};

awaitable<void> provide_from(quic::endpoint& ep, store::blob_store& store, const arguments& args)
{
    const auto pool = make_thread_pool(1);
    disk::leaf_pool buffers("probe buffers", buffers_bytes, blob::provide_buffer_bytes);
    blob::provide_environment env{store, *pool, buffers};
    say("id " + codec::to_string(ep.id()));
    for (const auto& bound : ep.bound_addresses()) say("addr " + bound.to_string());
    offers offered(store, ep.address());
    offer_all(offered, args);
    mischief how;
    if (const auto at = args.get("corrupt")) how.corrupt = to_number(*at);
    if (const auto at = args.get("truncate")) how.truncate = to_number(*at);
    if (const auto at = args.get("stall")) how.stall = to_number(*at);
    scope children(ep.get_executor());
    children.spawn(accept_all(ep.listen(blob::alpn), children, env, provider_options(args), how));
    say("ready");
    co_await wait_for_end_of_input();
    children.request_stop();
    const auto joined = co_await children.join();
    static_cast<void>(joined);  // stopped by ourselves
}

}  // namespace

awaitable<bool> provide(std::vector<std::string> input)
{
    const arguments args(input,
                         {"bind", "store", "partial", "missing-at", "corrupt", "truncate", "stall",
                          "request-timeout", "refuse", "limit", "qlog"},
                         {"mem", "hashseq", "hashseq-missing", "allow-push", "retry"});
    std::optional<store_folder> folder;
    std::shared_ptr<store::blob_store> store;
    if (args.has("mem")) {
        store = std::make_shared<store::memory_store>(memory_limit);
    } else {
        folder.emplace(args);
        store::folder_options options;
        options.direct = false;  // files are written from where they happen to be in memory
        store = must(store::folder_store::open(real_file_system(), folder->path(), options),
                     folder->path());
    }
    const auto retry =
        args.has("retry") ? quic::retry_policy::always : quic::retry_policy::under_load;
    quic::endpoint ep = open_endpoint(co_await asio::this_coro::executor, args, retry);
    std::exception_ptr failed;
    try {
        co_await provide_from(ep, *store, args);
    } catch (...) {
        failed = std::current_exception();
    }
    co_await ep.close();
    store.reset();
    if (failed) std::rethrow_exception(failed);
    co_return true;
}

}  // namespace probe
