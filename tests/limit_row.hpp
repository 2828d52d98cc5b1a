// A row of the table of limits.
#pragma once

#include <copse/core/limits.hpp>

#include <string_view>

namespace copse::test {

/// The row of that name, an empty one when nothing was ever called so. It also counts what earlier tests
/// of the program refused.
inline limit_row row_of(std::string_view name)
{
    for (const limit_row& one : limits()) {
        if (one.name == name) return one;
    }
    return {};
}

}  // namespace copse::test
