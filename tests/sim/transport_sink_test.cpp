// What core/transport.hpp promises of sink mode, held against every transport.
#include "tests/sim/both_transports.hpp"

using namespace copse;
using namespace copse::test;

namespace {

/// Takes up to `limit` bytes without crediting them, as a pipeline does that holds what it got.
class holding_sink final : public stream_sink {
public:
    result<sink_verdict> consume(byte_view data) noexcept override
    {
        if (fail_behind && got.size() + data.size() > fail_behind)
            return std::make_error_code(std::errc::bad_message);
        const std::size_t n = std::min(data.size(), limit - held);
        got.insert(got.end(), data.begin(), data.begin() + static_cast<std::ptrdiff_t>(n));
        const std::size_t credit = at_once ? n : 0;
        held += n - credit;
        return sink_verdict{n, credit};
    }
    std::uint64_t stop_code() const noexcept override { return 9; }

    std::size_t limit = SIZE_MAX;
    std::size_t fail_behind = 0;
    bool at_once = false;
    std::size_t held = 0;
    std::vector<std::byte> got;
};

}  // namespace

TEST_CASE("transport: a sink gets what was queued and what comes, up to the end",
          "[sim][transport]")
{
    on_both([](ends& e) -> awaitable<void> {
        auto s = co_await join_streams(e);
        scope writing(e.near->get_executor());
        writing.spawn(write_all(*s.near.send, pattern(400'000)));
        recv_stream& in = *s.far.recv;
        const auto reached = [&in] { return in.received() > 1; };
        co_await until(reached);
        holding_sink sink;
        sink.at_once = true;
        in.attach(sink);
        CHECK(!sink.got.empty());
        const auto drained = co_await in.drained();
        CHECK(drained);
        const auto joined = co_await writing.join();
        CHECK(joined);
        CHECK(sink.got == pattern(400'000));
        in.detach();
    });
}

TEST_CASE("transport: a sink that holds its credit stalls the stream until it releases",
          "[sim][transport]")
{
    pair_limits small;
    small.far.remote_stream_window = 20'000;
    on_both(
        [](ends& e) -> awaitable<void> {
            auto s = co_await join_streams(e);
            recv_stream& in = *s.far.recv;
            holding_sink sink;
            in.attach(sink);
            scope writing(e.near->get_executor());
            writing.spawn(write_all(*s.near.send, pattern(60'000)));
            const auto reached1 = [&in] { return in.received() >= 20'000; };
            co_await until(reached1);
            auto other = co_await join_streams(e);  // a round trip
            CHECK(in.received() == 20'000);
            CHECK(sink.held == 19'999);
            while (sink.got.size() < 60'000) {
                const std::size_t before = sink.got.size();
                in.release(std::exchange(sink.held, 0));
                const auto reached2 = [&] { return sink.got.size() > before; };
                co_await until(reached2);
            }
            const auto drained = co_await in.drained();
            CHECK(drained);
            const auto joined = co_await writing.join();
            CHECK(joined);
            CHECK(sink.got == pattern(60'000));
            in.detach();
        },
        small);
}

TEST_CASE("transport: what a sink leaves is offered again by resume", "[sim][transport]")
{
    on_both([](ends& e) -> awaitable<void> {
        auto s = co_await join_streams(e);
        recv_stream& in = *s.far.recv;
        holding_sink sink;
        sink.limit = 7'000;
        in.attach(sink);
        scope writing(e.near->get_executor());
        writing.spawn(write_all(*s.near.send, pattern(100'000)));
        while (sink.got.size() < 100'000) {
            const auto reached = [&sink] {
                return sink.held == 7'000 || sink.got.size() == 100'000;
            };
            co_await until(reached);
            in.release(std::exchange(sink.held, 0));
            in.resume();
        }
        const auto drained = co_await in.drained();
        CHECK(drained);
        const auto joined = co_await writing.join();
        CHECK(joined);
        CHECK(sink.got == pattern(100'000));
        in.detach();
    });
}

TEST_CASE("transport: a refusing sink stops its stream with its code and its error",
          "[sim][transport]")
{
    on_both([](ends& e) -> awaitable<void> {
        auto near = co_await e.near->open_uni();
        REQUIRE(near);
        scope writing(e.near->get_executor());
        writing.spawn(write_all(*near.value(), pattern(1U << 20)));
        auto far = co_await e.far->accept_uni();
        REQUIRE(far);
        recv_stream& in = *far.value();
        holding_sink sink;
        sink.fail_behind = 50'000;
        sink.at_once = true;
        in.attach(sink);
        const auto drained = co_await in.drained();
        REQUIRE(!drained);
        CHECK(drained.error() == std::errc::bad_message);
        const auto stopped = co_await near.value()->stopped();
        CHECK(stopped == transport_errc::stream_stopped);
        const auto joined = co_await writing.join();
        CHECK(joined);
        const send_stream& out = *near.value();
        const auto reached = [&out] { return out.stop_code().has_value(); };
        co_await until(reached);
        CHECK(out.stop_code() == 9U);
        CHECK(sink.got.size() <= 50'000);
        in.detach();
        // Its credit went back: the connection carries more than one window.
        auto s = co_await join_streams(e);
        writing.spawn(write_all(*s.near.send, pattern(1U << 20)));
        const auto got = co_await read_all(*s.far.recv);
        REQUIRE(got);
        CHECK(got.value() == pattern(1U << 20));
        const auto again = co_await writing.join();
        CHECK(again);
    });
}

TEST_CASE("transport: after a detach the rest can be read", "[sim][transport]")
{
    on_both([](ends& e) -> awaitable<void> {
        auto s = co_await join_streams(e);
        recv_stream& in = *s.far.recv;
        holding_sink sink;
        sink.limit = 5'000;
        in.attach(sink);
        scope writing(e.near->get_executor());
        writing.spawn(write_all(*s.near.send, pattern(30'000)));
        const auto reached = [&sink] { return sink.held == 5'000; };
        co_await until(reached);
        in.detach();
        in.release(std::exchange(sink.held, 0));
        const auto rest = co_await read_all(in);
        const auto joined = co_await writing.join();
        CHECK(joined);
        REQUIRE(rest);
        auto all = sink.got;
        all.insert(all.end(), rest.value().begin(), rest.value().end());
        CHECK(all == pattern(30'000));
    });
}

TEST_CASE("transport: a sink sees a reset and a close through drained", "[sim][transport]")
{
    on_both([](ends& e) -> awaitable<void> {
        auto a = co_await join_streams(e);
        auto b = co_await join_streams(e);
        holding_sink sink_a;
        holding_sink sink_b;
        a.far.recv->attach(sink_a);
        b.far.recv->attach(sink_b);
        a.near.send->reset(4);
        const auto reset = co_await a.far.recv->drained();
        REQUIRE(!reset);
        CHECK(reset.error() == transport_errc::stream_reset);
        CHECK(a.far.recv->reset_code() == 4U);
        e.near->close(1, "");
        const auto closed = co_await b.far.recv->drained();
        REQUIRE(!closed);
        CHECK(closed.error() == transport_errc::closed_by_peer);
        a.far.recv->detach();
        b.far.recv->detach();
    });
}
