// Gives up a dial after a while, stops a download in the middle, shows that nothing is left behind, and
// goes on with the download. Everything happens in this process; it ends with exit code 0 if all is well.
#include <copse/copse.hpp>
#include <copse/core/event.hpp>
#include <copse/core/race.hpp>
#include <copse/udp/socket.hpp>

#include <iostream>

using namespace copse;
using namespace std::chrono_literals;

namespace {

void require(bool condition, const char* what)
{
    std::cout << (condition ? "ok      " : "FAILED  ") << what << std::endl;
    if (!condition) std::exit(1);
}

// [timeout]
// Dials an address where nobody answers: a socket that is bound and never read.
awaitable<result<void>> give_up_a_dial(quic::endpoint& endpoint)
{
    const executor ex = co_await asio::this_coro::executor;
    COPSE_CO_TRY(const auto silent, udp::bind(ex, socket_address::loopback_v4(0)));
    endpoint_address nobody{quic::secret_key::generate().id(), {silent->local_address()}};
    auto dial = endpoint.connect(nobody, std::string(blob::alpn));
    const auto peer = co_await with_timeout(std::move(dial), 200ms);
    require(!peer && peer.error() == std::errc::timed_out, "the dial was given up in time");
    require(endpoint.connection_count() == 0, "no attempt goes on");
    co_return outcome::success();
}
// [timeout]

awaitable<void> provide(quic::listener listener, blob::provide_environment& environment)
{
    auto peer = co_await listener.accept();
    if (!peer) co_return;
    blob::provide_options options;
    const auto why = co_await blob::provide(std::move(peer).value(), environment, options);
    static_cast<void>(why);  // the getter has left
}

// [cancel]
awaitable<result<void>> download(std::shared_ptr<connection> peer, hash::digest root,
                                 blob::fetch_environment& environment, event& progress)
{
    COPSE_CO_TRY(const auto missing, co_await blob::find_missing(root, environment));
    blob::get_request request{root, missing.request};
    blob::fetch_options options;
    options.progress = [&progress](std::uint64_t) { progress.notify_all(); };
    blob::fetch_diagnostics where;
    const auto got = co_await blob::fetch(peer, request, environment, options, where);
    if (!got) co_return got.error();
    co_return outcome::success();
}

awaitable<result<void>> stop_and_go_on(std::shared_ptr<connection> peer, hash::digest root,
                                       blob::fetch_environment& environment)
{
    const executor ex = co_await asio::this_coro::executor;
    event progress(ex);
    scope work(ex);
    work.spawn(download(peer, root, environment, progress));
    const std::error_code stopped = co_await progress.wait();  // the first verified bytes
    work.request_stop();
    COPSE_CO_TRYV(co_await work.join());  // a stop that was asked for is no failure
    if (stopped) co_return stopped;       // Ctrl-C
    require(work.running() == 0, "the download has ended");
    require(environment.buffers.limits().used() == 0, "its buffers came back");

    COPSE_CO_TRY(const auto rest, co_await blob::find_missing(root, environment));
    require(rest.present_bytes > 0, "what was verified has stayed");
    require(!rest.request.empty(), "the rest is missing");
    COPSE_CO_TRYV(co_await download(peer, root, environment, progress));  // on the same connection
    COPSE_CO_TRY(const auto nothing, co_await blob::find_missing(root, environment));
    require(nothing.request.empty(), "the second download fetched the rest");
    co_return outcome::success();
}
// [cancel]

// [run]
awaitable<result<void>> with_endpoints(quic::endpoint& server, quic::endpoint& client)
{
    const executor ex = co_await asio::this_coro::executor;
    COPSE_CO_TRYV(co_await give_up_a_dial(client));

    const auto pool = make_thread_pool(2);
    store::memory_store there(80U << 20);
    const std::vector<std::byte> data(64U << 20, std::byte{7});
    COPSE_CO_TRY(const hash::digest root, there.add(data));
    disk::leaf_pool sent("send", 32 * blob::provide_buffer_bytes, blob::provide_buffer_bytes);
    blob::provide_environment providing{there, *pool, sent};
    scope serving(ex);
    serving.spawn(provide(server.listen(blob::alpn), providing));

    store::memory_store here(80U << 20);
    disk::leaf_pool received("receive", 8U << 20, 512U << 10);
    blob::fetch_environment fetching{here, *pool, received};
    auto peer = co_await client.connect(server.address(), std::string(blob::alpn));
    result<void> done = outcome::success();
    if (!peer) done = peer.error();
    else done = co_await stop_and_go_on(peer.value(), root, fetching);

    co_await client.close();  // also on failure: it ends what serving.join() waits for
    serving.request_stop();
    COPSE_CO_TRYV(co_await serving.join());
    co_await server.close();
    require(sent.limits().used() == 0, "the provider's buffers came back");
    co_return done;
}
// [run]

awaitable<result<void>> run()
{
    const executor ex = co_await asio::this_coro::executor;
    quic::endpoint_options options;
    options.bind = {socket_address::loopback_v4(0)};
    COPSE_CO_TRY(quic::endpoint server, quic::endpoint::make(ex, options));
    options.identity = quic::secret_key::generate();
    auto client = quic::endpoint::make(ex, options);
    result<void> done = outcome::success();
    if (!client) done = client.error();
    else done = co_await with_endpoints(server, client.value());
    if (client) co_await client.value().close();
    co_await server.close();  // a second time does nothing
    co_return done;
}

}  // namespace

int main()
{
    const auto done = run_until_complete(run());
    if (!done) std::cerr << "error: " << done.error().message() << '\n';
    return done ? 0 : 1;
}
