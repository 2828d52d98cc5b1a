#pragma once

#include <copse/core/impl/scope.ipp>
#include <copse/core/run.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>

#include <csignal>

namespace copse {

result<void> run_until_complete(awaitable<result<void>> main)
{
    asio::io_context io{1};
    asio::signal_set signals(io, SIGINT, SIGTERM);
    asio::cancellation_signal stop;
    std::exception_ptr thrown;
    std::error_code failure;
    signals.async_wait([&](std::error_code ec, int) {
        if (ec) return;
        signals.clear(ec);  // the next signal takes its default action: the user insists
        stop.emit(cancel_everything);
    });
    asio::co_spawn(
        io, detail::enter(std::move(main)),
        asio::bind_cancellation_slot(stop.slot(), [&](std::exception_ptr e, std::error_code ec) {
            thrown = e;
            failure = ec;
            std::error_code ignored;
            signals.cancel(ignored);
        }));
    io.run();
    if (thrown) std::rethrow_exception(thrown);
    if (failure) return failure;
    return outcome::success();
}

}  // namespace copse
