// Byte spans and bytes with a shared owner.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace copse {

using byte_view = std::span<const std::byte>;
using byte_span = std::span<std::byte>;

/// The bytes of a text, not copied: valid as long as the text.
[[nodiscard]] inline byte_view as_bytes(std::string_view text) noexcept
{
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

/// Bytes seen as text, not copied. No check that they are UTF-8.
[[nodiscard]] inline std::string_view as_text(byte_view bytes) noexcept
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Immutable bytes kept alive by `owner`. What a transport sends without copying.
struct shared_bytes {
    std::shared_ptr<const void> owner;  ///< null: the bytes are static or outlive every use
    byte_view bytes;                    ///< valid as long as `owner`

    /// A copy of `from` with an owner of its own.
    [[nodiscard]] static shared_bytes copy(byte_view from);
};

}  // namespace copse
