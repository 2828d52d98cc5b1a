// Failures of verified encoding and decoding.
#pragma once

#include <cstdint>
#include <string>
#include <system_error>

namespace copse::bao {

/// What can be wrong with range sets, encodings and the data behind them.
enum class bao_errc {
    /// A hash pair is not what was promised above it; drop the peer, or the outboard.
    parent_mismatch = 1,
    leaf_mismatch,  ///< Data bytes do not have the promised hash; drop the peer, or rehash the file.
    truncated,      ///< The stream ended inside an encoding; what was verified stays good.
    absent,         ///< The stream ended before the size header: the peer does not have the blob.
    size_limit,     ///< The claimed size exceeds the configured limit; refuse the blob.
    invalid_ranges,    ///< Boundaries that are not strictly increasing; refuse the request.
    invalid_outboard,  ///< An outboard whose length does not fit its size; rebuild it.
};

inline const std::error_category& bao_category() noexcept
{
    static const struct category_type final : std::error_category {
        const char* name() const noexcept override { return "copse.bao"; }
        std::string message(int ev) const override
        {
            switch (static_cast<bao_errc>(ev)) {
            case bao_errc::parent_mismatch: return "hash pair does not match its parent";
            case bao_errc::leaf_mismatch: return "data does not match its hash";
            case bao_errc::truncated: return "encoding ended early";
            case bao_errc::absent: return "peer does not have the blob";
            case bao_errc::size_limit: return "claimed blob size exceeds the limit";
            case bao_errc::invalid_ranges: return "chunk range boundaries are not increasing";
            case bao_errc::invalid_outboard: return "outboard length does not fit the blob size";
            }
            return "unknown bao error";
        }
    } category;
    return category;
}

inline std::error_code make_error_code(bao_errc e) noexcept
{
    return {static_cast<int>(e), bao_category()};
}

/// Where `parent_mismatch` or `leaf_mismatch` happened: the subtree whose pair or bytes are wrong.
/// Filled only when one of these is returned.
struct mismatch {
    std::uint64_t first_chunk = 0;  ///< of the subtree
    std::uint64_t chunk_count = 0;  ///< of the subtree

    /// Byte offset of the subtree in the blob.
    [[nodiscard]] std::uint64_t offset() const noexcept { return first_chunk * 1024; }
    bool operator==(const mismatch&) const = default;
};

}  // namespace copse::bao

template <>
struct std::is_error_code_enum<copse::bao::bao_errc> : std::true_type {};
