// The store in a directory. Compiled once per program.
#pragma once

#include <copse/codec/hex.hpp>
#include <copse/store/bits_core.hpp>
#include <copse/store/detail/pages.hpp>
#include <copse/store/detail/verify_file.hpp>
#include <copse/store/error.hpp>
#include <copse/store/folder_store.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <new>
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
    result<void> forget(const hash::digest& root);
    bool known_writer(const hash::digest& root);
    result<std::unique_ptr<file>> open_side(const hash::digest& root, std::string_view suffix,
                                            bool write);
    result<bool> remove_side(const hash::digest& root, std::string_view suffix);
    result<void> write_record(detail::folder_blob& blob, file& bits,
                              const bao::chunk_ranges& present, bool proven);

    [[nodiscard]] std::string name(const hash::digest& root, std::string_view suffix) const
    {
        return path_ + "/" + hash::to_hex(root) + std::string(suffix);
    }
    [[nodiscard]] file_system& fs() const noexcept { return fs_; }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] const folder_options& options() const noexcept { return options_; }

    /// One opening, taking or removing at a time: they look first and act then.
    std::mutex opening;

private:
    result<void> settle();
    result<void> settle_blob(const hash::digest& root);
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
    std::mutex mutex_;  // of blobs_ and sweep_at_
    std::map<hash::digest, std::weak_ptr<detail::folder_blob>> blobs_;
    std::size_t sweep_at_ = 64;
};

// ---------------------------------------------------------------------------------------- state

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
    if (boot_known_ && as_text(byte_view(before).first(n)) == boot) return outcome::success();
    if (n > 0 || !boot_known_) COPSE_TRYV(settle());
    // Written last: a crash before this only means to settle again. Never synced for the same reason.
    COPSE_TRYV(record->truncate(0));
    return record->write_at(as_bytes(boot), 0);
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

// \return whether it was there.
result<bool> folder_store::state::remove_side(const hash::digest& root, std::string_view suffix)
{
    const auto removed = fs_.remove_file(name(root, suffix));
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
            if (live->writing) return store_errc::busy;
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

// Puts a record into the slot that does not hold the newest one, then shows it to readers.
result<void> folder_store::state::write_record(detail::folder_blob& blob, file& bits,
                                               const bao::chunk_ranges& present, bool proven)
{
    presence_record record;
    record.sequence = blob.sequence + 1;
    record.size = blob.size;
    record.size_proven = proven;
    record.root = blob.root;
    record.boot = boot_;
    record.present = present;
    const auto bytes = bits_core::encode(record);
    COPSE_TRYV(bits.write_at(bytes, bits_core::slot_offset(record.sequence)));
    const std::lock_guard lock(blob.mutex);
    blob.sequence = record.sequence;
    blob.recorded = std::move(record.present);
    blob.proven = proven;
    return outcome::success();
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

// Drops side files and what memory knows. \pre opening is held.
result<void> folder_store::state::forget(const hash::digest& root)
{
    COPSE_TRYV(remove_side(root, detail::pairs_suffix));
    const std::lock_guard lock(mutex_);
    blobs_.erase(root);
    return outcome::success();
}

// ---------------------------------------------------------------------------------------- reader

namespace detail {

class folder_reader final : public blob_reader {
public:
    /// \param pairs null for a complete blob of at most one extent.
    /// \param growing null for a complete blob.
    folder_reader(std::shared_ptr<folder_store::state> s, const hash::digest& root,
                  std::uint64_t size, std::unique_ptr<file> data, std::unique_ptr<file> pairs,
                  std::shared_ptr<folder_blob> growing)
        : state_(std::move(s)),
          root_(root),
          size_(size),
          data_(std::move(data)),
          pairs_(std::move(pairs)),
          growing_(std::move(growing))
    {}

    const hash::digest& root() const noexcept override { return root_; }
    std::uint64_t size() const noexcept override { return size_; }
    bao::chunk_ranges present() const override
    {
        if (!growing_) return everything(size_);
        const std::lock_guard lock(growing_->mutex);
        return growing_->recorded;
    }
    std::uint64_t pair_granularity() const noexcept override
    {
        return pairs_ || growing_ ? hash::group_chunks : extent_chunks;
    }

    result<void> read_pairs(std::uint64_t index, byte_span out) override
    {
        const std::uint64_t end = bao::outboard_size(size_);
        if (index > end / bao::pair_size || out.size() > end - index * bao::pair_size) {
            return store_errc::missing;
        }
        if (out.empty()) return outcome::success();
        if (!pairs_) return store_errc::missing;
        const std::uint64_t offset = index * bao::pair_size;
        if (growing_ || out.size() > page_bytes) return fill(*pairs_, out, offset);
        // A walk over a complete blob asks for neighbours: one call fetches 64 pairs.
        const std::lock_guard lock(page_mutex_);
        if (offset < page_offset_ || offset + out.size() > page_offset_ + page_.size()) {
            page_.resize(
                static_cast<std::size_t>(std::min<std::uint64_t>(page_bytes, end - offset)));
            page_offset_ = offset;
            if (auto filled = fill(*pairs_, page_, offset); !filled) {
                page_.clear();
                return filled;
            }
        }
        const auto from = page_.begin() + static_cast<std::ptrdiff_t>(offset - page_offset_);
        std::copy_n(from, out.size(), out.begin());
        return outcome::success();
    }

    result<void> read(std::span<const byte_span> parts, std::uint64_t offset) override
    {
        std::uint64_t end = offset;
        for (const auto& part : parts) end += part.size();
        if (end < offset || end > size_) return store_errc::missing;
        if (offset == end) return outcome::success();
        if (growing_) {
            const auto wanted = bao::chunk_ranges::from_bytes(offset, end).interval(0);
            const std::lock_guard lock(growing_->mutex);
            if (!growing_->recorded.covers(wanted.first, wanted.end)) return store_errc::missing;
        }
        COPSE_TRY(const std::size_t n, data_->read_at(parts, offset));
        if (n != end - offset) return store_errc::missing;
        return outcome::success();
    }

private:
    static constexpr std::size_t page_bytes = 64 * bao::pair_size;

    static result<void> fill(file& from, byte_span out, std::uint64_t offset)
    {
        COPSE_TRY(const std::size_t n, from.read_at(out, offset));
        if (n != out.size()) return store_errc::missing;
        return outcome::success();
    }

    std::shared_ptr<folder_store::state> state_;
    const hash::digest root_;
    const std::uint64_t size_;
    std::unique_ptr<file> data_;
    std::unique_ptr<file> pairs_;
    std::shared_ptr<folder_blob> growing_;
    std::mutex page_mutex_;
    std::vector<std::byte> page_;
    std::uint64_t page_offset_ = 0;
};

// ---------------------------------------------------------------------------------------- writer

// What was committed since the last checkpoint.
struct pending_commits {
    struct run {
        std::uint64_t index = 0;  // of the first pair in the outboard
        std::size_t offset = 0;   // in `pairs`
        std::size_t length = 0;
    };

    std::vector<std::byte> pairs;
    std::vector<run> runs;
    bao::chunk_ranges present;  // all since the beginning, earlier runs of the program included
    bool proven = false;
    bool changed = false;
};

// The files of a blob being written. Writer and jobs share it.
class folder_target {
public:
    folder_target(std::shared_ptr<folder_store::state> s, std::shared_ptr<folder_blob> blob,
                  std::unique_ptr<file> data, bool fresh)
        : state_(std::move(s)), blob_(std::move(blob)), data_(std::move(data)), fresh_(fresh)
    {}
    ~folder_target()
    {
        const std::lock_guard lock(blob_->mutex);
        if (!blob_->complete && fresh_ && !touched_) {
            // Nothing arrived: leave no empty file behind. If it stays, it is found empty later.
            static_cast<void>(state_->remove_side(blob_->root, part_suffix));
        }
        blob_->writing = false;
    }

    [[nodiscard]] folder_blob& blob() const noexcept { return *blob_; }
    [[nodiscard]] bool direct() const noexcept { return data_->direct(); }
    [[nodiscard]] const folder_options& options() const noexcept { return state_->options(); }

    result<void> write(byte_view data, std::uint64_t offset)
    {
        const std::uint64_t size = blob_->size;
        if (offset > size || data.size() > size - offset) {
            return make_error_code(std::errc::invalid_argument);
        }
        touched_ = true;
        if (!data_->direct()) return data_->write_at(data, offset);
        const std::size_t rest = data.size() % direct_alignment;
        const bool at_end = offset + data.size() == size;
        if (offset % direct_alignment == 0 && (rest == 0 || at_end)) {
            // The caller's buffer has room up to the next multiple; finish() cuts what is too much.
            const std::size_t more = rest == 0 ? 0 : direct_alignment - rest;
            return data_->write_at(byte_view(data.data(), data.size() + more), offset);
        }
        // Pieces of a group: rounding them up would write over their neighbours.
        COPSE_TRY(file* const cached, cached_data());
        return cached->write_at(data, offset);
    }

    result<void> checkpoint(const pending_commits& pending)
    {
        const std::lock_guard lock(jobs_);
        if (failure_) return failure_;
        const auto recorded = record(pending);
        if (!recorded) failure_ = recorded.error();  // later records would name pairs that are lost
        return recorded;
    }

    result<void> finish(const pending_commits& pending, bool durable)
    {
        const std::lock_guard lock(jobs_);
        if (failure_) return failure_;
        {
            const std::lock_guard blob_lock(blob_->mutex);
            if (blob_->complete) return outcome::success();
        }
        if (pending.present != everything(blob_->size)) return store_errc::incomplete;
        const auto finished = complete(pending, durable);
        if (!finished) failure_ = finished.error();
        return finished;
    }

private:
    result<file*> cached_data()
    {
        const std::lock_guard lock(cached_mutex_);
        if (!cached_) {
            COPSE_TRY(cached_, state_->open_side(blob_->root, part_suffix, true));
        }
        return cached_.get();
    }

    result<void> record(const pending_commits& pending)
    {
        if (!pending.changed) return outcome::success();
        COPSE_TRYV(write_pairs(pending));
        if (!bits_) {
            COPSE_TRY(bits_, state_->open_side(blob_->root, bits_suffix, true));
        }
        return state_->write_record(*blob_, *bits_, pending.present, pending.proven);
    }

    // Neighbouring runs become one write.
    result<void> write_pairs(const pending_commits& pending)
    {
        if (pending.runs.empty()) return outcome::success();
        if (!pairs_) {
            COPSE_TRY(pairs_, state_->open_side(blob_->root, pairs_suffix, true));
        }
        auto runs = pending.runs;
        std::sort(runs.begin(), runs.end(),
                  [](const auto& a, const auto& b) { return a.index < b.index; });
        std::vector<std::byte> gathered;
        std::uint64_t offset = 0;
        const auto flush = [&]() -> result<void> {
            if (gathered.empty()) return outcome::success();
            const auto written = pairs_->write_at(gathered, offset);
            gathered.clear();
            return written;
        };
        for (const auto& run : runs) {
            const std::uint64_t at = run.index * bao::pair_size;
            if (at != offset + gathered.size() || gathered.size() >= pair_write_bytes) {
                COPSE_TRYV(flush());
                offset = at;
            }
            const auto from = pending.pairs.begin() + static_cast<std::ptrdiff_t>(run.offset);
            gathered.insert(gathered.end(), from, from + static_cast<std::ptrdiff_t>(run.length));
        }
        return flush();
    }

    result<void> complete(const pending_commits& pending, bool durable)
    {
        const auto& root = blob_->root;
        const bool keeps_pairs = blob_->size > extent_bytes;
        // Readers of the partial blob go on to look for pairs in a file that is about to lose its name.
        if (keeps_pairs || !fresh_ || bits_) COPSE_TRYV(write_pairs(pending));
        COPSE_TRY(const std::uint64_t length, data_->size());
        if (length != blob_->size) COPSE_TRYV(data_->truncate(blob_->size));
        if (durable) {
            COPSE_TRYV(data_->sync());
            if (keeps_pairs) {
                if (!pairs_) {
                    COPSE_TRY(pairs_, state_->open_side(root, pairs_suffix, true));
                }
                COPSE_TRYV(pairs_->sync());
            }
        }
        const auto suffix = durable ? data_suffix : new_suffix;
        COPSE_TRYV(
            state_->fs().rename(state_->name(root, part_suffix), state_->name(root, suffix), true));
        {
            const std::lock_guard lock(blob_->mutex);
            blob_->recorded = pending.present;
            blob_->proven = true;
            blob_->complete = true;
            blob_->writing = false;
        }
        if (!fresh_ || bits_) {
            COPSE_TRYV(state_->remove_side(root, bits_suffix));
            if (!keeps_pairs) COPSE_TRYV(state_->remove_side(root, pairs_suffix));
        }
        if (!durable) return outcome::success();
        return state_->fs().sync_directory(state_->path());
    }

    std::shared_ptr<folder_store::state> state_;
    std::shared_ptr<folder_blob> blob_;
    std::unique_ptr<file> data_;
    const bool fresh_;                  // no file of the blob was there
    std::atomic<bool> touched_{false};  // something was written
    std::mutex cached_mutex_;
    std::unique_ptr<file> cached_;  // the data through the page cache
    std::mutex jobs_;               // of what follows
    std::unique_ptr<file> pairs_;
    std::unique_ptr<file> bits_;
    std::error_code failure_;
};

class folder_writer final : public blob_writer {
public:
    explicit folder_writer(std::shared_ptr<folder_target> target)
        : target_(std::move(target)), last_checkpoint_(monotonic_clock::now())
    {
        auto& blob = target_->blob();
        const std::lock_guard lock(blob.mutex);
        pending_.present = blob.recorded;
        pending_.proven = blob.proven;
    }

    const hash::digest& root() const noexcept override { return target_->blob().root; }
    std::uint64_t size() const noexcept override { return target_->blob().size; }
    bao::chunk_ranges present() const override { return pending_.present; }
    bool direct() const noexcept override { return target_->direct(); }
    result<void> write(byte_view data, std::uint64_t offset) override
    {
        return target_->write(data, offset);
    }

    void commit(const bao::chunk_ranges& chunks, std::span<const pair_run> pairs) override
    {
        const std::uint64_t count = bao::chunk_count(size());
        const std::uint64_t pair_count = bao::pair_count(count);
        for (const auto& run : pairs) {
            assert(run.bytes.size() % bao::pair_size == 0);
            assert(run.index + run.bytes.size() / bao::pair_size <= pair_count);
            static_cast<void>(pair_count);  // only checked where assert is
            pending_.runs.push_back({run.index, pending_.pairs.size(), run.bytes.size()});
            pending_.pairs.insert(pending_.pairs.end(), run.bytes.begin(), run.bytes.end());
        }
        const auto whole = chunks.full_groups(count);
        fresh_bytes_ += whole.chunk_total() * hash::chunk_size;
        pending_.present |= whole;
        pending_.proven = pending_.proven || chunks.contains(count - 1);
        pending_.changed = true;
    }

    bool checkpoint_due() const noexcept override
    {
        if (fresh_bytes_ == 0) return false;
        return fresh_bytes_ >= target_->options().checkpoint_bytes ||
               monotonic_clock::now() - last_checkpoint_ >= target_->options().checkpoint_interval;
    }

    std::function<result<void>()> checkpoint() override
    {
        fresh_bytes_ = 0;
        last_checkpoint_ = monotonic_clock::now();
        return [target = target_, pending = take()] { return target->checkpoint(*pending); };
    }

    std::function<result<void>()> finish(bool durable) override
    {
        fresh_bytes_ = 0;
        return [target = target_, pending = take(), durable] {
            return target->finish(*pending, durable);
        };
    }

private:
    std::shared_ptr<const pending_commits> take()
    {
        auto out = std::make_shared<pending_commits>();
        out->pairs = std::exchange(pending_.pairs, {});
        out->runs = std::exchange(pending_.runs, {});
        out->present = pending_.present;
        out->proven = pending_.proven;
        out->changed = std::exchange(pending_.changed, false);
        return out;
    }

    std::shared_ptr<folder_target> target_;
    pending_commits pending_;
    std::uint64_t fresh_bytes_ = 0;  // committed since the last checkpoint
    time_point last_checkpoint_;
};

// The writer of a blob that needs nothing.
class complete_writer final : public blob_writer {
public:
    complete_writer(const hash::digest& root, std::uint64_t size) : root_(root), size_(size) {}

    const hash::digest& root() const noexcept override { return root_; }
    std::uint64_t size() const noexcept override { return size_; }
    bao::chunk_ranges present() const override { return everything(size_); }
    bool direct() const noexcept override { return false; }
    result<void> write(byte_view, std::uint64_t) override { return outcome::success(); }
    void commit(const bao::chunk_ranges&, std::span<const pair_run>) override {}
    bool checkpoint_due() const noexcept override { return false; }
    std::function<result<void>()> checkpoint() override { return done; }
    std::function<result<void>()> finish(bool) override { return done; }

private:
    static result<void> done() { return outcome::success(); }

    const hash::digest root_;
    const std::uint64_t size_;
};

}  // namespace detail

// ---------------------------------------------------------------------------------------- store

folder_store::folder_store(std::shared_ptr<state> shared) : state_(std::move(shared)) {}

folder_store::~folder_store() = default;

result<std::shared_ptr<folder_store>> folder_store::open(file_system& fs, std::string path,
                                                         folder_options options)
{
    auto shared = std::make_shared<state>(fs, std::move(path), options);
    COPSE_TRYV(shared->start());
    return std::shared_ptr<folder_store>(new folder_store(std::move(shared)));
}

const std::string& folder_store::path() const noexcept
{
    return state_->path();
}

result<availability> folder_store::status(const hash::digest& root)
{
    if (root != detail::empty_root()) return state_->status(root);
    availability out;
    out.size_proven = true;
    out.present = detail::everything(0);
    return out;
}

result<std::shared_ptr<blob_reader>> folder_store::open(const hash::digest& root)
{
    if (root == detail::empty_root()) return detail::empty_reader();
    const std::lock_guard lock(state_->opening);
    // Twice, because a blob may be finished, and so renamed, between the looks.
    for (int attempt = 0; attempt < 2; ++attempt) {
        COPSE_TRY(const auto whole, state_->find_complete(root));
        std::shared_ptr<detail::folder_blob> growing;
        if (!whole) {
            COPSE_TRY(growing, state_->load(root, std::nullopt));
            if (!growing) continue;
            const std::lock_guard blob_lock(growing->mutex);
            if (growing->complete) continue;
            if (growing->recorded.empty()) return store_errc::missing;
        }
        open_options options;
        options.follow_links = false;
        auto data = state_->fs().open(whole ? whole->path : state_->name(root, detail::part_suffix),
                                      options);
        if (!data && detail::is_absent(data.error())) continue;
        if (!data) return data.error();

        const std::uint64_t size = whole ? whole->size : growing->size;
        std::unique_ptr<file> pairs;
        if (size > extent_bytes || (growing && bao::outboard_size(size) > 0)) {
            auto opened = state_->open_side(root, detail::pairs_suffix, false);
            if (!opened && !detail::is_absent(opened.error())) return opened.error();
            if (opened) pairs = std::move(opened).value();
        }
        if (whole && size > extent_bytes) {
            if (!pairs) return store_errc::corrupt_state;
            COPSE_TRY(const std::uint64_t length, pairs->size());
            if (length != bao::outboard_size(size)) return store_errc::corrupt_state;
        }
        return std::shared_ptr<blob_reader>(std::make_shared<detail::folder_reader>(
            state_, root, size, std::move(data).value(), std::move(pairs), std::move(growing)));
    }
    return store_errc::missing;
}

result<std::shared_ptr<blob_writer>> folder_store::open_partial(const hash::digest& root,
                                                                std::uint64_t size)
{
    if ((root == detail::empty_root()) != (size == 0)) return store_errc::size_changed;
    if (size == 0) return detail::empty_writer();
    const std::lock_guard lock(state_->opening);
    if (state_->known_writer(root)) return store_errc::busy;
    COPSE_TRY(const auto whole, state_->find_complete(root));
    if (whole) {
        if (whole->size != size) return store_errc::size_changed;
        return std::shared_ptr<blob_writer>(std::make_shared<detail::complete_writer>(root, size));
    }
    COPSE_TRY(auto blob, state_->load(root, size));
    open_options options;
    options.write = true;
    options.create = true;
    options.follow_links = false;
    options.direct = state_->options().direct && size >= state_->options().direct_threshold;
    COPSE_TRY(auto data, state_->fs().open(state_->name(root, detail::part_suffix), options));
    COPSE_TRY(const std::uint64_t length, data->size());
    bool fresh = false;
    {
        const std::lock_guard blob_lock(blob->mutex);
        blob->writing = true;
        fresh = length == 0 && blob->sequence == 0;
    }
    auto target =
        std::make_shared<detail::folder_target>(state_, std::move(blob), std::move(data), fresh);
    return std::shared_ptr<blob_writer>(std::make_shared<detail::folder_writer>(std::move(target)));
}

result<void> folder_store::take(const hash::digest& root, const std::string& target, bool replace)
{
    const std::lock_guard lock(state_->opening);
    COPSE_TRY(const auto whole, state_->hold_complete(root));
    // First, so that a crash in between leaves no record that a later partial blob could inherit.
    COPSE_TRYV(state_->remove_side(root, detail::bits_suffix));
    COPSE_TRYV(state_->fs().rename(whole.path, target, replace));
    return state_->forget(root);
}

result<void> folder_store::copy(const hash::digest& root, const std::string& target, bool replace)
{
    const std::lock_guard lock(state_->opening);
    COPSE_TRY(const auto whole, state_->hold_complete(root));
    auto& fs = state_->fs();
    if (!replace) {  // the rename checks again; this saves the copying
        const auto there = fs.status(target);
        if (there) return make_error_code(std::errc::file_exists);
        if (!detail::is_absent(there.error())) return there.error();
    }
    COPSE_TRY(const auto from, fs.open(whole.path, {}));
    const std::string temporary = state_->name(root, detail::copy_suffix);
    const auto copied = [&]() -> result<void> {
        open_options options;
        options.write = true;
        options.create = true;
        options.truncate = true;
        options.follow_links = false;
        COPSE_TRY(const auto to, fs.open(temporary, options));
        std::vector<std::byte> block(detail::copy_block);
        for (std::uint64_t offset = 0;;) {
            COPSE_TRY(const std::size_t n, from->read_at(byte_span(block), offset));
            if (n == 0) break;
            COPSE_TRYV(to->write_at(byte_view(block).first(n), offset));
            offset += n;
        }
        return fs.rename(temporary, target, replace);
    }();
    // The name is gone after success; after a failure that error matters more than this one.
    if (!copied) static_cast<void>(fs.remove_file(temporary));
    return copied;
}

result<void> folder_store::remove(const hash::digest& root)
{
    const std::lock_guard lock(state_->opening);
    if (state_->known_writer(root)) return store_errc::busy;
    bool found = false;
    // The record first: without it the rest is only data that nobody believes.
    for (const auto suffix :
         {detail::bits_suffix, detail::part_suffix, detail::new_suffix, detail::data_suffix}) {
        COPSE_TRY(const bool was_there, state_->remove_side(root, suffix));
        found = found || was_there;
    }
    COPSE_TRYV(state_->forget(root));
    if (!found) return store_errc::missing;
    return outcome::success();
}

result<bool> folder_store::remove_if_empty()
{
    const std::lock_guard lock(state_->opening);
    bool others = false;
    COPSE_TRYV(state_->fs().list(state_->path(), [&](const std::string& entry) -> result<void> {
        others = others || entry != detail::lock_name;
        return outcome::success();
    }));
    if (others) return false;
    COPSE_TRYV(state_->fs().remove_file(state_->path() + "/" + std::string(detail::lock_name)));
    const auto removed = state_->fs().remove_directory(state_->path());
    if (removed) return true;
    if (removed.error() == std::errc::directory_not_empty) return false;  // somebody came
    return removed.error();
}

}  // namespace copse::store
