// Standard input and output of unknown length, by way of temporary files.
#pragma once

#include "failure.hpp"
#include "progress.hpp"

#include <copse/core/asio.hpp>
#include <copse/core/offload.hpp>

#include <cstdint>
#include <string>

namespace app {

/// $TMPDIR, or /tmp.
[[nodiscard]] std::string temporary_folder();

/// Standard input as a file, which is removed with this object.
class spool_file {
public:
    spool_file() = default;
    spool_file(const spool_file&) = delete;
    spool_file& operator=(const spool_file&) = delete;
    ~spool_file();

    /// Reads standard input to its end. \return its size.
    /// \par Errors exit_code::files, disk_full, interrupted. \par Cancellation total, within 100 ms.
    awaitable<step<std::uint64_t>> fill(offload_pool& pool, progress& shown);
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

private:
    std::string path_;  // empty: not made
};

}  // namespace app
