// What `copse send` offers: the regular files below the given paths, and the names they travel by.
#pragma once

#include "failure.hpp"

#include <copse/core/file.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace app {

struct source_file {
    std::string name;  ///< relative to the parent of the given path, components joined by `/`
    std::string path;
    std::uint64_t size = 0;
};

struct source_list {
    std::vector<source_file> files;  ///< sorted by name, bytewise
    std::uint64_t total_bytes = 0;
    std::uint64_t links = 0;               ///< symbolic links, skipped
    std::uint64_t special = 0;             ///< devices, sockets and pipes, skipped
    std::vector<std::string> unsupported;  ///< names no receiver would take, skipped; escaped
};

/// Lists the files below `paths`, and checks all names. Blocking. A link is followed only when it
/// is given itself.
/// \param skip_unsupported leaves out files whose names cannot be sent, instead of failing.
/// \par Errors exit_code::files.
step<source_list> list_sources(file_system& fs, const std::vector<std::string>& paths,
                               bool skip_unsupported);

}  // namespace app
