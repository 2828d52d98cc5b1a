// Inputs left over when a batch does not fill a kernel. Not API.
#pragma once

#include "copse/hash/impl/blake3_kernel.hpp"

namespace copse::hash::kernel {

/// Runs a kernel of `Lanes` inputs over `count` of them (1 .. Lanes): the last one fills the idle
/// lanes, whose values are dropped.
template <std::size_t Lanes, class Run>
inline void run_padded(Run run, const std::byte* const* inputs, std::size_t count,
                       std::size_t blocks, const batch& what, std::byte* out) noexcept
{
    if (count == Lanes) {
        run(inputs, blocks, what, out);
        return;
    }
    const std::byte* padded[Lanes];
    for (std::size_t i = 0; i < Lanes; ++i) padded[i] = inputs[i < count ? i : count - 1];
    alignas(64) std::byte values[Lanes * cv_size];
    run(padded, blocks, what, values);
    std::memcpy(out, values, count * cv_size);
}

/// `what` for the inputs after the first `n`.
inline batch advanced(batch what, std::size_t n) noexcept
{
    if (what.increment) what.counter += n;
    return what;
}

}  // namespace copse::hash::kernel
