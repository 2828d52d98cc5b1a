// Cancellation of streams, on both transports: what was cancelled can be asked again, and nothing is lost.
#include "tests/cancel/connected.hpp"

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;

namespace {

/// A scene with one stream from `near` to `far` that both sides have.
struct stream_scene : connected_scene {
    using connected_scene::connected_scene;
    awaitable<void> prepare() override
    {
        co_await connected_scene::prepare();
        auto opened = co_await near->open_bi();
        REQUIRE(opened);
        mine = std::move(opened).value();
        const auto sent = co_await mine.send->write_copy(as_bytes("!"));
        REQUIRE(sent);
        auto accepted = co_await far->accept_bi();
        REQUIRE(accepted);
        theirs = std::move(accepted).value();
        std::array<std::byte, 1> first;
        const auto n = co_await theirs.recv->read(first);
        REQUIRE(n);
    }
    awaitable<void> finish() override
    {
        mine = {};
        theirs = {};
        co_await connected_scene::finish();
    }
    bidi_stream mine;
    bidi_stream theirs;
};

awaitable<void> send_in_pieces(send_stream& to, std::vector<std::byte> data)
{
    for (byte_view rest = data; !rest.empty();) {
        co_await pause(1ms);
        const byte_view piece = rest.first(std::min<std::size_t>(rest.size(), 1500));
        rest = rest.subspan(piece.size());
        const auto sent = co_await to.write_copy(piece);
        REQUIRE(sent);
    }
    to.finish();
}

struct read_scene : stream_scene {
    using stream_scene::stream_scene;
    awaitable<void> prepare() override
    {
        co_await stream_scene::prepare();
        background.spawn(send_in_pieces(*mine.send, pattern(6000)));
    }
    awaitable<std::error_code> operate() override
    {
        for (;;) {
            const auto n = co_await theirs.recv->read(buffer);
            if (!n) co_return n.error();
            if (n.value() == 0) co_return std::error_code{};
            got.insert(got.end(), buffer.begin(),
                       buffer.begin() + static_cast<std::ptrdiff_t>(n.value()));
        }
    }
    awaitable<void> afterwards(std::error_code) override
    {
        const auto rest = co_await read_all(*theirs.recv);
        REQUIRE(rest);
        got.insert(got.end(), rest.value().begin(), rest.value().end());
        CHECK(got == pattern(6000));  // no byte was lost, none came twice
    }
    std::array<std::byte, 1000> buffer{};
    std::vector<std::byte> got;
};

struct counting_sink final : stream_sink {
    result<sink_verdict> consume(byte_view data) noexcept override
    {
        const std::size_t n = std::min<std::size_t>(data.size(), 1000);
        got.insert(got.end(), data.begin(), data.begin() + static_cast<std::ptrdiff_t>(n));
        return sink_verdict{n, n};
    }
    std::vector<std::byte> got;
};

awaitable<void> resume_often(recv_stream& stream, const counting_sink& sink)
{
    while (sink.got.size() < 6000) {
        co_await pause(500us);
        stream.resume();
    }
}

struct drained_scene : read_scene {
    using read_scene::read_scene;
    awaitable<void> prepare() override
    {
        co_await read_scene::prepare();
        theirs.recv->attach(sink);
        background.spawn(resume_often(*theirs.recv, sink));
    }
    awaitable<std::error_code> operate() override
    {
        const auto done = co_await theirs.recv->drained();
        if (!done) co_return done.error();
        co_return std::error_code{};
    }
    awaitable<void> afterwards(std::error_code) override
    {
        const auto done = co_await theirs.recv->drained();
        CHECK(done);
        CHECK(sink.got == pattern(6000));
        theirs.recv->detach();
    }
    counting_sink sink;
};

awaitable<void> read_slowly(recv_stream& from, std::vector<std::byte>& into)
{
    std::array<std::byte, 3000> buffer;
    for (;;) {
        co_await pause(1ms);
        const auto n = co_await from.read(buffer);
        if (!n || n.value() == 0) co_return;
        into.insert(into.end(), buffer.begin(),
                    buffer.begin() + static_cast<std::ptrdiff_t>(n.value()));
    }
}

struct write_scene : stream_scene {
    write_scene(stage& s, carrier by, bool c)
        : stream_scene(s, by, small_limits{100, 4U << 10, "copse-test/cancel", 6000}), copies(c)
    {}
    awaitable<void> prepare() override
    {
        co_await stream_scene::prepare();
        background.spawn(read_slowly(*theirs.recv, got));
    }
    awaitable<std::error_code> operate() override
    {
        if (copies) {
            const auto sent = co_await mine.send->write_copy(data);
            if (!sent) co_return sent.error();
        } else {
            auto owner = std::make_shared<std::vector<std::byte>>(data);
            owned = owner;
            shared_bytes bytes{owner, *owner};
            owner.reset();
            const auto sent = co_await mine.send->write(std::move(bytes));
            if (!sent) co_return sent.error();
        }
        co_return std::error_code{};
    }
    awaitable<void> afterwards(std::error_code ec) override
    {
        if (ec) {
            mine.send->reset(5);  // terminal: how much was queued is not known
        } else {
            mine.send->finish();
            const auto done = co_await mine.send->acknowledged();
            CHECK(done);
        }
        const auto joined = co_await background.join();
        CHECK(joined);
        CHECK(owned.expired());
        CHECK(got.size() <= data.size());
        CHECK(std::equal(got.begin(), got.end(), data.begin()));
        if (ec) CHECK(theirs.recv->reset_code() == 5U);
        else CHECK(got.size() == data.size());
        co_await check_usable();
    }
    std::vector<std::byte> data = pattern(24'000);
    std::weak_ptr<std::vector<std::byte>> owned;
    std::vector<std::byte> got;
    bool copies;
};

struct acknowledged_scene : stream_scene {
    using stream_scene::stream_scene;
    awaitable<void> prepare() override
    {
        co_await stream_scene::prepare();
        background.spawn(send_in_pieces(*mine.send, pattern(6000)));
        background.spawn(read_slowly(*theirs.recv, got));
    }
    awaitable<std::error_code> operate() override
    {
        const auto done = co_await mine.send->acknowledged();
        if (!done) co_return done.error();
        co_return std::error_code{};
    }
    awaitable<void> afterwards(std::error_code) override
    {
        const auto done = co_await mine.send->acknowledged();
        CHECK(done);
        const auto joined = co_await background.join();
        CHECK(joined);
        CHECK(got == pattern(6000));
    }
    std::vector<std::byte> got;
};

awaitable<void> stop_later(recv_stream& stream)
{
    co_await pause(5ms);
    stream.stop(9);
}

struct stopped_scene : stream_scene {
    using stream_scene::stream_scene;
    awaitable<void> prepare() override
    {
        co_await stream_scene::prepare();
        background.spawn(stop_later(*theirs.recv));
    }
    awaitable<std::error_code> operate() override
    {
        const std::error_code ec = co_await mine.send->stopped();
        if (ec == transport_errc::stream_stopped) co_return std::error_code{};
        co_return ec;
    }
    awaitable<void> afterwards(std::error_code) override
    {
        const std::error_code ec = co_await mine.send->stopped();
        CHECK(ec == transport_errc::stream_stopped);
        theirs = {};
        mine.recv.reset();
        while (!mine.send->stop_code()) co_await pause(1ms);
        CHECK(mine.send->stop_code() == 9U);
    }
};

}  // namespace

TEST_CASE("cancel: copse::recv_stream::read")
{
    cancel_on_both<read_scene>("copse::recv_stream::read", {});
}

TEST_CASE("cancel: copse::recv_stream::drained")
{
    cancel_on_both<drained_scene>("copse::recv_stream::drained", {});
}

TEST_CASE("cancel: copse::send_stream::write, copse::send_stream::write_copy")
{
    cancel_on_both<write_scene>("copse::send_stream::write", {}, false);
    cancel_on_both<write_scene>("copse::send_stream::write_copy", {}, true);
}

TEST_CASE("cancel: copse::send_stream::acknowledged")
{
    cancel_on_both<acknowledged_scene>("copse::send_stream::acknowledged", {});
}

TEST_CASE("cancel: copse::send_stream::stopped")
{
    cancel_on_both<stopped_scene>("copse::send_stream::stopped", {});
}
