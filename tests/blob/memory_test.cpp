// What requests and answers may take of memory: at each limit they wait or are refused by code 2.
#include "tests/blob/pair.hpp"
#include "tests/limit_row.hpp"

#include <copse/blob/collection.hpp>
#include <copse/blob/push.hpp>

using namespace copse;
using namespace std::chrono_literals;
using copse::test::pair;
using copse::test::row_of;
using copse::test::run_pair;

namespace {

blob::ranges_seq whole()
{
    return blob::ranges_seq::root(bao::chunk_ranges::all());
}

/// Opens a stream and writes, without an end, a Get that is at least so long.
awaitable<result<bidi_stream>> begin_request(pair& p, std::size_t bytes)
{
    auto s = co_await p.near->open_bi();
    if (!s) co_return s.error();
    const std::vector<std::byte> beginning(bytes);
    const auto sent = co_await s.value().send->write_copy(beginning);
    if (!sent) co_return sent.error();
    co_return std::move(s).value();
}

awaitable<std::optional<std::uint64_t>> reset_code_of(recv_stream& from)
{
    std::byte one{};
    const auto n = co_await from.read(byte_span(&one, 1));
    static_cast<void>(n);
    co_return from.reset_code();
}

}  // namespace

TEST_CASE("provider: requests share their memory, and what exceeds it is refused", "[blob]")
{
    run_pair([](pair& p) -> awaitable<void> {
        blob::provide_limits limits;
        limits.request_memory = 1000 * blob::request_cost;
        blob::provide_share small(limits);
        p.provide_env.share = &small;
        p.provide();

        auto first = co_await begin_request(p, 1 + 700);
        REQUIRE(first);
        while (small.request_memory.used() < 700 * blob::request_cost)
            co_await copse::test::breathe();
        auto second = co_await begin_request(p, 1 + 301);
        REQUIRE(second);
        const auto code = co_await reset_code_of(*second.value().recv);
        CHECK(code == 2U);
        CHECK(small.request_memory.refusals() == 1);
        CHECK(small.counters.limited == 1);
        CHECK(small.request_memory.used() == 700 * blob::request_cost);

        const auto data = copse::test::pattern(100'000);
        const auto report = co_await p.get(p.add(data), whole());  // a usual one is small
        CHECK(report);
        first.value().send->reset(0);
        while (small.request_memory.used() > 0) co_await copse::test::breathe();
        const auto third = co_await begin_request(p, 1 + 1000);
        REQUIRE(third);
        while (small.request_memory.available() > 0) co_await copse::test::breathe();

        p.near->close(0, {});
        p.serving.request_stop();
        const auto joined = co_await p.serving.join();
        CHECK(joined);
        CHECK(small.request_memory.used() == 0);
        p.provide_env.share = &p.share;
    });
}

TEST_CASE("provider: answers that need memory of their own count it", "[blob]")
{
    run_pair([](pair& p) -> awaitable<void> {
        blob::provide_limits limits;
        limits.request_memory = (256U << 10) + (16U << 10);
        blob::provide_share small(limits);
        p.provide_env.share = &small;
        p.provide();
        const auto child = p.add(copse::test::pattern(8U << 20));
        const auto root = p.add(blob::encode_hash_sequence(std::vector<hash::digest>{child}));
        // Nobody reads this answer, so that it goes on.
        auto s = co_await p.near->open_bi();
        REQUIRE(s);
        const auto asked = blob::encode_request(blob::get_request{root, blob::ranges_seq::all()});
        const auto sent = co_await s.value().send->write_copy(asked);
        REQUIRE(sent);
        s.value().send->finish();
        while (small.request_memory.used() < 256U << 10) co_await copse::test::breathe();

        const auto second = co_await p.get(root, blob::ranges_seq::all());
        REQUIRE(!second);
        CHECK(second.error() == blob::blob_errc::rate_limited);
        const auto part = blob::ranges_seq::root(bao::chunk_ranges::range(3, 5));
        const auto third = co_await p.get(child, part);
        REQUIRE(!third);
        CHECK(third.error() == blob::blob_errc::rate_limited);
        const auto whole_blob = p.add(copse::test::pattern(100'000));
        const auto fourth = co_await p.get(whole_blob, whole());
        CHECK(fourth);
        s.value().recv->stop(0);
        while (small.request_memory.used() > 0) co_await copse::test::breathe();
        const auto fifth = co_await p.get(child, part);
        CHECK(fifth);

        p.near->close(0, {});
        p.serving.request_stop();
        const auto joined = co_await p.serving.join();
        CHECK(joined);
        CHECK(small.request_memory.used() == 0);
        p.provide_env.share = &p.share;
    });
}

TEST_CASE("provider: a pushed sequence counts as memory of its request", "[blob][push]")
{
    run_pair([](pair& p) -> awaitable<void> {
        p.options.hooks.authorise_push = [](const blob::request_info&, const blob::push_request&) {
            return blob::verdict::allow;
        };
        blob::provide_limits limits;
        limits.request_memory = 16'000;
        blob::provide_share small(limits);
        p.provide_env.share = &small;
        p.provide();
        const auto child = p.received.add(copse::test::pattern(10)).value();
        std::size_t pushes = 0;
        for (const std::size_t count : {100U, 600U}) {
            const std::vector<hash::digest> hashes(count, child);
            const auto sequence = blob::encode_hash_sequence(hashes);
            blob::get_request what{p.received.add(sequence).value(), blob::ranges_seq::all()};
            blob::provide_environment from{p.received, *p.pool, p.buffers};
            blob::push_options options;
            options.confirm = false;
            const auto pushed =
                co_await blob::push(p.near, std::move(what), from, std::move(options));
            static_cast<void>(pushed);  // all may be under way before the receiver refuses
            ++pushes;
            while (p.reports.size() < pushes) co_await copse::test::breathe();
        }
        CHECK(!p.reports[0].error);
        CHECK(p.reports[1].error == blob::blob_errc::rate_limited);
        CHECK(small.request_memory.refusals() == 1);
        CHECK(small.request_memory.peak() > 3200);
        p.near->close(0, {});
        p.serving.request_stop();
        const auto joined = co_await p.serving.join();
        CHECK(joined);
        CHECK(small.request_memory.used() == 0);
        p.provide_env.share = &p.share;
    });
}

TEST_CASE("provider: streams that are given up while they wait do not pile up", "[blob][hostile]")
{
    run_pair([](pair& p) -> awaitable<void> {
        p.options.max_requests = 1;
        p.options.max_streams = 8;
        p.provide();
        auto first = co_await begin_request(p, 2);
        REQUIRE(first);
        // Each of these is over for the transport, and its place there free, as soon as it is reset both
        // ways, though its request still waits for its turn.
        std::size_t opened = 1;
        for (; opened < 300; ++opened) {
            auto opening = begin_request(p, 1);
            auto s = co_await with_timeout(std::move(opening), 100ms);
            if (!s) break;
            s.value().send->reset(0);
            s.value().recv->stop(0);
        }
        CHECK(opened < 300);
        CHECK(p.share.counters.requests == 8);
        const limit_row streams = row_of("provide: streams of a connection");
        CHECK(streams.capacity == 8);
        CHECK(streams.used == 8);
        CHECK(streams.peak <= 256);
        CHECK(streams.refusals >= 1);

        first.value().send->reset(0);
        const auto report = co_await p.get(p.add(copse::test::pattern(100'000)), whole());
        CHECK(report);
        while (row_of("provide: streams of a connection").used > 0) co_await copse::test::breathe();
        CHECK(row_of("provide: requests of a connection").used == 0);
    });
}

TEST_CASE("fetch: thousands of blobs without a byte come through in turns", "[blob]")
{
    run_pair([](pair& p) -> awaitable<void> {
        p.provide();
        const std::vector<hash::digest> hashes(5000, hash::blake3_hash({}));
        const auto root = p.add(blob::encode_hash_sequence(hashes));
        const auto report = co_await p.get(root, blob::ranges_seq::all());
        REQUIRE(report);
        CHECK(report.value().blobs == 5001);
    });
}
