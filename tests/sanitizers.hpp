// Whether this build is checked by sanitizers that keep memory of their own.
#pragma once

namespace copse::test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COPSE_SANITIZER_HEAP
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COPSE_SANITIZER_HEAP
#endif
#endif

#if defined(COPSE_SANITIZER_HEAP)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

}  // namespace copse::test
