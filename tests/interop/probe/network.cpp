#include "network.hpp"

#include <copse/blob/error.hpp>
#include <copse/codec/key_text.hpp>
#include <copse/core/race.hpp>
#include <copse/quic/qlog.hpp>

#include <asio/buffer.hpp>
#include <asio/posix/stream_descriptor.hpp>

#include <unistd.h>

#include <array>

namespace probe {

quic::endpoint open_endpoint(const executor& ex, const arguments& args, quic::retry_policy retry)
{
    quic::endpoint_options options;
    options.retry = retry;
    if (const auto folder = args.get("qlog")) options.qlog = quic::qlog_directory(*folder);
    options.bind.push_back(to_address(args.get("bind").value_or("127.0.0.1:0")));
    return must(quic::endpoint::make(ex, std::move(options)), "bind");
}

endpoint_address provider_address(const arguments& args)
{
    endpoint_address out;
    out.id = must(codec::parse_endpoint_id(args.need("id")), "--id");
    out.paths.emplace_back(to_address(args.need("addr")));
    return out;
}

awaitable<bool> talk(endpoint_address to, std::string alpn, conversation what,
                     const arguments& args)
{
    quic::endpoint ep = open_endpoint(co_await asio::this_coro::executor, args);
    bool good = false;
    std::exception_ptr failed;
    try {
        auto dialling = ep.connect(std::move(to), std::move(alpn));
        auto dialled = co_await with_timeout(std::move(dialling), args.seconds("timeout", 60));
        auto inner = must(std::move(dialled), "no connection");
        const auto c = std::make_shared<wrapped_connection>(std::move(inner));
        say("connected " + codec::to_string(c->peer()));
        good = co_await what(c, args);
        c->close(0, "");
    } catch (...) {
        failed = std::current_exception();
    }
    co_await ep.close();
    if (failed) std::rethrow_exception(failed);
    co_return good;
}

std::string describe_end(const std::error_code& error, const receipt& seen, const connection& c)
{
    if (!error) return "fin";
    if (seen.reset) return "reset " + std::to_string(*seen.reset);
    if (const auto why = c.why_closed()) {
        if (why->application) return "closed " + std::to_string(why->code);
        return "lost " + why->error.message();
    }
    if (error.category() == transport_category()) return "lost " + error.message();
    const bool ended = error == blob::blob_errc::extra_data ||
                       error == blob::blob_errc::truncated_response ||
                       error == blob::blob_errc::not_available;
    return ended ? "fin" : "open";
}

awaitable<void> wait_for_end_of_input()
{
    asio::posix::stream_descriptor input(co_await asio::this_coro::executor, ::dup(STDIN_FILENO));
    std::array<char, 256> ignored;
    for (;;) {
        auto [ec, n] = co_await input.async_read_some(asio::buffer(ignored), as_tuple);
        static_cast<void>(n);
        if (ec) co_return;
    }
}

}  // namespace probe
