// What a campaign was asked for and what it has counted so far.
#pragma once

#include <copse/core/result.hpp>
#include <copse/sim/campaign.hpp>

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace copse::sim::detail {

/// The command line of campaign_main().
struct campaign_options {
    std::string program;                 ///< as printed in commands
    std::string world;                   ///< empty: all
    std::uint64_t first = 1;             ///< seed
    std::optional<std::uint64_t> seeds;  ///< over all worlds
    std::optional<std::uint64_t> cpu_seconds;
    std::size_t jobs = 0;               ///< 0: one a core
    std::uint64_t limit_seconds = 120;  ///< processor time of one seed
    std::size_t max_failures = 20;      ///< then it ends early
    std::optional<fault_plan> plan;
    std::string log;     ///< file
    std::string resume;  ///< file
    bool here = false;   ///< in this process
    bool minimise = false;
    bool hashes = false;
    bool list = false;
    bool help = false;
};

/// \return nothing wrong: an empty text. \param out complete only then.
std::string parse_campaign_options(const std::vector<std::string>& arguments,
                                   campaign_options& out);
/// For --help.
std::string campaign_usage(const std::string& program);

/// What is known of one world.
struct tally {
    std::uint64_t next = 0;    ///< first seed that was not run
    std::uint64_t done = 0;    ///< seeds that were
    std::uint64_t failed = 0;  ///< of these
    std::uint64_t cpu_us = 0;  ///< processor time of their processes
    std::uint64_t hosts = 0;   ///< of all runs together, as everything below
    std::uint64_t bytes = 0;
    std::uint64_t faults = 0;
    std::uint64_t log_hash = 0;  ///< of all logs, whatever their order
    std::map<std::string, std::uint64_t> reached;
    std::vector<std::uint64_t> failing;  ///< seeds, the first max_failing of them

    static constexpr std::size_t max_failing = 1000;

    void add(std::uint64_t seed, const run_report& report, std::uint64_t cpu);
};

/// By the name of the world.
using cursor = std::map<std::string, tally>;

/// \par Errors std::errc::invalid_argument for a file that is none; no file is an empty cursor.
result<cursor> load_cursor(const std::string& path);
/// Replaces the file in one step. \par Errors std::errc::io_error.
result<void> save_cursor(const std::string& path, const cursor& c);

/// Seeds of a world from which shares are judged.
inline constexpr std::uint64_t least_judged = 200;

/// Prints what is known of a world. \return the number of kinds and states that too few seeds reach.
std::size_t print_tally(const scenario& s, const tally& t, std::ostream& out);

}  // namespace copse::sim::detail
