// Why a simulated world did not get where it was to go.
#pragma once

#include <string>
#include <system_error>

namespace copse::sim {

/// How world::run_until() ended without reaching its condition.
enum class sim_errc {
    out_of_time = 1,  ///< The condition was not reached at the given time; see what is waited for.
    deadlock,         ///< Nothing is left that could happen: a wake-up was lost.
    livelock,         ///< Work without end at one instant: something polls without waiting.
};

/// The category `copse.sim`.
inline const std::error_category& sim_category() noexcept
{
    static const struct category_type final : std::error_category {
        const char* name() const noexcept override { return "copse.sim"; }
        std::string message(int ev) const override
        {
            switch (static_cast<sim_errc>(ev)) {
            case sim_errc::out_of_time: return "the simulated time is over";
            case sim_errc::deadlock: return "nothing is left that could happen";
            case sim_errc::livelock: return "work without end at one instant";
            }
            return "unknown error of the simulated world";
        }
    } category;
    return category;
}

/// Makes sim_errc usable as an error code.
inline std::error_code make_error_code(sim_errc e) noexcept
{
    return {static_cast<int>(e), sim_category()};
}

}  // namespace copse::sim

template <>
struct std::is_error_code_enum<copse::sim::sim_errc> : std::true_type {};
