// The single door to Asio: every copse header reaches it through this file, so that version
// differences and the build mode live in one place.
#pragma once

// Before any Asio header: Asio looks for the standard library's macros to choose how it allocates, and
// two files of a program that choose differently corrupt the heap.
#include <cstddef>

#if __has_include(<copse/config.hpp>)
#include <copse/config.hpp>
#endif

#if !defined(ASIO_STANDALONE)
#define ASIO_STANDALONE 1
#endif
#if defined(COPSE_CONFIG_ASIO_HEADER_ONLY)
#if COPSE_CONFIG_ASIO_HEADER_ONLY && defined(ASIO_SEPARATE_COMPILATION)
#error "copse was built with COPSE_ASIO=header-only, but ASIO_SEPARATE_COMPILATION is defined here"
#elif !COPSE_CONFIG_ASIO_HEADER_ONLY && !defined(ASIO_SEPARATE_COMPILATION)
#error "copse was built with separately compiled Asio: link copse::asio, which defines the mode"
#endif
#endif

// Asio before 1.24 looks for the coroutines TS when the compiler is clang.
#include <asio/version.hpp>
#if defined(__clang__) && ASIO_VERSION < 102400
#if !defined(ASIO_HAS_CO_AWAIT)
#define ASIO_HAS_CO_AWAIT 1
#endif
#if !defined(ASIO_HAS_STD_COROUTINE)
#define ASIO_HAS_STD_COROUTINE 1
#endif
#endif

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/use_awaitable.hpp>
#if ASIO_VERSION >= 102400
#include <asio/as_tuple.hpp>
#else
#include <asio/experimental/as_tuple.hpp>
#endif

namespace copse {

template <class T = void>
using awaitable = asio::awaitable<T>;

using executor = asio::any_io_executor;

/// Completion token of shells: `auto [ec, n] = co_await op(as_tuple);` never throws.
#if ASIO_VERSION >= 102400
inline constexpr auto as_tuple = asio::as_tuple(asio::use_awaitable);
#else
inline constexpr auto as_tuple = asio::experimental::as_tuple(asio::use_awaitable);
#endif

}  // namespace copse
