// Observe: items, a provider that changes, observers that meet hostile items.
#include "tests/blob/pair.hpp"

#include <copse/bao/outboard.hpp>
#include <copse/blob/observe.hpp>

using namespace copse;
using namespace std::chrono_literals;
using copse::test::pair;
using copse::test::run_pair;

TEST_CASE("observe: items are those of the real peer", "[blob][observe]")
{
    const auto framed = [](std::uint64_t size, bao::chunk_ranges ranges) {
        return copse::test::hex(blob::encode_observation({size, std::move(ranges)}));
    };
    CHECK(framed(40000, bao::chunk_ranges::all()) == "05c0b8020100");
    CHECK(framed(300000, bao::chunk_ranges::range(0, 64)) == "06e0a712020040");
    CHECK(framed(0, bao::chunk_ranges::none()) == "020000");
    CHECK(framed(0, bao::chunk_ranges::all()) == "03000100");
    CHECK(framed(1048577, bao::chunk_ranges::all()) == "058180400100");
    for (const auto* const text : {"c0b8020100", "e0a712020040", "0000", "000100"}) {
        const auto item = copse::test::from_hex(text);
        const auto decoded = blob::decode_observation(item);
        REQUIRE(decoded);
        const auto again = blob::encode_observation(decoded.value());
        CHECK(copse::test::hex(std::span(again).subspan(1)) == text);
        for (std::size_t cut = 0; cut < item.size(); ++cut)
            CHECK(!blob::decode_observation(byte_view(item).first(cut)));
    }
}

TEST_CASE("observe: items that make no sense are refused", "[blob][observe]")
{
    for (const auto* const text : {
             "0a020505",                    // equal boundaries
             "0a020503",                    // descending
             "0a0300ffffffffffffffffff02",  // above u64
             "0a01",                        // a count without boundaries
             "0affffffffffffffffff01",      // an absurd count
             "0a01000000",                  // bytes behind it
             "ffffffffffffffffffff010100",  // a size above u64
         }) {
        INFO(text);
        const auto decoded = blob::decode_observation(copse::test::from_hex(text));
        REQUIRE(!decoded);
        CHECK(decoded.error() == blob::blob_errc::bad_observation);
    }
}

TEST_CASE("observe: changes add up to the state", "[blob][observe]")
{
    copse::test::seeded_rng rng(copse::test::seed_or(11));
    blob::observation state;
    blob::observation told;
    for (int i = 0; i < 200; ++i) {
        store::availability a;
        a.size = 1000000;
        const std::uint64_t from = rng.between<std::uint64_t>(0, 60) * 16;
        a.present = state.ranges.clipped(0, 977);
        if (rng.between(0, 3) == 0) a.present -= bao::chunk_ranges::range(from, from + 64);
        else a.present |= bao::chunk_ranges::range(from, std::min<std::uint64_t>(from + 64, 977));
        a.size_proven = a.present.contains(976);
        const auto now = blob::to_observation(a);
        blob::apply_change(told, blob::change_between(state, now));
        state = now;
        CHECK(told.ranges == state.ranges);
        CHECK(told.size == state.size);
        CHECK(state.ranges.open_ended() == a.present.contains(976));
    }
}

namespace {

awaitable<store::availability> next_of(blob::observer& o)
{
    auto item = co_await o.next();
    REQUIRE(item);
    co_return std::move(item).value();
}

/// What was checkpointed of a blob, group by group.
struct slow_receiver {
    slow_receiver(store::blob_store& into, std::vector<std::byte> d)
        : data(std::move(d)),
          outboard(bao::outboard::build(data)),
          writer(into.open_partial(outboard.root(), data.size()).value())
    {}
    void receive(std::uint64_t first, std::uint64_t end)
    {
        const auto from = static_cast<std::size_t>(bao::byte_offset(first));
        const auto to = static_cast<std::size_t>(bao::byte_end(end, data.size()));
        REQUIRE(writer->write(byte_view(data).subspan(from, to - from), from));
        const store::pair_run pairs{0, outboard.pairs()};
        writer->commit(bao::chunk_ranges::range(first, end), std::span(&pairs, 1));
        REQUIRE(writer->checkpoint()());
    }
    std::vector<std::byte> data;
    bao::outboard outboard;
    std::shared_ptr<store::blob_writer> writer;
};

}  // namespace

TEST_CASE("observe: a blob is followed from nothing to complete and gone", "[blob][observe]")
{
    run_pair([](pair& p) -> awaitable<void> {
        p.provide();
        const auto data = copse::test::seeded_rng(4).bytes(300000);
        const auto root = hash::blake3_hash(data);
        auto opened = co_await blob::observer::open(p.near, root);
        REQUIRE(opened);
        blob::observer seen = std::move(opened).value();
        const auto none = co_await next_of(seen);
        CHECK(none.size == 0);
        CHECK(none.present.empty());

        slow_receiver receiving(p.provided, data);
        receiving.receive(0, 64);
        const auto some = co_await next_of(seen);
        CHECK(some.size == data.size());
        CHECK(!some.size_proven);
        CHECK(some.present == bao::chunk_ranges::range(0, 64));
        receiving.receive(128, bao::chunk_count(data.size()));
        const auto more = co_await next_of(seen);
        CHECK(more.size_proven);
        CHECK(!more.complete());
        receiving.receive(64, 128);
        const auto all = co_await next_of(seen);
        CHECK(all.complete());
        receiving.writer.reset();
        REQUIRE(p.provided.remove(root));
        const auto gone = co_await next_of(seen);
        CHECK(gone.present.empty());
        CHECK(p.reports.empty());  // nobody left yet
    });
}

TEST_CASE("observe: several changes become one item", "[blob][observe]")
{
    run_pair([](pair& p) -> awaitable<void> {
        p.provide();
        const auto data = copse::test::seeded_rng(5).bytes(1000000);
        auto opened = co_await blob::observer::open(p.near, hash::blake3_hash(data));
        REQUIRE(opened);
        blob::observer seen = std::move(opened).value();
        const auto none = co_await next_of(seen);
        CHECK(none.present.empty());
        // Without a pause for the provider in between.
        slow_receiver receiving(p.provided, data);
        for (std::uint64_t chunk = 0; chunk < 640; chunk += 16)
            receiving.receive(chunk, chunk + 16);
        const auto once = co_await next_of(seen);
        CHECK(once.present == bao::chunk_ranges::range(0, 640));
    });
}

TEST_CASE("observe: the empty blob is there without a request", "[blob][observe]")
{
    run_pair([](pair& p) -> awaitable<void> {
        p.provide();
        auto opened = co_await blob::observer::open(p.near, hash::blake3_hash({}));
        REQUIRE(opened);
        blob::observer seen = std::move(opened).value();
        const auto all = co_await next_of(seen);
        CHECK(all.complete());
        CHECK(p.share.counters.requests == 0);
    });
}

TEST_CASE("observe: an observer that leaves ends the request, one too many is limited",
          "[blob][observe]")
{
    run_pair([](pair& p) -> awaitable<void> {
        p.options.max_observers = 2;
        p.provide();
        const auto root = p.add(copse::test::pattern(40000));
        {
            std::vector<blob::observer> both;
            for (int i = 0; i < 2; ++i) {
                auto opened = co_await blob::observer::open(p.near, root);
                REQUIRE(opened);
                both.push_back(std::move(opened).value());
                const auto all = co_await next_of(both.back());
                CHECK(all.complete());
                CHECK(all.size == 40000);
            }
            auto third = co_await blob::observer::open(p.near, root);
            REQUIRE(third);
            const auto limited = co_await third.value().next();
            REQUIRE(!limited);
            CHECK(limited.error() == blob::blob_errc::rate_limited);
        }
        while (p.reports.size() < 3) co_await copse::test::breathe();
        CHECK(p.share.observers.used() == 0);
        CHECK(!p.reports[1].error);
        auto again = co_await blob::observer::open(p.near, root);
        REQUIRE(again);
        const auto all = co_await next_of(again.value());
        CHECK(all.complete());
    });
}

namespace {

/// Answers the next request with `bytes`; `end` ends the answer there.
awaitable<void> answer_with(std::shared_ptr<connection> c, std::vector<std::byte> bytes, bool end)
{
    auto s = co_await c->accept_bi();
    if (!s) co_return;
    std::vector<std::byte> request(100);
    for (;;) {
        const auto n = co_await s.value().recv->read(request);
        if (!n || n.value() == 0) break;
    }
    const auto sent = co_await s.value().send->write_copy(bytes);
    if (!sent) co_return;
    if (end) s.value().send->finish();
    const std::error_code left = co_await s.value().send->stopped();
    static_cast<void>(left);
}

awaitable<std::error_code> second_item(pair& p, std::string_view answer, bool end)
{
    p.serving.spawn(answer_with(p.far, copse::test::from_hex(answer), end));
    blob::observe_options options;
    options.first_item_timeout = 200ms;
    auto opened = co_await blob::observer::open(p.near, hash::blake3_hash(as_bytes("x")), options);
    REQUIRE(opened);
    const auto first = co_await opened.value().next();
    if (!first) co_return first.error();
    const auto second = co_await opened.value().next();
    CHECK(!second);
    co_return second ? std::error_code() : second.error();
}

}  // namespace

TEST_CASE("observe: hostile providers are told apart", "[blob][observe][hostile]")
{
    run_pair([](pair& p) -> awaitable<void> {
        const auto silent = co_await second_item(p, "", false);
        CHECK(silent == blob::blob_errc::stalled);
        const auto half = co_await second_item(p,
                                               "020000"
                                               "0500",
                                               true);
        CHECK(half == blob::blob_errc::truncated_response);
        const auto left = co_await second_item(p, "020000", true);
        CHECK(left == blob::blob_errc::aborted_by_peer);
        const auto overlap = co_await second_item(p,
                                                  "020000"
                                                  "040a020505",
                                                  false);
        CHECK(overlap == blob::blob_errc::bad_observation);
        const auto large = co_await second_item(p,
                                                "020000"
                                                "8080800800",
                                                false);
        CHECK(large == blob::blob_errc::bad_observation);
        const auto endless = co_await second_item(p,
                                                  "020000"
                                                  "ffffffffffffffffffff01",
                                                  false);
        CHECK(endless == blob::blob_errc::bad_observation);
    });
}
