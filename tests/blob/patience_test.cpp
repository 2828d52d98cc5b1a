// Waits that must end: for a request, for a buffer. And what is told of a blob that has come.
#include "tests/blob/pair.hpp"

using namespace copse;
using namespace std::chrono_literals;
using copse::test::breathe;
using copse::test::pair;
using copse::test::run_pair;

namespace {

awaitable<result<void>> get_whole(pair& p, hash::digest root)
{
    const auto report = co_await p.get(root, blob::ranges_seq::root(bao::chunk_ranges::all()));
    if (!report) co_return report.error();
    co_return outcome::success();
}

}  // namespace

TEST_CASE("provider: a stream on which no request comes is given up", "[blob][provider]")
{
    run_pair([](pair& p) -> awaitable<void> {
        p.options.request_timeout = 20ms;
        p.provide();
        auto opened = co_await p.near->open_bi();
        REQUIRE(opened);
        opened.value().recv->stop(0);  // shows the stream to the provider, without a byte
        while (p.reports.empty()) co_await breathe();
        CHECK(p.reports.front().error == std::errc::timed_out);
    });
}

TEST_CASE("fetch: who is cancelled while it waits for a buffer leaves the queue", "[blob]")
{
    run_pair([](pair& p) -> awaitable<void> {
        p.provide();
        const auto root = p.add(copse::test::pattern(50'000));
        std::vector<disk::leaf_pool::buffer> all;
        while (auto one = p.extents.try_take(p.extents.extent_bytes())) {
            all.push_back(std::move(*one));
        }
        scope fetches(p.ex);
        fetches.spawn(get_whole(p, root));
        while (!p.extents.contended()) co_await breathe();
        fetches.request_stop();
        const auto stopped = co_await fetches.join();
        static_cast<void>(stopped);
        CHECK_FALSE(p.extents.contended());
        all.clear();
        const auto again = co_await get_whole(p, root);
        CHECK(again);
    });
}

TEST_CASE("fetch: a blob is told of when it is over, and whether the store has all of it", "[blob]")
{
    run_pair([](pair& p) -> awaitable<void> {
        p.provide();
        const auto data = copse::test::pattern(50'000);
        const auto root = p.add(data);
        std::vector<blob::fetched_blob> told;
        const auto last = bao::chunk_ranges::last_chunk();
        for (const auto& wanted : {last, bao::chunk_ranges::all()}) {
            blob::fetch_options options;
            options.blob = [&told](const blob::fetched_blob& b) { told.push_back(b); };
            blob::get_request request{root, blob::ranges_seq::root(wanted)};
            const auto report = co_await blob::fetch(p.near, std::move(request), p.fetch_env,
                                                     std::move(options), p.where);
            REQUIRE(report);
        }
        REQUIRE(told.size() == 2);
        CHECK_FALSE(told[0].complete);
        CHECK(told[1].complete);
        for (const auto& b : told) {
            CHECK(b.hash == root);
            CHECK(b.size == data.size());
        }
    });
}
