// The table of limits: what is bounded, how much of it is in use, and what was refused.
#pragma once

#include <copse/core/credit.hpp>
#include <copse/core/duration.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace copse {

/// All limits of one name. docs/limits.md says of each what happens there.
struct limit_row {
    std::string_view name;                ///< as in docs/limits.md
    limit_unit unit = limit_unit::bytes;  ///< what the numbers are
    std::size_t instances = 0;            ///< that exist now, for example one a connection
    std::size_t capacity = 0;             ///< of these together; SIZE_MAX: no limit of its own
    std::size_t used = 0;                 ///< of these together
    std::size_t peak = 0;                 ///< most that one instance ever used, also of those gone
    std::uint64_t refusals = 0;           ///< times that something waited or was refused, likewise
    /// wall_time() of the last of these.
    std::optional<std::chrono::nanoseconds> last_refusal;
};

/// The table, sorted by name, with a row for each name that ever was in use.
/// \par Threads any. Numbers that others change meanwhile are each right, but not of one moment.
std::vector<limit_row> limits();

/// The table as text, a line each, for people. The last refusal is told in seconds before `now`.
std::string to_text(std::span<const limit_row> rows, std::chrono::nanoseconds now);

}  // namespace copse
