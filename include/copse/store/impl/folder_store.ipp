// The store in a directory. Compiled once per program.
#pragma once

#include <copse/store/impl/folder_handles.ipp>
#include <copse/store/impl/folder_repair.ipp>
#include <copse/store/impl/folder_state.ipp>

#include <array>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace copse::store {

namespace detail {

// Removed at the end, whatever happens. After a rename the name is gone, and after a failure that error
// matters more than the one of removing.
struct temporary_file {
    file_system& fs;
    const std::string path;
    ~temporary_file() { static_cast<void>(fs.remove_file(path)); }
};

}  // namespace detail

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
        bool all = whole.has_value();
        if (!whole) {
            COPSE_TRY(growing, state_->load(root, std::nullopt));
            if (!growing) continue;
            const std::lock_guard blob_lock(growing->mutex);
            if (growing->complete) continue;
            if (growing->recorded.empty()) return store_errc::missing;
            all = growing->recorded == detail::everything(growing->size);
        }
        open_options options;
        options.follow_links = false;
        auto data = state_->fs().open(whole ? whole->path : state_->name(root, detail::part_suffix),
                                      options);
        if (!data && detail::is_absent(data.error())) continue;
        if (!data) return data.error();

        const std::uint64_t size = whole ? whole->size : growing->size;
        std::unique_ptr<file> pairs;
        // Those of a small blob may never have been written, if all of it was verified without them.
        if (size > extent_bytes || (!all && bao::outboard_size(size) > 0)) {
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
        fresh = length == 0 && blob->sequence == 0;
    }
    auto target = std::make_shared<detail::folder_target>(state_, blob, std::move(data), fresh);
    auto writer = std::make_shared<detail::folder_writer>(std::move(target));
    const std::lock_guard blob_lock(blob->mutex);
    blob->writing = true;
    return std::shared_ptr<blob_writer>(std::move(writer));
}

result<void> folder_store::take(const hash::digest& root, const std::string& target, bool replace)
{
    const std::lock_guard lock(state_->opening);
    COPSE_TRY(const auto whole, state_->hold_complete(root));
    const std::string pairs_name = state_->name(root, detail::pairs_suffix);
    // First, so that a crash in between leaves no record that a later partial blob could inherit.
    COPSE_TRYV(state_->remove_side(root, detail::bits_suffix));
    COPSE_TRYV(state_->fs().rename(whole.path, target, replace));
    COPSE_TRYV(state_->forget(root, pairs_name));
    state_->watchers.notify(root);
    return outcome::success();
}

std::shared_ptr<void> folder_store::watch(const hash::digest& root, std::function<void()> changed)
{
    return state_->watchers.add(root, std::move(changed));
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
    const detail::temporary_file temporary{fs, state_->name(root, detail::copy_suffix)};
    std::vector<std::byte> block(detail::copy_block);
    open_options options;
    options.write = true;
    options.create = true;
    options.truncate = true;
    options.follow_links = false;
    COPSE_TRY(const auto to, fs.open(temporary.path, options));
    for (std::uint64_t offset = 0;;) {
        COPSE_TRY(const std::size_t n, from->read_at(byte_span(block), offset));
        if (n == 0) break;
        COPSE_TRYV(to->write_at(byte_view(block).first(n), offset));
        offset += n;
    }
    return fs.rename(temporary.path, target, replace);
}

result<void> folder_store::remove(const hash::digest& root)
{
    const std::lock_guard lock(state_->opening);
    if (state_->known_writer(root)) return store_errc::busy;
    bool found = false;
    // The record first: without it the rest is only data that nobody believes.
    const std::array<std::string, 4> names = {
        state_->name(root, detail::bits_suffix), state_->name(root, detail::part_suffix),
        state_->name(root, detail::new_suffix), state_->name(root, detail::data_suffix)};
    const std::string pairs_name = state_->name(root, detail::pairs_suffix);
    for (const auto& name : names) {
        COPSE_TRY(const bool was_there, state_->remove_named(name));
        found = found || was_there;
    }
    COPSE_TRYV(state_->forget(root, pairs_name));
    if (!found) return store_errc::missing;
    state_->watchers.notify(root);
    return outcome::success();
}

result<availability> folder_store::repair(const hash::digest& root)
{
    if (root != detail::empty_root()) {
        const std::lock_guard lock(state_->opening);
        COPSE_TRYV(state_->repair(root));
        state_->watchers.notify(root);
    }
    return status(root);
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
