// Cancellation of requests: what was verified stays, what was not is not shown, and the rest can be asked for.
#include "tests/cancel/blob_scene.hpp"

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;

namespace {

struct fetch_scene : blob_scene {
    using blob_scene::blob_scene;
    awaitable<void> prepare() override
    {
        root = provided.add(content).value();
        co_await blob_scene::prepare();
    }
    awaitable<std::error_code> operate() override
    {
        blob::get_request wanted{root, blob::ranges_seq::root(bao::chunk_ranges::all())};
        blob::fetch_options o;
        o.progress = [this](std::uint64_t bytes) { stored += bytes; };
        const auto got =
            co_await blob::fetch(near, std::move(wanted), fetch_env, std::move(o), where);
        if (!got) co_return got.error();
        CHECK(got.value().stored_bytes == content.size());
        co_return std::error_code{};
    }
    awaitable<void> afterwards(std::error_code ec) override
    {
        check_received(root, content);
        CHECK((ec || stored == content.size()));
        // What was told as stored was stored.
        std::uint64_t there = 0;
        const auto has = received.status(root);
        REQUIRE(has);
        for (std::size_t i = 0; i < has.value().present.interval_count(); ++i) {
            const auto part = has.value().present.interval(i);
            there += std::min<std::uint64_t>(part.end * 1024, content.size()) - part.first * 1024;
        }
        CHECK(there == stored);
        co_await check_download(root, content);
    }
    std::vector<std::byte> content = pattern(150'000);
    hash::digest root;
    std::uint64_t stored = 0;
};

struct download_scene : fetch_scene {
    using fetch_scene::fetch_scene;
    awaitable<void> prepare() override
    {
        // Busy at first: it is asked again.
        options.hooks.authorise = [this](const blob::request_info&, const blob::request&) {
            return ++asked == 1 ? blob::verdict::limit : blob::verdict::allow;
        };
        co_await fetch_scene::prepare();
    }
    awaitable<std::error_code> operate() override
    {
        blob::fetch_options o;
        o.progress = [this](std::uint64_t bytes) { stored += bytes; };
        const auto got = co_await blob::download(near, root, fetch_env, std::move(o), {}, where);
        if (!got) co_return got.error();
        CHECK(got.value().stored_bytes == content.size());
        co_return std::error_code{};
    }
    int asked = 0;
};

/// Three files in a collection, two of them the same.
struct collection_scene : blob_scene {
    using blob_scene::blob_scene;
    awaitable<void> prepare() override
    {
        const std::vector<std::string> names{"a", "b", "c"};
        const auto meta = blob::encode_collection_meta(names).value();
        hashes.push_back(provided.add(meta).value());
        for (const auto& file : files) hashes.push_back(provided.add(file).value());
        root = provided.add(blob::encode_hash_sequence(hashes)).value();
        co_await blob_scene::prepare();
    }
    std::vector<std::vector<std::byte>> files{pattern(50'000), pattern(20'000), pattern(50'000)};
    std::vector<hash::digest> hashes;
    hash::digest root;
};

struct fetch_many_scene : collection_scene {
    using collection_scene::collection_scene;
    awaitable<std::error_code> operate() override
    {
        blob::get_many_request wanted;
        wanted.hashes = {hashes[1], hashes[2]};
        wanted.ranges = blob::ranges_seq::all();
        const auto got = co_await blob::fetch_many(near, std::move(wanted), fetch_env, {}, where);
        if (!got) co_return got.error();
        CHECK(got.value().blobs == 2);
        co_return std::error_code{};
    }
    awaitable<void> afterwards(std::error_code) override
    {
        for (std::size_t i : {0U, 1U}) {
            check_received(hashes[i + 1], files[i]);
            co_await check_download(hashes[i + 1], files[i]);
        }
    }
};

struct manifest_scene : collection_scene {
    using collection_scene::collection_scene;
    awaitable<std::error_code> operate() override
    {
        const auto got = co_await blob::fetch_manifest(near, root, fetch_env, {}, where);
        if (!got) co_return got.error();
        CHECK(got.value().names == std::vector<std::string>{"a", "b", "c"});
        CHECK(got.value().sizes == std::vector<std::uint64_t>{50'000, 20'000, 50'000});
        co_return std::error_code{};
    }
    awaitable<void> afterwards(std::error_code ec) override
    {
        CHECK(extents.limits().used() == 0);
        if (ec) ec = co_await operate();
        CHECK(!ec);
    }
};

struct files_scene : collection_scene {
    using collection_scene::collection_scene;
    awaitable<void> prepare() override
    {
        co_await collection_scene::prepare();
        auto known = co_await blob::fetch_manifest(near, root, fetch_env, {}, where);
        REQUIRE(known);
        m = std::move(known).value();
    }
    awaitable<std::error_code> operate() override
    {
        const auto got = co_await blob::download(near, m, fetch_env, {}, {}, where);
        if (!got) co_return got.error();
        co_return std::error_code{};
    }
    awaitable<void> afterwards(std::error_code ec) override
    {
        for (std::size_t i = 0; i < files.size(); ++i) check_received(hashes[i + 1], files[i]);
        if (ec) ec = co_await operate();
        CHECK(!ec);
        for (std::size_t i = 0; i < files.size(); ++i) {
            CHECK(received.status(hashes[i + 1]).value().complete());
        }
    }
    blob::manifest m;
};

struct missing_scene : files_scene {
    missing_scene(stage& s, carrier by, bool w) : files_scene(s, by), whole(w) {}
    awaitable<std::error_code> operate() override
    {
        result<blob::missing_parts> missing = std::make_error_code(std::errc::io_error);
        if (whole) missing = co_await blob::find_missing(m, fetch_env);
        else missing = co_await blob::find_missing(hashes[1], fetch_env);
        if (!missing) co_return missing.error();
        CHECK(!missing.value().request.empty());
        co_return std::error_code{};
    }
    awaitable<void> afterwards(std::error_code ec) override
    {
        CHECK(!ec);
        co_return;
    }
    bool whole;
};

/// The provider is what is cancelled, while somebody fetches.
struct provide_scene : fetch_scene {
    using fetch_scene::fetch_scene;
    awaitable<void> prepare() override
    {
        root = provided.add(content).value();
        co_await connected_scene::prepare();
        background.spawn(get_and_close(*this));
    }
    static awaitable<void> get_and_close(provide_scene& s)
    {
        const std::error_code ec = co_await s.fetch_scene::operate();
        if (!ec) {
            co_await pause(1ms);
            s.near->close(9, {});
        }
        s.fetched = true;
    }
    awaitable<std::error_code> operate() override
    {
        const close_reason why = co_await blob::provide(far, provide_env, options);
        if (why.error == transport_errc::closed_by_peer) {
            CHECK(why.code == 9);
            co_return std::error_code{};
        }
        // It says why the connection ended, when it had to end it.
        if (why.error == transport_errc::closed_locally && far->why_closed()) co_return canceled;
        co_return why.error;
    }
    awaitable<void> afterwards(std::error_code ec) override
    {
        CHECK(share.connections.used() == 0);
        CHECK(share.requests.used() == 0);
        if (!ec) co_return;
        if (far->why_closed()) {
            // Data was under way: closing gave the buffers back.
            CHECK(buffers.limits().used() == 0);
            CHECK(far->why_closed()->error == transport_errc::closed_locally);
            CHECK(far->why_closed()->code == 0);
            const auto joined = co_await background.join();
            CHECK(joined);
            check_received(root, content);
            co_return;
        }
        // The same connection can be served again.
        background.spawn(serve(*this));
        if (fetched) {
            co_await check_download(root, content);
        } else {
            while (!fetched) co_await pause(1ms);
            check_received(root, content);
        }
    }
    bool fetched = false;
};

/// `near` pushes what `far` stores, and asks whether it did.
struct push_scene : blob_scene {
    using blob_scene::blob_scene;
    awaitable<void> prepare() override
    {
        root = provided.add(content).value();
        options.hooks.authorise_push = [](const blob::request_info&, const blob::push_request&) {
            return blob::verdict::allow;
        };
        co_await connected_scene::prepare();
        background.spawn(receive(*this));
    }
    static awaitable<void> receive(push_scene& s)
    {
        s.ended = co_await blob::provide(s.far, s.receive_env, s.options);
    }
    awaitable<std::error_code> operate() override
    {
        blob::push_options o;
        o.confirm = true;
        blob::get_request what{root, blob::ranges_seq::root(bao::chunk_ranges::all())};
        const auto pushed = co_await blob::push(near, std::move(what), provide_env, std::move(o));
        if (!pushed) co_return pushed.error();
        CHECK(pushed.value().blobs == 1);
        CHECK(pushed.value().confirmed);
        const auto there = received.status(root);
        CHECK(there.value().complete());  // it says so only when it is so
        co_return std::error_code{};
    }
    awaitable<void> afterwards(std::error_code ec) override
    {
        co_await pause(20ms);  // the receiver ends what it had begun
        check_received(root, content);
        if (ec) ec = co_await operate();
        CHECK(!ec);
    }
    std::vector<std::byte> content = pattern(100'000);
    hash::digest root;
    disk::leaf_pool received_buffers{"cancel received", 1U << 20, blob::provide_buffer_bytes};
    blob::provide_environment receive_env{received, pool, received_buffers, &share};
};

struct observe_scene : blob_scene {
    explicit observe_scene(stage& s, carrier by, std::uint64_t streams = 100)
        : blob_scene(s, by, streams)
    {}
    awaitable<std::error_code> open()
    {
        auto opened = co_await blob::observer::open(near, root);
        if (!opened) co_return opened.error();
        observing.emplace(std::move(opened).value());
        co_return std::error_code{};
    }
    awaitable<std::error_code> operate() override
    {
        const std::error_code ec = co_await open();
        co_return ec;
    }
    awaitable<void> afterwards(std::error_code ec) override
    {
        if (ec) ec = co_await open();
        REQUIRE(!ec);
        const auto first = co_await observing->next();
        REQUIRE(first);
        CHECK(first.value().present.empty());
    }
    awaitable<void> finish() override
    {
        observing.reset();
        co_await blob_scene::finish();
    }
    std::vector<std::byte> content = pattern(100'000);
    hash::digest root = hash::blake3_hash(content);
    std::optional<blob::observer> observing;
};

/// Waits until another request makes room for its stream.
struct crowded_scene : observe_scene {
    crowded_scene(stage& s, carrier by) : observe_scene(s, by, 1) {}
    awaitable<void> prepare() override
    {
        co_await observe_scene::prepare();
        auto opened = co_await near->open_bi();
        REQUIRE(opened);
        other = std::move(opened).value();
        const auto sent = co_await other.send->write_copy(as_bytes("x"));
        REQUIRE(sent);
        background.spawn(leave_later(*this));
    }
    static awaitable<void> leave_later(crowded_scene& s)
    {
        co_await pause(5ms);
        s.other = {};
    }
    awaitable<void> finish() override
    {
        other = {};
        co_await observe_scene::finish();
    }
    bidi_stream other;
};

struct next_scene : observe_scene {
    using observe_scene::observe_scene;
    awaitable<void> prepare() override
    {
        co_await observe_scene::prepare();
        const std::error_code ec = co_await open();
        REQUIRE(!ec);
        background.spawn(add_later(*this));
    }
    static awaitable<void> add_later(next_scene& s)
    {
        co_await pause(5ms);
        REQUIRE(s.provided.add(s.content));
    }
    awaitable<std::error_code> operate() override
    {
        for (;;) {
            const auto there = co_await observing->next();
            if (!there) co_return there.error();
            if (there.value().complete()) co_return std::error_code{};
            ++before;
        }
    }
    awaitable<void> afterwards(std::error_code ec) override
    {
        // No item was lost: the state, and one change.
        if (ec) ec = co_await operate();
        CHECK(!ec);
        CHECK(before == 1);
    }
    int before = 0;
};

}  // namespace

TEST_CASE("cancel: copse::blob::fetch")
{
    cancel_on_both<fetch_scene>("copse::blob::fetch", request_rules());
}

TEST_CASE("cancel: copse::blob::fetch_many")
{
    cancel_on_both<fetch_many_scene>("copse::blob::fetch_many", request_rules());
}

TEST_CASE("cancel: copse::blob::fetch_manifest")
{
    cancel_on_both<manifest_scene>("copse::blob::fetch_manifest", request_rules());
}

TEST_CASE("cancel: copse::blob::download")
{
    cancel_on_both<download_scene>("copse::blob::download, a blob", request_rules());
    cancel_on_both<files_scene>("copse::blob::download, a collection", request_rules());
}

TEST_CASE("cancel: copse::blob::find_missing (goes on)")
{
    cancel_rules rules = request_rules();
    rules.has_effect = false;
    cancel_everywhere<missing_scene>("copse::blob::find_missing, a blob", rules, carrier::memory,
                                     false);
    cancel_everywhere<missing_scene>("copse::blob::find_missing, a collection", rules,
                                     carrier::memory, true);
}

TEST_CASE("cancel: copse::blob::provide")
{
    cancel_on_both<provide_scene>("copse::blob::provide", request_rules());
}

TEST_CASE("cancel: copse::blob::push")
{
    cancel_on_both<push_scene>("copse::blob::push", request_rules());
}

TEST_CASE("cancel: copse::blob::observer::open")
{
    cancel_on_both<crowded_scene>("copse::blob::observer::open", request_rules());
}

TEST_CASE("cancel: copse::blob::observer::next")
{
    cancel_on_both<next_scene>("copse::blob::observer::next", request_rules());
}
