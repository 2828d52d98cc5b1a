// How many bytes of the heap each machine of a world holds: every allocation of the process is counted for
// whom it was made, those of the C libraries included, and leaves the account when it is freed, whoever does.
#pragma once

#include <cstddef>
#include <cstdint>

namespace copse::hostile::heap {

/// Whose allocations these are. 0: nobody's, such as the test's own.
inline constexpr std::size_t accounts = 8;

/// From now on allocations are for this account. \return the one before.
std::size_t charge(std::size_t account) noexcept;

/// Bytes that an account holds now, as the allocator rounds them.
[[nodiscard]] std::size_t held(std::size_t account) noexcept;
/// The most it held since forget_peak().
[[nodiscard]] std::size_t peak(std::size_t account) noexcept;
/// Begins a new peak with what is held now.
void forget_peak(std::size_t account) noexcept;
/// Allocations since the start.
[[nodiscard]] std::uint64_t allocations(std::size_t account) noexcept;

}  // namespace copse::hostile::heap
