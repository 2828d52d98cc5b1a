// Giving up what has rotted. Part of folder_store.ipp.
#pragma once

#include <copse/store/impl/folder_state.ipp>

#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace copse::store {

// Keeps of a blob that nobody writes what its files prove. \pre opening is held.
result<void> folder_store::state::repair(const hash::digest& root)
{
    if (known_writer(root)) return store_errc::busy;
    COPSE_TRY(const auto whole, find_complete(root));
    if (whole) return repair_complete(root, *whole);
    COPSE_TRY(const auto blob, load(root, std::nullopt));
    if (!blob) return store_errc::missing;
    COPSE_TRY(const auto present, verify(root, detail::part_suffix, blob->size));
    bool proven = false;
    {
        const std::lock_guard lock(blob->mutex);
        if (blob->recorded == present) return outcome::success();
        proven = blob->proven || present.contains(bao::chunk_count(blob->size) - 1);
    }
    COPSE_TRY(const auto bits, open_side(root, detail::bits_suffix, true));
    return write_record(*blob, *bits, present, proven);
}

result<void> folder_store::state::repair_complete(const hash::digest& root,
                                                  const detail::complete_file& whole)
{
    const std::string pairs_name = name(root, detail::pairs_suffix);
    const bool durable = whole.path.ends_with(detail::data_suffix);
    COPSE_TRY(const auto present,
              verify(root, durable ? detail::data_suffix : detail::new_suffix, whole.size));
    if (present == detail::everything(whole.size)) {
        if (whole.size <= extent_bytes) return outcome::success();
        // Too long, they hold no wrong pairs, but a reader would not take them.
        COPSE_TRY(const auto pairs, open_side(root, detail::pairs_suffix, true));
        COPSE_TRY(const std::uint64_t length, pairs->size());
        const std::uint64_t wanted = bao::outboard_size(whole.size);
        return length == wanted ? result<void>(outcome::success()) : pairs->truncate(wanted);
    }
    // Of an earlier life of the blob, if it is there at all.
    COPSE_TRYV(remove_side(root, detail::bits_suffix));
    if (present.empty()) {
        COPSE_TRYV(remove_named(whole.path));
        return forget(root, pairs_name);
    }
    // The record first: next to a complete file nobody reads it, and all that needs memory is done.
    const std::string part_name = name(root, detail::part_suffix);
    detail::folder_blob blob(root, whole.size);
    const bool proven = present.contains(bao::chunk_count(whole.size) - 1);
    {
        COPSE_TRY(const auto bits, open_side(root, detail::bits_suffix, true));
        COPSE_TRYV(write_record(blob, *bits, present, proven));
    }
    COPSE_TRYV(fs_.rename(whole.path, part_name, true));
    const std::lock_guard lock(mutex_);
    blobs_.erase(root);  // it says that all is there
    return outcome::success();
}

}  // namespace copse::store
