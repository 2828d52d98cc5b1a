// Runs a coroutine to its end: the outermost entry of programs and tests.
#pragma once

#include <copse/core/asio.hpp>
#include <copse/core/result.hpp>
#include <copse/core/scope.hpp>

namespace copse {

/// Runs `main` on an io_context of its own in the calling thread until it returns; SIGINT and SIGTERM
/// ask it to stop (cancellation), a second one ends the program as the system does.
/// \return what `main` returned. \throws what `main` threw.
result<void> run_until_complete(awaitable<result<void>> main);

}  // namespace copse
