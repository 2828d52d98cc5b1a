// What a folder store knows and keeps on disk. Part of folder_store.ipp.
#pragma once

#include <copse/codec/hex.hpp>
#include <copse/store/bits_core.hpp>
#include <copse/store/detail/pages.hpp>
#include <copse/store/detail/verify_file.hpp>
#include <copse/store/detail/watch_list.hpp>
#include <copse/store/error.hpp>
#include <copse/store/folder_store.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace copse::store {

namespace detail {

inline constexpr std::string_view part_suffix = ".part";
inline constexpr std::string_view data_suffix = ".data";
inline constexpr std::string_view new_suffix = ".new";
inline constexpr std::string_view pairs_suffix = ".obao4";
inline constexpr std::string_view bits_suffix = ".bits";
inline constexpr std::string_view copy_suffix = ".copy";
inline constexpr std::string_view lock_name = "lock";
// Most pairs that are gathered for one write: 256 KiB, those of 64 MiB of data.
inline constexpr std::size_t pair_write_bytes = std::size_t{256} << 10;
inline constexpr std::size_t copy_block = std::size_t{1} << 20;

inline bool is_absent(std::error_code ec) noexcept
{
    return ec == std::errc::no_such_file_or_directory;
}

inline bao::chunk_ranges everything(std::uint64_t size)
{
    return bao::chunk_ranges::range(0, bao::chunk_count(size));
}

// What is known of a partial blob: shared by its writer and its readers in this process.
struct folder_blob {
    folder_blob(const hash::digest& r, std::uint64_t s) : root(r), size(s) {}

    const hash::digest root;
    const std::uint64_t size;
    std::mutex mutex;
    bao::chunk_ranges recorded;  // what a checkpoint made readable
    bool proven = false;
    bool complete = false;
    bool writing = false;
    std::uint64_t sequence = 0;  // of the newest record on disk
};

// A complete blob's data file.
struct complete_file {
    std::string path;
    std::uint64_t size = 0;
};

}  // namespace detail

class folder_store::state {
public:
    state(file_system& fs, std::string path, const folder_options& options)
        : fs_(fs), path_(std::move(path)), options_(options)
    {}

    result<void> start();
    result<availability> status(const hash::digest& root);
    result<std::shared_ptr<detail::folder_blob>> load(const hash::digest& root,
                                                      std::optional<std::uint64_t> claimed);
    result<std::optional<detail::complete_file>> find_complete(const hash::digest& root);
    result<detail::complete_file> hold_complete(const hash::digest& root);
    result<void> forget(const hash::digest& root, const std::string& pairs_name);
    result<void> sync_names();
    result<void> repair(const hash::digest& root);
    bool known_writer(const hash::digest& root);
    result<std::unique_ptr<file>> open_side(const hash::digest& root, std::string_view suffix,
                                            bool write);
    result<bool> remove_side(const hash::digest& root, std::string_view suffix);
    result<bool> remove_named(const std::string& path);
    result<void> write_record(detail::folder_blob& blob, file& bits,
                              const bao::chunk_ranges& present, bool proven);
    result<void> sync_files(detail::folder_blob& blob, file& data, file* pairs, bool recorded);

    [[nodiscard]] std::string name(const hash::digest& root, std::string_view suffix) const
    {
        return path_ + "/" + hash::to_hex(root) + std::string(suffix);
    }
    [[nodiscard]] file_system& fs() const noexcept { return fs_; }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] const folder_options& options() const noexcept { return options_; }

    /// One opening, taking or removing at a time: they look first and act then.
    std::mutex opening;
    detail::watch_list watchers;

private:
    result<void> settle();
    result<void> sync_parent();
    result<void> complete_partial(detail::folder_blob& blob);
    result<void> repair_complete(const hash::digest& root, const detail::complete_file& whole);
    result<void> settle_blob(const hash::digest& root);
    result<void> put_record(detail::folder_blob& blob, file& bits, presence_record record);
    result<std::optional<presence_record>> read_record(const hash::digest& root);
    result<bool> files_reach(const presence_record& record);
    result<bao::chunk_ranges> verify(const hash::digest& root, std::string_view suffix,
                                     std::uint64_t size);

    file_system& fs_;
    const std::string path_;
    const folder_options options_;
    std::shared_ptr<void> lock_;
    hash::digest boot_;  // of the boot id's text
    bool boot_known_ = false;
    std::atomic<bool> names_unsynced_{false};  // syncing the directory has failed
    std::mutex mutex_;                         // of blobs_ and sweep_at_
    std::map<hash::digest, std::weak_ptr<detail::folder_blob>> blobs_;
    std::size_t sweep_at_ = 64;
};

result<void> folder_store::state::start()
{
    const auto made = fs_.make_directory(path_, 0755);
    if (!made && made.error() != std::errc::file_exists) return made.error();
    const std::string lock_path = path_ + "/" + std::string(detail::lock_name);
    auto locked = fs_.lock(lock_path);
    if (!locked) {
        if (locked.error() == std::errc::resource_unavailable_try_again) return store_errc::busy;
        return locked.error();
    }
    lock_ = std::move(locked).value();

    const std::string boot = fs_.boot_id();
    boot_known_ = !boot.empty();
    boot_ = hash::blake3_hash(as_bytes(boot));
    open_options options;
    options.write = true;
    COPSE_TRY(auto record, fs_.open(lock_path, options));
    std::array<std::byte, 128> before;
    COPSE_TRY(const std::size_t n, record->read_at(byte_span(before), 0));
    // Names that a killed process could not sync: blobs that are found here count as durable.
    COPSE_TRYV(sync_names());
    if (boot_known_ && as_text(byte_view(before).first(n)) == boot) return outcome::success();
    // Power loss may have taken the text of the lock, too: an empty one says nothing.
    COPSE_TRYV(settle());
    COPSE_TRYV(sync_parent());
    // Written last: a crash before this only means to settle again. Never synced for the same reason.
    COPSE_TRYV(record->truncate(0));
    return record->write_at(as_bytes(boot), 0);
}

// Until this succeeds no blob is said to be complete: it might have lost its name after power loss.
result<void> folder_store::state::sync_names()
{
    names_unsynced_ = true;
    COPSE_TRYV(fs_.sync_directory(path_));
    names_unsynced_ = false;
    return outcome::success();
}

// A partial blob of which everything is there: power was lost between the last write and the end, or
// finishing failed. \pre opening is held, nobody writes it.
result<void> folder_store::state::complete_partial(detail::folder_blob& blob)
{
    const auto& root = blob.root;
    const bool keeps_pairs = blob.size > extent_bytes;
    COPSE_TRY(const auto data, open_side(root, detail::part_suffix, true));
    COPSE_TRYV(data->truncate(blob.size));
    std::unique_ptr<file> pairs;
    if (keeps_pairs) {
        COPSE_TRY(pairs, open_side(root, detail::pairs_suffix, true));
        COPSE_TRYV(pairs->truncate(bao::outboard_size(blob.size)));
    }
    COPSE_TRYV(sync_files(blob, *data, pairs.get(), true));
    COPSE_TRYV(fs_.rename(name(root, detail::part_suffix), name(root, detail::data_suffix), true));
    {
        const std::lock_guard lock(blob.mutex);
        blob.complete = true;
    }
    COPSE_TRYV(remove_side(root, detail::bits_suffix));
    if (!keeps_pairs) COPSE_TRYV(remove_side(root, detail::pairs_suffix));
    return sync_names();
}

// Blobs are no safer than the name of the directory.
result<void> folder_store::state::sync_parent()
{
    auto end = path_.find_last_not_of('/');
    end = end == std::string::npos ? end : path_.rfind('/', end);
    std::string parent = ".";
    if (end == 0) parent = "/";
    else if (end != std::string::npos) parent = path_.substr(0, end);
    const auto synced = fs_.sync_directory(parent);
    // Who may not read the parent did not make the directory in it.
    if (!synced && synced.error() == std::errc::permission_denied) return outcome::success();
    return synced;
}

// After a restart of the machine: what was complete but not synced is verified before it is believed.
result<void> folder_store::state::settle()
{
    std::vector<hash::digest> unsynced;
    COPSE_TRYV(fs_.list(path_, [&](const std::string& entry) -> result<void> {
        const std::string_view view = entry;
        if (!view.ends_with(detail::new_suffix)) return outcome::success();
        hash::digest root;
        const auto name = view.substr(0, view.size() - detail::new_suffix.size());
        if (codec::decode_hex(name, root.bytes)) unsynced.push_back(root);
        return outcome::success();
    }));
    for (const auto& root : unsynced) COPSE_TRYV(settle_blob(root));
    if (unsynced.empty()) return outcome::success();
    return fs_.sync_directory(path_);
}

result<void> folder_store::state::settle_blob(const hash::digest& root)
{
    COPSE_TRY(auto data, open_side(root, detail::new_suffix, true));
    COPSE_TRY(const std::uint64_t size, data->size());
    COPSE_TRY(const auto present, verify(root, detail::new_suffix, size));
    const bool whole = present == detail::everything(size);
    if (whole) {
        COPSE_TRYV(data->sync());
        if (size > extent_bytes) {
            COPSE_TRY(auto pairs, open_side(root, detail::pairs_suffix, true));
            COPSE_TRYV(pairs->sync());
        }
    }
    const auto suffix = whole ? detail::data_suffix : detail::part_suffix;
    return fs_.rename(name(root, detail::new_suffix), name(root, suffix), true);
}

result<std::unique_ptr<file>> folder_store::state::open_side(const hash::digest& root,
                                                             std::string_view suffix, bool write)
{
    open_options options;
    options.write = write;
    options.create = write && suffix != detail::new_suffix;
    options.follow_links = false;
    return fs_.open(name(root, suffix), options);
}

result<bool> folder_store::state::remove_side(const hash::digest& root, std::string_view suffix)
{
    return remove_named(name(root, suffix));
}

// \return whether it was there.
result<bool> folder_store::state::remove_named(const std::string& path)
{
    const auto removed = fs_.remove_file(path);
    if (removed) return true;
    if (detail::is_absent(removed.error())) return false;
    return removed.error();
}

result<bao::chunk_ranges> folder_store::state::verify(const hash::digest& root,
                                                      std::string_view suffix, std::uint64_t size)
{
    COPSE_TRY(auto data, open_side(root, suffix, false));
    auto pairs = open_side(root, detail::pairs_suffix, false);
    if (!pairs && !detail::is_absent(pairs.error())) return pairs.error();
    file* const known = pairs ? pairs.value().get() : nullptr;
    return detail::file_verifier(*data, known, root, size).present();
}

result<std::optional<presence_record>> folder_store::state::read_record(const hash::digest& root)
{
    std::optional<presence_record> none;
    auto bits = open_side(root, detail::bits_suffix, false);
    if (!bits) {
        if (detail::is_absent(bits.error())) return none;
        return bits.error();
    }
    std::vector<std::byte> content(bits_core::file_size + 1);  // one more shows that it is too long
    COPSE_TRY(const std::size_t n, bits.value()->read_at(byte_span(content), 0));
    return bits_core::newest(byte_view(content).first(n), root);
}

// A cheap look at whether somebody cut the files that a record speaks of.
result<bool> folder_store::state::files_reach(const presence_record& record)
{
    if (record.present.empty()) return true;
    const auto last = record.present.interval(record.present.interval_count() - 1);
    COPSE_TRY(const auto data, fs_.status(name(record.root, detail::part_suffix)));
    if (data.size < bao::byte_end(last.end, record.size)) return false;
    if (bao::chunk_count(record.size) <= hash::group_chunks) return true;
    const auto pairs = fs_.status(name(record.root, detail::pairs_suffix));
    return pairs && pairs.value().size > 0;
}

result<std::optional<detail::complete_file>> folder_store::state::find_complete(
    const hash::digest& root)
{
    for (const auto suffix : {detail::data_suffix, detail::new_suffix}) {
        detail::complete_file found;
        found.path = name(root, suffix);
        const auto status = fs_.status(found.path);
        if (status && status.value().kind == file_kind::regular) {
            found.size = status.value().size;
            return std::optional<detail::complete_file>(std::move(found));
        }
        if (status) return store_errc::corrupt_state;
        if (!detail::is_absent(status.error())) return status.error();
    }
    return std::optional<detail::complete_file>();
}

// What is known of a partial blob; null when it is absent or its size unknown. \pre opening is held.
result<std::shared_ptr<detail::folder_blob>> folder_store::state::load(
    const hash::digest& root, std::optional<std::uint64_t> claimed)
{
    const std::shared_ptr<detail::folder_blob> nothing;
    {
        const std::lock_guard lock(mutex_);
        const auto at = blobs_.find(root);
        if (const auto live = at == blobs_.end() ? nullptr : at->second.lock()) {
            if (!claimed || live->size == *claimed) return live;
            const std::lock_guard blob_lock(live->mutex);
            if (live->proven) return store_errc::size_changed;
            assert(!live->writing);  // who claims a size has asked known_writer() before
        }
    }
    const auto part = fs_.status(name(root, detail::part_suffix));
    if (!part && !detail::is_absent(part.error())) return part.error();
    if (!part && !claimed) return nothing;

    std::optional<presence_record> record;
    if (part) {
        COPSE_TRY(record, read_record(root));
    } else {
        // A record without data is what a crash in the middle of a removal left.
        COPSE_TRYV(remove_side(root, detail::bits_suffix));
    }
    if (!record && !claimed) return nothing;
    const std::uint64_t size = claimed ? *claimed : record->size;
    const bool same_size = record && record->size == size;
    // The proof was made in memory when the record was written: power loss does not undo it.
    if (record && record->size_proven && !same_size) return store_errc::size_changed;

    auto blob = std::make_shared<detail::folder_blob>(root, size);
    if (record) blob->sequence = record->sequence;
    if (part) {
        bool believed = same_size && boot_known_ && record->boot == boot_;
        if (believed) {
            COPSE_TRY(believed, files_reach(*record));
        }
        if (believed) {
            blob->recorded = record->present;
            blob->proven = record->size_proven;
        } else {
            COPSE_TRY(auto present, verify(root, detail::part_suffix, size));
            const bool last = present.contains(bao::chunk_count(size) - 1);
            const bool proven = last || (same_size && record->size_proven);
            if (record || !present.empty()) {
                COPSE_TRY(auto bits, open_side(root, detail::bits_suffix, true));
                COPSE_TRYV(write_record(*blob, *bits, present, proven));
            }
        }
    }
    const std::lock_guard lock(mutex_);
    if (blobs_.size() >= sweep_at_) {
        std::erase_if(blobs_, [](const auto& entry) { return entry.second.expired(); });
        sweep_at_ = std::max<std::size_t>(64, 2 * blobs_.size());
    }
    blobs_[root] = blob;
    return blob;
}

// Puts a record into the slot that does not hold the newest one.
result<void> folder_store::state::put_record(detail::folder_blob& blob, file& bits,
                                             presence_record record)
{
    record.sequence = blob.sequence + 1;
    record.size = blob.size;
    record.root = blob.root;
    const auto bytes = bits_core::encode(record);
    COPSE_TRYV(bits.write_at(bytes, bits_core::slot_offset(record.sequence)));
    const std::lock_guard lock(blob.mutex);
    blob.sequence = record.sequence;
    return outcome::success();
}

// Puts a record on disk, then shows it to readers.
result<void> folder_store::state::write_record(detail::folder_blob& blob, file& bits,
                                               const bao::chunk_ranges& present, bool proven)
{
    presence_record record;
    record.size_proven = proven;
    record.boot = boot_;
    record.present = present;
    bao::chunk_ranges shown = present;
    COPSE_TRYV(put_record(blob, bits, std::move(record)));
    const std::lock_guard lock(blob.mutex);
    blob.recorded = std::move(shown);
    blob.proven = proven;
    return outcome::success();
}

// Syncs the files of a blob of which all is there. A sync that fails loses what was written before it,
// and one more may succeed without that: nothing counts as present then until it is written again.
// \param recorded whether records on disk may say that something is present.
result<void> folder_store::state::sync_files(detail::folder_blob& blob, file& data, file* pairs,
                                             bool recorded)
{
    presence_record record;
    record.size_proven = true;
    if (recorded) {
        // Of no boot, so that a process that finds it, because this one was killed, verifies the files.
        record.present = detail::everything(blob.size);
        auto bits = open_side(blob.root, detail::bits_suffix, true);
        const bool put = bits && put_record(blob, *bits.value(), record);
        if (!put) COPSE_TRYV(remove_side(blob.root, detail::bits_suffix));  // the disk may be full
    }
    auto synced = data.sync();
    if (synced && pairs) synced = pairs->sync();
    if (synced) return synced;
    {
        const std::lock_guard lock(blob.mutex);
        blob.recorded = {};
    }
    // Verifying could find in the system's memory what never reaches the disk. If this fails, too, it
    // must do.
    record.present = {};
    record.boot = boot_;
    auto bits = open_side(blob.root, detail::bits_suffix, true);
    if (bits) static_cast<void>(put_record(blob, *bits.value(), std::move(record)));
    return synced;
}

bool folder_store::state::known_writer(const hash::digest& root)
{
    const std::lock_guard lock(mutex_);
    const auto at = blobs_.find(root);
    const auto live = at == blobs_.end() ? nullptr : at->second.lock();
    if (!live) return false;
    const std::lock_guard blob_lock(live->mutex);
    return live->writing;
}

result<availability> folder_store::state::status(const hash::digest& root)
{
    const std::lock_guard lock(opening);
    if (names_unsynced_) COPSE_TRYV(sync_names());
    availability out;
    COPSE_TRY(const auto whole, find_complete(root));
    if (whole) {
        out.size = whole->size;
        out.size_proven = true;
        out.present = detail::everything(out.size);
        return out;
    }
    COPSE_TRY(const auto blob, load(root, std::nullopt));
    if (!blob) return out;
    const auto is_whole = [&] {
        const std::lock_guard blob_lock(blob->mutex);
        return !blob->writing && !blob->complete && blob->proven &&
               blob->recorded == detail::everything(blob->size);
    };
    if (is_whole()) COPSE_TRYV(complete_partial(*blob));
    const std::lock_guard blob_lock(blob->mutex);
    out.size = blob->size;
    out.size_proven = blob->proven;
    out.present = blob->recorded;
    return out;
}

// The data file of a complete blob that nobody writes. \pre opening is held.
result<detail::complete_file> folder_store::state::hold_complete(const hash::digest& root)
{
    if (known_writer(root)) return store_errc::busy;
    COPSE_TRY(auto whole, find_complete(root));
    if (whole) return std::move(*whole);
    if (root != detail::empty_root()) return store_errc::incomplete;
    detail::complete_file made;
    made.path = name(root, detail::data_suffix);
    COPSE_TRYV(open_side(root, detail::data_suffix, true));
    return made;
}

// Drops side files and what memory knows. Allocates nothing: the blob is gone already.
// \pre opening is held.
result<void> folder_store::state::forget(const hash::digest& root, const std::string& pairs_name)
{
    COPSE_TRYV(remove_named(pairs_name));
    const std::lock_guard lock(mutex_);
    blobs_.erase(root);
    return outcome::success();
}

}  // namespace copse::store
