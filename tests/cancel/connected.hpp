// Two connected ends for scenes, in memory or over QUIC endpoints with sockets in memory.
#pragma once

#include "tests/cancel/harness.hpp"
#include "tests/quic/memory_net.hpp"
#include "tests/support.hpp"

#include <copse/core/race.hpp>
#include <copse/core/transport.hpp>
#include <copse/quic/endpoint.hpp>
#include <copse/sim/memory_transport.hpp>

namespace copse::test {

enum class carrier { memory, quic };

[[nodiscard]] inline std::string named(const std::string& operation, carrier by)
{
    return operation + (by == carrier::memory ? " (memory)" : " (QUIC)");
}

inline const std::error_code canceled = make_error_code(std::errc::operation_canceled);

/// What a scene limits; the same for both carriers.
struct small_limits {
    std::uint64_t streams = 100;
    std::size_t send_buffer = 8U << 10;
    std::string alpn = "copse-test/cancel";
    std::size_t max_piece = 1350;  ///< in memory: bytes delivered at once
};

/// A scene between `near`, which dialled, and `far`.
class connected_scene : public scene {
public:
    connected_scene(stage& s, carrier by, small_limits l = {})
        : scene(s), limits(std::move(l)), by_(by), net_(s.get_executor())
    {}

    awaitable<void> prepare() override
    {
        if (by_ == carrier::memory) {
            sim::memory_transport_options o;
            o.alpn = limits.alpn;
            o.max_piece = limits.max_piece;
            o.dialler.max_remote_streams = o.acceptor.max_remote_streams = limits.streams;
            o.dialler.send_buffer = o.acceptor.send_buffer = limits.send_buffer;
            auto pair = sim::make_connection_pair(on.get_executor(), o);
            near = std::move(pair.dialler);
            far = std::move(pair.acceptor);
            co_return;
        }
        quic::endpoint_options o;
        o.max_remote_streams = limits.streams;
        o.send_buffer = limits.send_buffer;
        server_ = std::make_unique<quic::endpoint>(memory_endpoint(net_, server_at, o));
        o.identity = quic::secret_key::generate();
        client_ = std::make_unique<quic::endpoint>(memory_endpoint(net_, client_at, o));
        auto listening = server_->listen(limits.alpn);
        auto dialled = co_await client_->connect(address_of(*server_), limits.alpn);
        REQUIRE(dialled);
        auto accepted = co_await listening.accept();
        REQUIRE(accepted);
        near = std::move(dialled).value();
        far = std::move(accepted).value();
        co_await pause(std::chrono::milliseconds(100));  // what follows a handshake is over
    }

    awaitable<void> finish() override
    {
        near.reset();
        far.reset();
        if (client_) {
            co_await client_->close();
            co_await server_->close();
            CHECK(client_->connection_count() == 0);
            CHECK(server_->connection_count() == 0);
        }
    }

    /// Both ends still work: a stream there and back.
    awaitable<void> check_usable()
    {
        auto opened = co_await near->open_bi();
        REQUIRE(opened);
        bidi_stream mine = std::move(opened).value();
        const auto asked = co_await mine.send->write_copy(as_bytes("are you there"));
        REQUIRE(asked);
        mine.send->finish();
        auto accepted = co_await far->accept_bi();
        REQUIRE(accepted);
        bidi_stream theirs = std::move(accepted).value();
        const auto heard = co_await read_all(*theirs.recv);
        REQUIRE(heard);
        CHECK(text(heard.value()) == "are you there");
        const auto answered = co_await theirs.send->write_copy(as_bytes("yes"));
        REQUIRE(answered);
        theirs.send->finish();
        const auto answer = co_await read_all(*mine.recv);
        REQUIRE(answer);
        CHECK(text(answer.value()) == "yes");
    }

    small_limits limits;
    std::shared_ptr<connection> near;
    std::shared_ptr<connection> far;

private:
    carrier by_;
    memory_net net_;
    std::unique_ptr<quic::endpoint> server_;
    std::unique_ptr<quic::endpoint> client_;
};

/// Runs a test for each carrier.
template <class Scene, class... Arguments>
void cancel_on_both(const std::string& name, const cancel_rules& rules, const Arguments&... rest)
{
    for (const carrier by : {carrier::memory, carrier::quic}) {
        cancel_everywhere<Scene>(named(name, by), rules, by, rest...);
    }
}

}  // namespace copse::test
