// Rows of the table of pitfalls that are not tested elsewhere: peers that drip, flood, claim and lie
// about being busy. Truncation, resets and wrong data: transfer_test.cpp. Names: collection_test.cpp.
#include "tests/blob/pair.hpp"

#include <copse/blob/download.hpp>

#include <algorithm>

using namespace copse;
using namespace std::chrono_literals;
using copse::test::pair;
using copse::test::run_pair;

namespace {

blob::ranges_seq whole()
{
    return blob::ranges_seq::root(bao::chunk_ranges::all());
}

/// Takes a request and answers a byte of `answer` at a time, for as long as somebody listens.
awaitable<void> drip(std::shared_ptr<connection> c, std::vector<std::byte> answer)
{
    auto s = co_await c->accept_bi();
    if (!s) co_return;
    for (const std::byte b : answer) {
        const auto sent = co_await s.value().send->write_copy(std::span(&b, 1));
        if (!sent) co_return;
        const std::error_code ec = co_await sleep_for(1ms);
        if (ec) co_return;
    }
}

/// The code by which a request of these bytes is reset; `end` says whether it is finished.
awaitable<std::optional<std::uint64_t>> reset_code_of(pair& p, std::vector<std::byte> bytes,
                                                      bool end)
{
    auto s = co_await p.near->open_bi();
    if (!s) co_return std::nullopt;
    const auto sent = co_await s.value().send->write_copy(bytes);
    if (!sent) co_return std::nullopt;
    if (end) s.value().send->finish();
    std::vector<std::byte> buffer(4096);
    for (;;) {
        const auto n = co_await s.value().recv->read(buffer);
        if (!n) break;
        if (n.value() == 0) co_return std::nullopt;
    }
    co_return s.value().recv->reset_code();
}

}  // namespace

TEST_CASE("hostile: a provider that drips is given up, the peer is named", "[blob][hostile]")
{
    run_pair([](pair& p) -> awaitable<void> {
        // Verified bytes keep coming, group by group: that is still no progress worth waiting for.
        const auto data = copse::test::pattern(16000);
        std::vector<std::byte> answer(8);
        answer[0] = std::byte{0x80};
        answer[1] = std::byte{0x3e};
        answer.insert(answer.end(), data.begin(), data.end());
        p.serving.spawn(drip(p.far, std::move(answer)));
        blob::fetch_options options;
        options.progress_timeout = 200ms;
        blob::get_request wanted{hash::blake3_hash(data), whole()};
        const auto report = co_await blob::fetch(p.near, std::move(wanted), p.fetch_env,
                                                 std::move(options), p.where);
        REQUIRE(!report);
        CHECK(report.error() == blob::blob_errc::stalled);
        CHECK(p.where.peer == p.near->peer());
    });
}

TEST_CASE("hostile: requests that do not end are timed out, honest ones go on", "[blob][hostile]")
{
    run_pair([](pair& p) -> awaitable<void> {
        p.options.request_timeout = 100ms;
        p.options.max_requests = 4;
        p.provide();
        // All places are taken by requests that never end; of those behind them one byte is read.
        std::vector<bidi_stream> open;
        for (int i = 0; i < 20; ++i) {
            auto s = co_await p.near->open_bi();
            REQUIRE(s);
            const auto sent = co_await s.value().send->write_copy(copse::test::from_hex("0011"));
            REQUIRE(sent);
            open.push_back(std::move(s).value());
        }
        while (p.share.counters.requests < 8) co_await copse::test::breathe();
        const auto data = copse::test::pattern(100000);
        const auto report = co_await p.get(p.add(data), whole());
        REQUIRE(report);
        const auto timed_out = [](const blob::provide_report& r) {
            return r.error == std::errc::timed_out;
        };
        CHECK(std::ranges::count_if(p.reports, timed_out) >= 4);
        // A byte at a time is no better than none.
        auto s = co_await p.near->open_bi();
        REQUIRE(s);
        for (std::error_code ended; !ended;) {
            const auto sent = co_await s.value().send->write_copy(copse::test::from_hex("00"));
            if (!sent) ended = sent.error();
            co_await copse::test::breathe();
        }
    });
}

TEST_CASE("hostile: malformed requests are reset, counted and finally too many", "[blob][hostile]")
{
    run_pair([](pair& p) -> awaitable<void> {
        p.options.max_malformed = 8;
        p.provide();
        for (const auto* const text : {"c8", "02", "000102", "", "01", "09ffffffffff0f", "0005"}) {
            INFO(text);
            const auto code = co_await reset_code_of(p, copse::test::from_hex(text), true);
            CHECK(code == 1U);
        }
        // A request over its limit is refused before all of it has come.
        std::vector<std::byte> long_request(blob::max_request_bytes + 2);
        const auto code = co_await reset_code_of(p, std::move(long_request), false);
        CHECK(code == 1U);
        CHECK(p.share.counters.malformed == 8);
        CHECK(!p.near->why_closed());
        const auto fine = co_await p.get(p.add(copse::test::pattern(10)), whole());
        CHECK(fine);
        const auto last = co_await reset_code_of(p, copse::test::from_hex("ff"), true);
        static_cast<void>(last);
        const close_reason why = co_await p.near->closed();
        CHECK(why.by_peer);
        CHECK(why.code == 1);
    });
}

TEST_CASE("hostile: what a request claims costs nothing", "[blob][hostile]")
{
    run_pair([](pair& p) -> awaitable<void> {
        p.provide();
        const auto root = p.add(copse::test::pattern(32 * 100));
        const auto text = copse::test::hex(root.bytes);
        // Child 2^64 - 2, ranges up to 2^64 - 1, an infinite tail behind the end, a huge width.
        for (const auto* const ranges : {
                 "01feffffffffffffffff010100",
                 "0200010001010000",
                 "02650201ffffffffffffffffff010100",
             }) {
            INFO(ranges);
            auto s = co_await p.near->open_bi();
            REQUIRE(s);
            const auto bytes = copse::test::from_hex("00" + text + ranges);
            const auto sent = co_await s.value().send->write_copy(bytes);
            REQUIRE(sent);
            s.value().send->finish();
            std::vector<std::byte> buffer(65536);
            std::size_t total = 0;
            for (;;) {
                const auto n = co_await s.value().recv->read(buffer);
                if (!n || n.value() == 0) break;
                total += n.value();
            }
            CHECK(total <= 8 + 3200 + 8);
        }
    });
}

TEST_CASE("hostile: a limit on requests over all connections refuses by code 2", "[blob][hostile]")
{
    run_pair([](pair& p) -> awaitable<void> {
        blob::provide_limits limits;
        limits.requests = 1;
        blob::provide_share strict(limits);
        p.provide_env.share = &strict;
        p.provide();
        // One answer that nobody reads takes the place.
        const auto large = p.add(copse::test::pattern(8U << 20));
        auto s = co_await p.near->open_bi();
        REQUIRE(s);
        const auto asked = blob::encode_request(blob::get_request{large, whole()});
        const auto sent = co_await s.value().send->write_copy(asked);
        REQUIRE(sent);
        s.value().send->finish();
        std::vector<std::byte> first(1);
        const auto begun = co_await s.value().recv->read(first);
        REQUIRE(begun);
        const auto report = co_await p.get(p.add(copse::test::pattern(10)), whole());
        REQUIRE(!report);
        CHECK(report.error() == blob::blob_errc::rate_limited);
        CHECK(strict.counters.limited == 1);
        p.near->close(0, {});
        p.serving.request_stop();
        const auto joined = co_await p.serving.join();
        CHECK(joined);
        CHECK(strict.requests.used() == 0);
    });
}

TEST_CASE("backoff_core: pauses double, progress begins anew, patience ends", "[blob][hostile]")
{
    blob::retry_options options;
    options.attempts = 4;
    options.first_pause = 100ms;
    options.longest_pause = 300ms;
    blob::backoff_core backoff(options);
    CHECK(backoff.next(false) == 100ms);
    CHECK(backoff.next(false) == 200ms);
    CHECK(backoff.next(true) == 100ms);
    CHECK(backoff.next(false) == 200ms);
    CHECK(backoff.next(false) == 300ms);
    CHECK(!backoff.next(false));
    options.attempts = 1;
    CHECK(!blob::backoff_core(options).next(false));
}

TEST_CASE("hostile: a busy provider is asked again before it is given up", "[blob][hostile]")
{
    run_pair([](pair& p) -> awaitable<void> {
        static int busy = 0;
        busy = 2;
        p.options.hooks.authorise = [](const blob::request_info&, const blob::request&) {
            return busy-- > 0 ? blob::verdict::unavailable : blob::verdict::allow;
        };
        p.provide();
        const auto data = copse::test::pattern(700000);
        const auto root = p.add(data);
        blob::retry_options patient;
        patient.first_pause = 1ms;
        const auto report =
            co_await blob::download(p.near, root, p.fetch_env, {}, patient, p.where);
        REQUIRE(report);
        CHECK(report.value().payload_bytes == data.size());
        CHECK(pair::stored(p.received, root) == data);
        CHECK(p.share.counters.requests == 3);
        // Complete: nothing is asked.
        const auto again = co_await blob::download(p.near, root, p.fetch_env, {}, patient, p.where);
        REQUIRE(again);
        CHECK(p.share.counters.requests == 3);
        // Patience ends.
        const auto gone = hash::blake3_hash(as_bytes("gone"));
        const auto never = co_await blob::download(p.near, gone, p.fetch_env, {}, patient, p.where);
        REQUIRE(!never);
        CHECK(never.error() == blob::blob_errc::not_available);
        CHECK(p.share.counters.requests == 7);
    });
}
