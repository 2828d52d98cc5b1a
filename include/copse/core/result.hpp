// Values or errors: every fallible function of copse returns a result.
#pragma once

#include <boost/outcome/std_result.hpp>

#include <system_error>

namespace copse {

namespace outcome = BOOST_OUTCOME_V2_NAMESPACE;

/// A value of type T or the std::error_code that says why there is none.
template <class T = void>
using result = outcome::std_result<T, std::error_code>;

}  // namespace copse

#define COPSE_CAT_(a, b) a##b
#define COPSE_CAT(a, b) COPSE_CAT_(a, b)

#define COPSE_TRY_(ret, tmp, decl, ...)  \
    auto tmp = (__VA_ARGS__);            \
    if (!tmp) [[unlikely]]               \
        ret std::move(tmp).as_failure(); \
    decl = std::move(tmp).assume_value()

#define COPSE_TRYV_(ret, tmp, ...)                   \
    if (auto tmp = (__VA_ARGS__); !tmp) [[unlikely]] \
    ret std::move(tmp).as_failure()

/// `COPSE_TRY(auto x, f());` declares x with the value of f(), or returns its error.
/// Two statements: never the only body of an `if` without braces.
#define COPSE_TRY(decl, ...) \
    COPSE_TRY_(return, COPSE_CAT(copse_try_, __COUNTER__), decl, __VA_ARGS__)
/// `COPSE_TRYV(f());` returns the error of f(), if any.
#define COPSE_TRYV(...) COPSE_TRYV_(return, COPSE_CAT(copse_try_, __COUNTER__), __VA_ARGS__)
/// The same two for coroutines.
#define COPSE_CO_TRY(decl, ...) \
    COPSE_TRY_(co_return, COPSE_CAT(copse_try_, __COUNTER__), decl, __VA_ARGS__)
#define COPSE_CO_TRYV(...) COPSE_TRYV_(co_return, COPSE_CAT(copse_try_, __COUNTER__), __VA_ARGS__)
