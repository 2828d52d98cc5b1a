// Cancellation of endpoints: dials, listeners, and the two ways to end.
#include "tests/cancel/connected.hpp"

using namespace copse;
using namespace copse::test;
using namespace std::chrono_literals;

namespace {

struct endpoint_scene : scene {
    explicit endpoint_scene(stage& s) : scene(s), net(s.get_executor()) {}
    awaitable<void> prepare() override
    {
        server = std::make_unique<quic::endpoint>(memory_endpoint(net, server_at));
        client = std::make_unique<quic::endpoint>(memory_endpoint(net, client_at));
        listening.emplace(server->listen(plain_alpn));
        where.id = server->id();
        where.paths = {server_at};
        co_return;
    }
    awaitable<void> finish() override
    {
        near.reset();
        far.reset();
        co_await client->close();
        co_await server->close();
        CHECK(client->connection_count() == 0);
        CHECK(server->connection_count() == 0);
    }
    awaitable<void> meet()
    {
        auto dialled = co_await client->connect(where, std::string(plain_alpn));
        REQUIRE(dialled);
        auto accepted = co_await listening->accept();
        REQUIRE(accepted);
        near = std::move(dialled).value();
        far = std::move(accepted).value();
    }

    memory_net net;
    std::unique_ptr<quic::endpoint> server;
    std::unique_ptr<quic::endpoint> client;
    std::optional<quic::listener> listening;
    endpoint_address where;
    std::shared_ptr<connection> near;
    std::shared_ptr<connection> far;
};

struct connect_scene : endpoint_scene {
    connect_scene(stage& s, bool r) : endpoint_scene(s), reports(r) {}
    awaitable<void> prepare() override
    {
        co_await endpoint_scene::prepare();
        // Nobody is at the first two; the third is tried when their head starts are over.
        where.paths = {socket_address::v4({192, 0, 2, 8}, 1), socket_address::v4({192, 0, 2, 9}, 1),
                       server_at};
    }
    awaitable<std::error_code> operate() override
    {
        result<std::shared_ptr<connection>> dialled = std::make_error_code(std::errc::io_error);
        if (reports) dialled = co_await client->connect(where, std::string(plain_alpn), report);
        else dialled = co_await client->connect(where, std::string(plain_alpn));
        if (!dialled) co_return dialled.error();
        near = std::move(dialled).value();
        co_return std::error_code{};
    }
    awaitable<void> afterwards(std::error_code ec) override
    {
        CHECK(client->connection_count() == (ec ? 0 : 1));
        if (reports) {
            for (const auto& a : report.attempts) {
                CHECK(a.outcome != quic::dial_attempt::outcome_type::pending);
            }
        }
        if (ec) {
            const std::error_code again = co_await operate();
            CHECK(!again);
        }
        // Those that were abandoned may have come far enough to be accepted; they have ended.
        for (;;) {
            auto accepted = co_await listening->accept();
            REQUIRE(accepted);
            far = std::move(accepted).value();
            if (!far->why_closed()) break;
        }
        co_await pause(1s);
        CHECK(!far->why_closed());
        CHECK(!near->why_closed());
        CHECK(client->connection_count() == 1);
        CHECK(server->connection_count() == 1);
    }
    bool reports;
    quic::dial_report report;
};

struct listener_scene : endpoint_scene {
    using endpoint_scene::endpoint_scene;
    awaitable<void> prepare() override
    {
        co_await endpoint_scene::prepare();
        background.spawn(dial_later(*this));
    }
    static awaitable<void> dial_later(listener_scene& s)
    {
        co_await pause(5ms);
        auto dialled = co_await s.client->connect(s.where, std::string(plain_alpn));
        REQUIRE(dialled);
        s.near = std::move(dialled).value();
    }
    awaitable<std::error_code> operate() override
    {
        auto accepted = co_await listening->accept();
        if (!accepted) co_return accepted.error();
        far = std::move(accepted).value();
        co_return std::error_code{};
    }
    awaitable<void> afterwards(std::error_code ec) override
    {
        if (ec) {
            const std::error_code again = co_await operate();
            REQUIRE(!again);
        }
        const auto joined = co_await background.join();
        CHECK(joined);
        CHECK(far->peer() == client->id());
        CHECK(!near->why_closed());
    }
};

struct shutdown_scene : endpoint_scene {
    using endpoint_scene::endpoint_scene;
    awaitable<void> prepare() override
    {
        co_await endpoint_scene::prepare();
        co_await meet();
        background.spawn(work_on(*this));
    }
    static awaitable<void> work_on(shutdown_scene& s)
    {
        co_await pause(20ms);
        s.near.reset();
    }
    awaitable<std::error_code> operate() override
    {
        co_await server->shutdown(1s);
        co_return std::error_code{};
    }
    awaitable<void> afterwards(std::error_code) override
    {
        CHECK(server->connection_count() == 0);
        CHECK(far->why_closed());
        CHECK(net.bound.count(server_at) == 0);
        const auto joined = co_await background.join();
        CHECK(joined);
        co_await server->close();  // harmless
        CHECK(on.now() < 1s);
    }
};

/// A socket that takes nothing for a while.
class stuck_socket final : public datagram_socket {
public:
    stuck_socket(std::unique_ptr<datagram_socket> inner, executor ex)
        : inner_(std::move(inner)), freed_(std::move(ex))
    {}
    void stick() { stuck_ = true; }
    void free()
    {
        stuck_ = false;
        freed_.notify_all();
    }

    socket_address local_address() const noexcept override { return inner_->local_address(); }
    result<received_datagrams> try_receive(byte_span buffer) override
    {
        return inner_->try_receive(buffer);
    }
    result<void> try_send(const outgoing_datagrams& out) override
    {
        if (stuck_) return make_error_code(std::errc::operation_would_block);
        return inner_->try_send(out);
    }
    awaitable<std::error_code> wait_readable() override { return inner_->wait_readable(); }
    awaitable<std::error_code> wait_writable() override
    {
        while (stuck_) {
            const std::error_code ec = co_await freed_.wait();
            if (ec) co_return ec;
        }
        co_return std::error_code{};
    }
    std::size_t max_send_segments() const noexcept override { return 1; }
    std::size_t send_buffer_size() const noexcept override { return 65536; }
    std::size_t receive_buffer_size() const noexcept override { return 65536; }
    void close() noexcept override { inner_->close(); }

private:
    std::unique_ptr<datagram_socket> inner_;
    event freed_;
    bool stuck_ = false;
};

struct close_scene : endpoint_scene {
    using endpoint_scene::endpoint_scene;
    awaitable<void> prepare() override
    {
        co_await endpoint_scene::prepare();
        co_await client->close();
        auto socket = std::make_unique<stuck_socket>(net.bind(client_at), on.get_executor());
        stuck = socket.get();
        std::vector<std::unique_ptr<datagram_socket>> sockets;
        sockets.push_back(std::move(socket));
        auto made = quic::endpoint::make(on.get_executor(), {}, std::move(sockets));
        REQUIRE(made);
        client = std::make_unique<quic::endpoint>(std::move(made).value());
        co_await meet();
        co_await pause(100ms);
        stuck->stick();
        const auto opened = co_await near->open_uni();
        REQUIRE(opened);
        const auto sent = co_await opened.value()->write_copy(as_bytes("held back"));
        REQUIRE(sent);
        co_await pause(1ms);
        began = on.now();
        background.spawn(free_later(*this));
    }
    static awaitable<void> free_later(close_scene& s)
    {
        co_await pause(200ms);
        s.stuck->free();
    }
    awaitable<std::error_code> operate() override
    {
        co_await client->close();
        co_return std::error_code{};
    }
    awaitable<void> afterwards(std::error_code) override
    {
        // However often it was asked to stop, it sent what must be sent.
        CHECK(on.now() == began + 200ms);
        const close_reason why = co_await far->closed();
        CHECK(why.error == transport_errc::closed_by_peer);
        CHECK(on.now() < began + 300ms);
        CHECK(net.bound.count(client_at) == 0);
    }
    stuck_socket* stuck = nullptr;
    std::chrono::nanoseconds began{0};
};

/// A second call waits for the first, whoever is asked to stop.
struct second_close_scene : close_scene {
    using close_scene::close_scene;
    awaitable<void> prepare() override
    {
        co_await close_scene::prepare();
        background.spawn(first(*this));
    }
    static awaitable<void> first(close_scene& s) { co_await s.client->close(); }
};

}  // namespace

TEST_CASE("cancel: copse::quic::endpoint::connect")
{
    cancel_everywhere<connect_scene>("copse::quic::endpoint::connect", false);
    cancel_everywhere<connect_scene>("copse::quic::endpoint::connect (report)", true);
}

TEST_CASE("cancel: copse::quic::listener::accept")
{
    cancel_everywhere<listener_scene>("copse::quic::listener::accept");
}

TEST_CASE("cancel: copse::quic::endpoint::shutdown (ends without patience)")
{
    cancel_rules rules;
    rules.has_effect = false;  // on what it says: nothing
    cancel_everywhere<shutdown_scene>("copse::quic::endpoint::shutdown", rules);
}

TEST_CASE("cancel: copse::quic::endpoint::close (goes on)")
{
    cancel_rules rules;
    rules.has_effect = false;
    rules.within = 1s;
    cancel_everywhere<close_scene>("copse::quic::endpoint::close", rules);
    cancel_everywhere<second_close_scene>("copse::quic::endpoint::close (twice)", rules);
}
