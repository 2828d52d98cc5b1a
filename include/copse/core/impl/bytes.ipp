#pragma once

#include <copse/core/bytes.hpp>

#include <utility>
#include <vector>

namespace copse {

shared_bytes shared_bytes::copy(byte_view from)
{
    auto store = std::make_shared<std::vector<std::byte>>(from.begin(), from.end());
    const byte_view view{*store};
    return {std::move(store), view};
}

}  // namespace copse
