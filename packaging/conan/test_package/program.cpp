// Whether the package can be used: an endpoint opens a socket, and a hash is right.
#include <copse/copse.hpp>

#include <cstdio>

using namespace copse;

namespace {

awaitable<result<void>> open()
{
    const executor ex = co_await asio::this_coro::executor;
    quic::endpoint_options options;
    options.bind = {socket_address::loopback_v4(0)};
    COPSE_CO_TRY(quic::endpoint endpoint, quic::endpoint::make(ex, options));
    co_await endpoint.close();
    const auto digest = hash::blake3_hash({});
    if (digest.bytes[0] != std::byte{0xaf}) co_return make_error_code(std::errc::bad_message);
    co_return outcome::success();
}

}  // namespace

int main()
{
    const auto done = run_until_complete(open());
    if (!done) std::fprintf(stderr, "%s\n", done.error().message().c_str());
    else std::puts("copse works");
    return done ? 0 : 1;
}
