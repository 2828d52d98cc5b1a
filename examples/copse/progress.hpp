// What is going on, on standard error: one line that is rewritten on a terminal, plain lines now
// and then anywhere else.
#pragma once

#include <copse/core/asio.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace app {

/// Shows one phase at a time: hash, connect, transfer, export.
/// \par Threads one executor, whose timer redraws.
class progress {
public:
    explicit progress(copse::executor ex);
    ~progress();
    progress(const progress&) = delete;
    progress& operator=(const progress&) = delete;

    /// Begins a phase; the one before is ended.
    /// \param total   bytes in all, nullopt when unknown or when the phase moves no bytes.
    /// \param before  how many of them were done earlier, so that they do not count for the rate.
    void begin(std::string phase, std::optional<std::uint64_t> total, std::uint64_t before = 0);
    void add(std::uint64_t bytes) noexcept;
    /// Bytes done of the total.
    void set(std::uint64_t bytes) noexcept;
    /// Text behind the numbers, such as a count of files.
    void detail(std::string text);
    /// Ends the phase and clears its line.
    void end();
    /// Writes a line that stays.
    void note(std::string_view line);

private:
    struct state;
    std::shared_ptr<state> state_;  // a timer that expired keeps a weak reference
};

}  // namespace app
