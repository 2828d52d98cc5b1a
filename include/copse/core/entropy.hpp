// The entropy seam: keys, connection ids, shuffles. Replaceable for one thread.
#pragma once

#include <copse/core/bytes.hpp>

#include <array>
#include <cstddef>

namespace copse {

/// Where a thread takes random bytes from.
class entropy_source {
public:
    virtual ~entropy_source() = default;
    /// Fills `out` with bytes that nobody can predict.
    virtual void fill(byte_span out) noexcept = 0;
};

/// Fills `out` with cryptographically strong random bytes (or seeded ones in a simulation).
/// Terminates the program when the system has none to give.
void fill_random(byte_span out) noexcept;

template <std::size_t N>
[[nodiscard]] std::array<std::byte, N> random_bytes() noexcept
{
    std::array<std::byte, N> out;
    fill_random(out);
    return out;
}

/// Installs a source for the calling thread; null restores the system's. Returns the previous one.
entropy_source* install_entropy(entropy_source* source) noexcept;
/// The source installed for the calling thread, null for the system's.
entropy_source* installed_entropy() noexcept;

}  // namespace copse
