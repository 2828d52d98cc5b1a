// Cancellation of connections, on both transports: no stream and no message is lost.
#include "tests/cancel/connected.hpp"

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;

namespace {

awaitable<void> open_and_send(connection& c, bool both_ways, std::string what)
{
    co_await pause(5ms);
    std::unique_ptr<send_stream> send;
    std::unique_ptr<recv_stream> recv;
    if (both_ways) {
        auto opened = co_await c.open_bi();
        REQUIRE(opened);
        send = std::move(opened.value().send);
        recv = std::move(opened.value().recv);
    } else {
        auto opened = co_await c.open_uni();
        REQUIRE(opened);
        send = std::move(opened).value();
    }
    const auto sent = co_await send->write_copy(as_bytes(what));
    REQUIRE(sent);
    send->finish();
    const auto done = co_await send->acknowledged();
    REQUIRE(done);
}

struct accept_scene : connected_scene {
    accept_scene(stage& s, carrier by, bool b) : connected_scene(s, by), both_ways(b) {}
    awaitable<void> prepare() override
    {
        co_await connected_scene::prepare();
        background.spawn(open_and_send(*near, both_ways, "hello"));
    }
    awaitable<std::error_code> operate() override
    {
        if (both_ways) {
            auto accepted = co_await far->accept_bi();
            if (!accepted) co_return accepted.error();
            answer = std::move(accepted.value().send);
            question = std::move(accepted.value().recv);
        } else {
            auto accepted = co_await far->accept_uni();
            if (!accepted) co_return accepted.error();
            question = std::move(accepted).value();
        }
        co_return std::error_code{};
    }
    awaitable<void> afterwards(std::error_code ec) override
    {
        if (ec) {
            const std::error_code again = co_await operate();
            REQUIRE(!again);
        }
        const auto heard = co_await read_all(*question);
        REQUIRE(heard);
        CHECK(text(heard.value()) == "hello");
        const auto joined = co_await background.join();
        CHECK(joined);
    }
    awaitable<void> finish() override
    {
        question.reset();
        answer.reset();
        co_await connected_scene::finish();
    }
    bool both_ways;
    std::unique_ptr<recv_stream> question;
    std::unique_ptr<send_stream> answer;
};

struct open_scene : connected_scene {
    open_scene(stage& s, carrier by, bool b)
        : connected_scene(s, by, small_limits{1, 8U << 10, "copse-test/cancel"}), both_ways(b)
    {}
    awaitable<void> prepare() override
    {
        co_await connected_scene::prepare();
        const std::error_code first = co_await operate();
        REQUIRE(!first);
        co_await say("first");
        background.spawn(end_later(*this));
    }
    awaitable<std::error_code> operate() override
    {
        std::unique_ptr<recv_stream> recv;
        if (both_ways) {
            auto opened = co_await near->open_bi();
            if (!opened) co_return opened.error();
            sends.push_back(std::move(opened.value().send));
            recvs.push_back(std::move(opened.value().recv));
        } else {
            auto opened = co_await near->open_uni();
            if (!opened) co_return opened.error();
            sends.push_back(std::move(opened).value());
        }
        co_return std::error_code{};
    }
    awaitable<void> afterwards(std::error_code ec) override
    {
        if (ec) {
            const std::error_code again = co_await operate();
            REQUIRE(!again);
        }
        CHECK(sends.size() == 2);
        co_await say("second");
        const auto joined = co_await background.join();
        CHECK(joined);
        co_await hear("second");  // a stream that nobody has would be in front of it
        // The limit is whole again: another one can be opened when this one has ended.
        sends.clear();
        recvs.clear();
        const std::error_code third = co_await operate();
        CHECK(!third);
    }
    awaitable<void> finish() override
    {
        sends.clear();
        recvs.clear();
        co_await connected_scene::finish();
    }

    awaitable<void> say(std::string what)
    {
        const auto sent = co_await sends.back()->write_copy(as_bytes(what));
        REQUIRE(sent);
        sends.back()->finish();
    }
    /// Accepts a stream at the far end, and ends its half.
    awaitable<void> hear(std::string what)
    {
        bidi_stream in;
        if (both_ways) {
            auto accepted = co_await far->accept_bi();
            REQUIRE(accepted);
            in = std::move(accepted).value();
        } else {
            auto accepted = co_await far->accept_uni();
            REQUIRE(accepted);
            in.recv = std::move(accepted).value();
        }
        const auto heard = co_await read_all(*in.recv);
        REQUIRE(heard);
        CHECK(text(heard.value()) == what);
        if (in.send) in.send->finish();
    }
    static awaitable<void> end_later(open_scene& s)
    {
        co_await pause(5ms);
        co_await s.hear("first");
    }

    bool both_ways;
    std::vector<std::unique_ptr<send_stream>> sends;
    std::vector<std::unique_ptr<recv_stream>> recvs;
};

awaitable<void> send_messages(connection& c)
{
    for (int i = 0; i < 6; ++i) {
        if (i % 2 == 0) co_await pause(1ms);
        const auto sent = c.send_datagram(shared_bytes::copy(as_bytes(std::to_string(i))));
        REQUIRE(sent);
    }
}

struct message_scene : connected_scene {
    using connected_scene::connected_scene;
    awaitable<void> prepare() override
    {
        co_await connected_scene::prepare();
        background.spawn(send_messages(*near));
    }
    awaitable<std::error_code> operate() override
    {
        while (got.size() < 6) {
            const auto next = co_await far->receive_datagram();
            if (!next) co_return next.error();
            got += text(next.value().bytes);
        }
        co_return std::error_code{};
    }
    awaitable<void> afterwards(std::error_code) override
    {
        const std::error_code rest = co_await operate();
        CHECK(!rest);
        CHECK(got == "012345");
    }
    std::string got;
};

awaitable<void> close_later(connection& c)
{
    co_await pause(5ms);
    c.close(7, "enough");
}

struct closed_scene : connected_scene {
    using connected_scene::connected_scene;
    awaitable<void> prepare() override
    {
        co_await connected_scene::prepare();
        background.spawn(close_later(*near));
    }
    awaitable<std::error_code> operate() override
    {
        const close_reason why = co_await far->closed();
        if (why.error == canceled) co_return canceled;
        CHECK(why.error == transport_errc::closed_by_peer);
        co_return std::error_code{};
    }
    awaitable<void> afterwards(std::error_code) override
    {
        const close_reason why = co_await far->closed();
        CHECK(why.error == transport_errc::closed_by_peer);
        CHECK(why.code == 7);
        CHECK(why.reason == "enough");
    }
};

}  // namespace

TEST_CASE("cancel: copse::connection::open_bi, copse::connection::open_uni")
{
    cancel_on_both<open_scene>("copse::connection::open_bi", {}, true);
    cancel_on_both<open_scene>("copse::connection::open_uni", {}, false);
}

TEST_CASE("cancel: copse::connection::accept_bi, copse::connection::accept_uni")
{
    cancel_on_both<accept_scene>("copse::connection::accept_bi", {}, true);
    cancel_on_both<accept_scene>("copse::connection::accept_uni", {}, false);
}

TEST_CASE("cancel: copse::connection::receive_datagram")
{
    cancel_on_both<message_scene>("copse::connection::receive_datagram", {});
}

TEST_CASE("cancel: copse::connection::closed")
{
    cancel_on_both<closed_scene>("copse::connection::closed", {});
}
