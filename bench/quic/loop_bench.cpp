// Two endpoints in one process and one thread, over loopback sockets: what a byte and a round trip cost
// when nothing but quic works on them. Both sides share a core, so a pair of processes is faster.
#include <copse/core/run.hpp>
#include <copse/core/scope.hpp>
#include <copse/quic/endpoint.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace copse;

constexpr std::string_view protocol = "/copse-bench/1";
constexpr std::size_t block_bytes = 256U << 10;

// An answer to "how many bytes?" in eight bytes, or to less than that: the request itself.
awaitable<void> answer(bidi_stream stream, shared_bytes block)
{
    std::vector<std::byte> request;
    std::vector<std::byte> part(4096);
    for (;;) {
        const auto n = co_await stream.recv->read(part);
        if (!n) co_return;
        if (n.value() == 0) break;
        request.insert(request.end(), part.begin(),
                       part.begin() + static_cast<std::ptrdiff_t>(n.value()));
    }
    if (request.size() == sizeof(std::uint64_t)) {
        std::uint64_t left = 0;
        std::memcpy(&left, request.data(), sizeof left);
        while (left > 0) {
            shared_bytes data = block;
            data.bytes = data.bytes.first(
                static_cast<std::size_t>(std::min<std::uint64_t>(left, block_bytes)));
            left -= data.bytes.size();
            const auto sent = co_await stream.send->write(std::move(data));
            if (!sent) co_return;
        }
    } else {
        const auto sent = co_await stream.send->write_copy(request);
        if (!sent) co_return;
    }
    stream.send->finish();
    const auto done = co_await stream.send->acknowledged();
    static_cast<void>(done);  // the getter checks what it got
}

awaitable<void> serve(quic::listener listener, shared_bytes block)
{
    const executor ex = co_await asio::this_coro::executor;
    scope answers(ex);
    auto peer = co_await listener.accept();
    while (peer) {
        auto stream = co_await peer.value()->accept_bi();
        if (!stream) break;
        answers.spawn(answer(std::move(stream).value(), block));
    }
    answers.request_stop();
    const auto joined = co_await answers.join();
    static_cast<void>(joined);  // as above
}

/// Counts what arrives and credits it at once.
class counting_sink final : public stream_sink {
public:
    result<sink_verdict> consume(byte_view data) noexcept override
    {
        bytes += data.size();
        return sink_verdict{data.size(), data.size()};
    }
    std::uint64_t bytes = 0;
};

using body = awaitable<result<void>> (*)(benchmark::State&, std::shared_ptr<connection>);

awaitable<result<void>> between(benchmark::State& state, body measure)
{
    const executor ex = co_await asio::this_coro::executor;
    quic::endpoint_options options;
    options.bind = {socket_address::loopback_v4(0)};
    COPSE_CO_TRY(quic::endpoint server, quic::endpoint::make(ex, options));
    options.identity = quic::secret_key::generate();
    auto made = quic::endpoint::make(ex, options);
    if (!made) std::abort();
    quic::endpoint& client = made.value();
    const std::vector<std::byte> zeros(block_bytes);
    scope serving(ex);
    serving.spawn(serve(server.listen(protocol), shared_bytes::copy(zeros)));
    const endpoint_address where = server.address();
    auto peer = co_await client.connect(where, std::string(protocol));
    std::error_code failed = peer ? std::error_code{} : peer.error();
    if (peer) {
        const auto measured = co_await measure(state, std::move(peer).value());
        if (!measured) failed = measured.error();
    }
    co_await client.close();
    co_await server.close();
    const auto joined = co_await serving.join();
    if (failed) co_return failed;
    co_return joined;
}

void run(benchmark::State& state, body measure)
{
    const auto done = run_until_complete(between(state, measure));
    if (!done) state.SkipWithError(done.error().message().c_str());
}

awaitable<result<void>> measure_stream(benchmark::State& state, std::shared_ptr<connection> peer)
{
    const auto bytes = static_cast<std::uint64_t>(state.range(0)) << 20;
    for (auto _ : state) {
        COPSE_CO_TRY(const bidi_stream stream, co_await peer->open_bi());
        stream.recv->request_window(4U << 20);
        counting_sink sink;
        stream.recv->attach(sink);
        const auto request = std::as_bytes(std::span(&bytes, 1));
        COPSE_CO_TRYV(co_await stream.send->write_copy(request));
        stream.send->finish();
        COPSE_CO_TRYV(co_await stream.recv->drained());
        stream.recv->detach();
        if (sink.bytes != bytes) co_return make_error_code(std::errc::message_size);
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(bytes) * state.iterations());
    co_return outcome::success();
}

awaitable<result<void>> measure_echo(benchmark::State& state, std::shared_ptr<connection> peer)
{
    const std::vector<std::byte> request(static_cast<std::size_t>(state.range(0)), std::byte{7});
    std::vector<std::byte> reply(4096);
    for (auto _ : state) {
        COPSE_CO_TRY(const bidi_stream stream, co_await peer->open_bi());
        COPSE_CO_TRYV(co_await stream.send->write_copy(request));
        stream.send->finish();
        std::size_t got = 0;
        for (;;) {
            COPSE_CO_TRY(const std::size_t n, co_await stream.recv->read(reply));
            if (n == 0) break;
            got += n;
        }
        if (got != request.size()) co_return make_error_code(std::errc::message_size);
    }
    state.SetItemsProcessed(state.iterations());
    co_return outcome::success();
}

awaitable<result<void>> measure_dial(benchmark::State& state)
{
    const executor ex = co_await asio::this_coro::executor;
    quic::endpoint_options options;
    options.bind = {socket_address::loopback_v4(0)};
    COPSE_CO_TRY(quic::endpoint server, quic::endpoint::make(ex, options));
    options.identity = quic::secret_key::generate();
    auto made = quic::endpoint::make(ex, options);
    if (!made) std::abort();
    quic::endpoint& client = made.value();
    quic::listener listener = server.listen(protocol);
    const endpoint_address where = server.address();
    std::error_code failed;
    for (auto _ : state) {
        auto dialled = co_await client.connect(where, std::string(protocol));
        auto accepted = co_await listener.accept();
        if (!dialled || !accepted) {
            failed = dialled ? accepted.error() : dialled.error();
            break;
        }
    }
    state.SetItemsProcessed(state.iterations());
    co_await client.close();
    co_await server.close();
    if (failed) co_return failed;
    co_return outcome::success();
}

void stream(benchmark::State& state)
{
    run(state, measure_stream);
}

void echo(benchmark::State& state)
{
    run(state, measure_echo);
}

void dial(benchmark::State& state)
{
    const auto done = run_until_complete(measure_dial(state));
    if (!done) state.SkipWithError(done.error().message().c_str());
}

BENCHMARK(stream)->ArgName("MiB")->Arg(64)->Arg(1024)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(echo)->ArgName("bytes")->Arg(64)->Arg(1024)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(dial)->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace
