// Push: data that nobody asked for, allowed, refused, wrong, cut short.
#include "tests/blob/pair.hpp"

#include <copse/bao/encode_core.hpp>
#include <copse/bao/outboard.hpp>
#include <copse/blob/collection.hpp>
#include <copse/blob/observe.hpp>
#include <copse/blob/push.hpp>

#include <algorithm>
#include <optional>

using namespace copse;
using namespace std::chrono_literals;
using copse::test::pair;
using copse::test::run_pair;

namespace {

// In these tests `received` is the pusher's store and `provided` that of the receiver.

void allow(pair& p)
{
    p.options.hooks.authorise_push = [](const blob::request_info&, const blob::push_request&) {
        return blob::verdict::allow;
    };
}

awaitable<result<blob::push_report>> push(pair& p, hash::digest root, blob::ranges_seq ranges,
                                          bool confirm = true)
{
    blob::provide_environment env{p.received, *p.pool, p.buffers};
    blob::push_options options;
    options.confirm = confirm;
    options.confirm_timeout = 300ms;
    blob::get_request what{root, std::move(ranges)};
    auto report = co_await blob::push(p.near, std::move(what), env, std::move(options));
    co_return report;
}

blob::ranges_seq whole()
{
    return blob::ranges_seq::root(bao::chunk_ranges::all());
}

}  // namespace

TEST_CASE("push: blobs of every interesting size arrive and show", "[blob][push]")
{
    run_pair([](pair& p) -> awaitable<void> {
        allow(p);
        p.provide();
        for (const std::size_t size : {0U, 1U, 1024U, 16385U, 300000U, 5000001U}) {
            INFO("size " << size);
            const auto data = copse::test::seeded_rng(size).bytes(size);
            const auto root = p.received.add(data).value();
            const auto report = co_await push(p, root, whole());
            REQUIRE(report);
            CHECK(report.value().payload_bytes == size);
            CHECK(report.value().blobs == 1);
            CHECK(report.value().confirmed);
            CHECK(pair::stored(p.provided, root) == data);
        }
    });
}

TEST_CASE("push: one that is cancelled before it is confirmed does not say that it was",
          "[blob][push]")
{
    run_pair([](pair& p) -> awaitable<void> {
        // Takes everything and never tells an observer anything.
        auto take = [](std::shared_ptr<connection> c) -> awaitable<void> {
            std::vector<bidi_stream> kept;
            std::vector<std::byte> buffer(4096);
            for (;;) {
                auto s = co_await c->accept_bi();
                if (!s) co_return;
                kept.push_back(std::move(s).value());
                for (;;) {
                    const auto n = co_await kept.back().recv->read(buffer);
                    if (!n || n.value() == 0) break;
                }
                if (kept.size() == 1) kept.back().send->finish();
            }
        };
        p.serving.spawn(take(p.far));
        blob::provide_environment env{p.received, *p.pool, p.buffers};
        blob::push_options options;
        options.confirm = true;
        blob::get_request what{p.received.add(copse::test::pattern(10)).value(), whole()};
        auto pushing = blob::push(p.near, std::move(what), env, std::move(options));
        const auto pushed = co_await with_timeout(std::move(pushing), 200ms);
        REQUIRE(!pushed);
        CHECK(pushed.error() == std::errc::timed_out);
    });
}

TEST_CASE("push: a sequence with its children, then a part of another blob", "[blob][push]")
{
    run_pair([](pair& p) -> awaitable<void> {
        allow(p);
        std::vector<blob::request_info> seen;
        p.options.hooks.received = [&seen](const blob::request_info& i, const blob::request&) {
            seen.push_back(i);
        };
        p.provide();
        std::vector<hash::digest> hashes;
        for (std::uint64_t i = 0; i < 30; ++i) {
            const auto data = copse::test::seeded_rng(i).bytes(i * 3000);
            hashes.push_back(p.received.add(data).value());
        }
        const auto sequence = blob::encode_hash_sequence(hashes);
        const auto root = p.received.add(sequence).value();
        const auto report = co_await push(p, root, blob::ranges_seq::all());
        REQUIRE(report);
        CHECK(report.value().blobs == 31);
        for (const auto& h : hashes) CHECK(p.provided.status(h).value().complete());
        const auto data = copse::test::pattern(400000);
        const auto part_root = p.received.add(data).value();
        const auto ranges = blob::ranges_seq::root(bao::chunk_ranges::range(32, 96));
        const auto part = co_await push(p, part_root, ranges);
        REQUIRE(part);
        CHECK(part.value().payload_bytes == 65536);
        CHECK(p.provided.status(part_root).value().present == bao::chunk_ranges::range(32, 96));
        REQUIRE(!seen.empty());
        CHECK(seen[0].type == blob::request_type::push);
    });
}

TEST_CASE("push: it is refused unless a hook allows it", "[blob][push]")
{
    run_pair([](pair& p) -> awaitable<void> {
        p.provide();
        for (const std::size_t size : {10U, 6U << 20}) {
            const auto root = p.received.add(copse::test::pattern(size)).value();
            const auto refused = co_await push(p, root, whole(), false);
            REQUIRE(!refused);
            CHECK(refused.error() == blob::blob_errc::refused);
            CHECK(p.provided.status(root).value().present.empty());
        }
        CHECK(p.share.counters.refused == 2);
    });
}

TEST_CASE("push: the hook decides by request, its codes are understood", "[blob][push]")
{
    run_pair([](pair& p) -> awaitable<void> {
        static blob::verdict answer = blob::verdict::allow;
        p.options.hooks.authorise_push = [](const blob::request_info&, const blob::push_request&) {
            return answer;
        };
        p.provide();
        const auto root = p.received.add(copse::test::pattern(3U << 20)).value();
        for (const auto& [verdict, error] :
             {std::pair(blob::verdict::refuse, blob::blob_errc::refused),
              std::pair(blob::verdict::limit, blob::blob_errc::rate_limited),
              std::pair(blob::verdict::unavailable, blob::blob_errc::push_failed)}) {
            answer = verdict;
            const auto report = co_await push(p, root, whole(), false);
            REQUIRE(!report);
            CHECK(report.error() == error);
        }
    });
}

namespace {

/// Sends `bytes` behind the request as a pusher would. \return the code by which it was stopped.
awaitable<std::optional<std::uint64_t>> push_raw(pair& p, hash::digest root,
                                                 std::vector<std::byte> bytes)
{
    auto s = co_await p.near->open_bi();
    if (!s) co_return std::nullopt;
    const auto head = blob::encode_request(blob::push_request{{root, whole()}});
    const auto asked = co_await s.value().send->write_copy(head);
    if (!asked) co_return std::nullopt;
    const auto sent = co_await s.value().send->write_copy(bytes);
    static_cast<void>(sent);  // it may be stopped before all of it is queued
    const std::error_code over = co_await s.value().send->stopped();
    CHECK(over == transport_errc::stream_stopped);
    // The code is known when the stream is over in both directions.
    std::vector<std::byte> none(1);
    const auto end = co_await s.value().recv->read(none);
    CHECK((end && end.value() == 0));
    while (!s.value().send->stop_code() && !p.near->why_closed()) co_await copse::test::breathe();
    co_return s.value().send->stop_code();
}

}  // namespace

TEST_CASE("push: data that fails verification is not stored and stops with 3", "[blob][push]")
{
    run_pair([](pair& p) -> awaitable<void> {
        allow(p);
        p.provide();
        const auto data = copse::test::seeded_rng(9).bytes(3U << 20);
        const auto index = bao::outboard::build(data);
        auto wire = bao::encode_all(data, index, bao::chunk_ranges::all()).value();
        wire[1'000'000] ^= std::byte{1};
        const auto code = co_await push_raw(p, index.root(), std::move(wire));
        CHECK(code == 3U);
        while (p.reports.empty()) co_await copse::test::breathe();
        const bool mismatch = p.reports[0].error == blob::blob_errc::leaf_mismatch ||
                              p.reports[0].error == blob::blob_errc::parent_mismatch;
        CHECK(mismatch);
        const auto there = p.provided.status(index.root()).value();
        CHECK(!there.complete());
        // What is there is right: groups before the place.
        const auto reader = p.provided.open(index.root());
        if (reader) {
            const auto run = reader.value()->present().interval(0);
            std::vector<std::byte> bytes(static_cast<std::size_t>(bao::byte_offset(run.end)));
            const byte_span span(bytes);
            REQUIRE(reader.value()->read(std::span(&span, 1), 0));
            CHECK(std::equal(bytes.begin(), bytes.end(), data.begin()));
            CHECK(bytes.size() < 1'000'000);
        }
        // The pusher may be silly again; others are none the worse.
        const auto fine = co_await push(p, p.received.add(data).value(), whole());
        CHECK(fine);
    });
}

TEST_CASE("push: bytes behind the end, absurd sizes and silence end it", "[blob][push][hostile]")
{
    run_pair([](pair& p) -> awaitable<void> {
        allow(p);
        p.options.progress_timeout = 200ms;
        p.options.max_pushed_blob = 1U << 20;
        p.provide();
        const auto data = copse::test::pattern(1000);
        std::vector<std::byte> wire(8 + data.size() + 500);
        wire[0] = std::byte{0xe8};
        wire[1] = std::byte{0x03};
        std::copy(data.begin(), data.end(), wire.begin() + 8);
        const auto root = hash::blake3_hash(data);
        const auto behind = co_await push_raw(p, root, std::move(wire));
        CHECK(behind == 3U);
        const std::vector<std::byte> size(8, std::byte{0x7f});
        const auto absurd = co_await push_raw(p, root, size);
        CHECK(absurd == 3U);
        const std::vector<std::byte> nothing;
        const auto silent = co_await push_raw(p, root, nothing);
        CHECK(silent == 3U);
        while (p.reports.size() < 3) co_await copse::test::breathe();
        for (const auto why :
             {blob::blob_errc::extra_data, blob::blob_errc::too_large, blob::blob_errc::stalled}) {
            CHECK(std::ranges::count(p.reports, make_error_code(why),
                                     &blob::provide_report::error) == 1);
        }
    });
}

TEST_CASE("push: a receiver that takes the data and shows nothing is found out", "[blob][push]")
{
    run_pair([](pair& p) -> awaitable<void> {
        auto swallow = [](pair& in) -> awaitable<void> {
            // Takes everything, ends its half, and has nothing when it is observed.
            auto s = co_await in.far->accept_bi();
            if (!s) co_return;
            s.value().send->finish();
            std::vector<std::byte> buffer(65536);
            for (;;) {
                const auto n = co_await s.value().recv->read(buffer);
                if (!n || n.value() == 0) break;
            }
            auto asked = co_await in.far->accept_bi();
            if (!asked) co_return;
            const auto item = blob::encode_observation({});
            const auto sent = co_await asked.value().send->write_copy(item);
            static_cast<void>(sent);
            const std::error_code left = co_await asked.value().send->stopped();
            static_cast<void>(left);
        };
        p.serving.spawn(swallow(p));
        const auto root = p.received.add(copse::test::pattern(100000)).value();
        const auto report = co_await push(p, root, whole());
        REQUIRE(!report);
        CHECK(report.error() == blob::blob_errc::not_confirmed);
    });
}
