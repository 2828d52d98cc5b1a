// Where a download lives until it is complete: DIR/.copse-partial/<root hash>.
#pragma once

#include "failure.hpp"
#include "placement.hpp"

#include <copse/blob/download.hpp>
#include <copse/core/file.hpp>
#include <copse/hash/digest.hpp>
#include <copse/store/blob_store.hpp>
#include <copse/store/folder_store.hpp>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace app {

/// The partial folder of one download. All calls block. \par Threads one at a time.
class workplace {
public:
    /// Makes the folders that are missing and opens the store.
    /// \par Errors exit_code::files, also when another process receives the same.
    static step<workplace> open(file_system& fs, const std::string& destination,
                                const hash::digest& root);

    [[nodiscard]] store::folder_store& store() noexcept { return *store_; }
    /// There was no such folder before: nothing of an earlier run is in it.
    [[nodiscard]] bool fresh() const noexcept { return fresh_; }

    /// The hashes and names of the collection, if they are here. Sizes are not filled in.
    std::optional<blob::manifest> stored_names();
    /// How long a file is, by its blob in the store or the file of that name in the destination.
    /// \param partial a blob that is not complete counts, if its size is proven.
    std::optional<std::uint64_t> stored_size(const hash::digest& blob, std::string_view name,
                                             const destination& to, bool partial);
    /// The collection as far as it is known without asking anyone: its names, and sizes of files
    /// that are here or, under their name, in the destination. nullopt when anything is unknown.
    std::optional<blob::manifest> stored_manifest(const destination& to);

    /// The download is over: drops what is left in the store and removes the folders.
    /// \return whether everything is gone.
    bool remove();
    /// The same for folders that hold nothing yet: what is there stays.
    void remove_if_unused();

private:
    workplace(file_system& fs, std::string destination, bool made_destination)
        : fs_(&fs), destination_(std::move(destination)), made_destination_(made_destination)
    {}
    /// \return whether it was not there.
    step<bool> make_folder(const std::string& path);
    void remove_outer_folders();

    file_system* fs_;
    std::string destination_;
    std::string outer_;
    std::string inner_;
    bool made_destination_;
    bool fresh_ = false;
    hash::digest root_;
    std::shared_ptr<store::folder_store> store_;
};

/// A store that also claims the blobs whose files are in place, so that they are not asked for.
class resumed_store final : public store::blob_store {
public:
    /// \param inner must outlive it.
    resumed_store(store::blob_store& inner, const std::vector<target_file>& files);
    /// Claims one more, unless it is claimed already.
    void claim(const hash::digest& root, std::uint64_t size) { placed_.emplace(root, size); }

    result<store::availability> status(const hash::digest& root) override;
    result<std::shared_ptr<store::blob_reader>> open(const hash::digest& root) override
    {
        return inner_.open(root);
    }
    result<std::shared_ptr<store::blob_writer>> open_partial(const hash::digest& root,
                                                             std::uint64_t size) override
    {
        return inner_.open_partial(root, size);
    }

private:
    store::blob_store& inner_;
    std::map<hash::digest, std::uint64_t> placed_;
};

}  // namespace app
