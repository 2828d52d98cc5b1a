// Received files on their way to their names: what is in place already, what is in the way, and the
// renaming at the end. Nothing here goes through a symbolic link below the destination.
#pragma once

#include "failure.hpp"

#include <copse/core/asio.hpp>
#include <copse/core/file.hpp>
#include <copse/core/offload.hpp>
#include <copse/hash/digest.hpp>
#include <copse/store/folder_store.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace app {

/// A file of a download. Its name passed blob::check_names().
struct target_file {
    std::string name;
    hash::digest hash;
    std::uint64_t size = 0;
    bool in_place = false;  ///< the destination has it, with this content
};

/// A folder that receives files. It exists; it may be reached through links, what is below it not.
class destination {
public:
    /// \param fs must outlive it.
    /// \param force replaces files, and links, that have the name of a received one.
    destination(file_system& fs, std::string folder, bool force, bool durable)
        : fs_(fs), folder_(std::move(folder)), force_(force), durable_(durable)
    {}

    /// Looks at the names in the destination: marks files that are in place, and fails for those
    /// that are in the way, before anything is transferred.
    /// \param hashed called on the executor with bytes of existing files that were compared.
    /// \par Errors exit_code::files. \par Cancellation total.
    awaitable<step<void>> survey(std::vector<target_file>& files, offload_pool& pool,
                                 std::function<void(std::uint64_t)> hashed);

    /// Moves complete blobs to their names. Repeat it after an interruption: what was moved is in
    /// place then.
    /// \param placed called on the executor with bytes of files placed.
    /// \par Errors exit_code::files. \par Cancellation partial.
    awaitable<step<void>> place(std::vector<target_file>& files, store::folder_store& from,
                                offload_pool& pool, std::function<void(std::uint64_t)> placed);

    [[nodiscard]] std::string path_of(std::string_view name) const
    {
        return folder_ + "/" + std::string(name);
    }
    [[nodiscard]] const std::string& folder() const noexcept { return folder_; }

private:
    enum class state { free, same_size, in_the_way };

    step<state> look(const target_file& file);
    step<void> check_folders(std::string_view name, bool make);
    step<void> place_range(std::vector<target_file>& files, std::size_t first, std::size_t end,
                           store::folder_store& from);
    step<void> place_one(const target_file& file, store::folder_store& from);

    file_system& fs_;
    std::string folder_;
    bool force_;
    bool durable_;
    std::set<std::string, std::less<>> known_folders_;  // below the destination, seen as such
    std::map<hash::digest, std::size_t> places_left_;   // of blobs that have several names
};

}  // namespace app
