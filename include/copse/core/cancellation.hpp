// Cancellation as copse uses it: nothing is thrown, and an operation that can stop without loss does.
#pragma once

#include <copse/core/asio.hpp>

#include <asio/cancellation_type.hpp>

namespace copse {

/// Undoes Asio's cancellation defaults for the calling coroutine thread: no throw at the next
/// co_await, and total cancellation arrives. Everything started through core/ has called it.
/// \return false when the thread was asked to stop before it ran: then it should end at once.
awaitable<bool> enter_coroutine();

/// True once the calling coroutine was asked to stop.
awaitable<bool> cancellation_requested();

/// Every kind of cancellation at once: an operation reacts to the strongest it supports.
inline constexpr auto cancel_everything = asio::cancellation_type::total |
                                          asio::cancellation_type::partial |
                                          asio::cancellation_type::terminal;

}  // namespace copse
