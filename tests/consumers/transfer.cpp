// A program of somebody else that uses copse: two endpoints, one provides a blob, the other fetches it
// over loopback.
#include <copse/copse.hpp>

#include <cstdio>
#include <string>
#include <vector>

using namespace copse;

namespace {

awaitable<void> provide_one(quic::listener listener, blob::provide_environment& environment)
{
    auto peer = co_await listener.accept();
    if (!peer) co_return;
    blob::provide_options options;
    const close_reason why = co_await blob::provide(std::move(peer).value(), environment, options);
    std::printf("the receiver left: %s\n", why.error.message().c_str());
}

awaitable<result<void>> fetch_one(quic::endpoint& endpoint, endpoint_address from,
                                  blob::fetch_environment& environment, hash::digest root)
{
    COPSE_CO_TRY(const auto peer, co_await endpoint.connect(from, std::string(blob::alpn)));
    COPSE_CO_TRY(const blob::missing_parts missing, co_await blob::find_missing(root, environment));
    blob::get_request request{root, missing.request};
    blob::fetch_options options;
    blob::fetch_diagnostics where;
    const auto got = co_await blob::fetch(peer, request, environment, options, where);
    if (!got) co_return got.error();
    co_return outcome::success();
}

awaitable<result<void>> transfer()
{
    const executor ex = co_await asio::this_coro::executor;
    const auto pool = make_thread_pool(1);
    const std::vector<std::byte> data(1'000'000, std::byte{7});
    store::memory_store here(4U << 20);
    store::memory_store there(4U << 20);
    COPSE_CO_TRY(const hash::digest root, here.add(data));

    disk::leaf_pool outgoing("send", 4 * blob::provide_buffer_bytes, blob::provide_buffer_bytes);
    disk::leaf_pool incoming("receive", 2U << 20, 512U << 10);
    blob::provide_environment providing{here, *pool, outgoing};
    blob::fetch_environment fetching{there, *pool, incoming};
    quic::endpoint_options options;
    options.bind = {socket_address::loopback_v4(0)};
    COPSE_CO_TRY(quic::endpoint server, quic::endpoint::make(ex, options));
    scope serving(ex);
    serving.spawn(provide_one(server.listen(blob::alpn), providing));
    options.identity = quic::secret_key::generate();
    auto client = quic::endpoint::make(ex, options);
    std::error_code failed;
    if (client) {
        const auto fetched = co_await fetch_one(client.value(), server.address(), fetching, root);
        if (!fetched) failed = fetched.error();
        co_await client.value().close();
    } else {
        failed = client.error();
    }
    co_await server.close();
    const auto joined = co_await serving.join();
    if (failed) co_return failed;
    COPSE_CO_TRY(const store::availability got, there.status(root));
    if (!got.complete() || got.size != data.size()) co_return make_error_code(std::errc::io_error);
    co_return joined;
}

}  // namespace

int main()
{
    const auto done = run_until_complete(transfer());
    if (!done) {
        std::fprintf(stderr, "%s\n", done.error().message().c_str());
        return 1;
    }
    std::puts("copse works");
}
