#pragma once

#include <copse/core/bytes.hpp>

#include <cstddef>
#include <cstring>
#include <vector>

namespace copse::bao::detail {

/// Appends bytes. Not `insert`, which GCC 12 warns of (-Wstringop-overflow) when it inlines it.
inline void append(std::vector<std::byte>& to, byte_view from)
{
    const std::size_t at = to.size();
    to.resize(at + from.size());
    if (!from.empty()) std::memcpy(to.data() + at, from.data(), from.size());
}

}  // namespace copse::bao::detail
