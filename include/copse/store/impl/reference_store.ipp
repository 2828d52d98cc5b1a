// The store of files served in place. Compiled once per program.
#pragma once

#include <copse/bao/outboard.hpp>
#include <copse/store/detail/pages.hpp>
#include <copse/store/detail/watch_list.hpp>
#include <copse/store/error.hpp>
#include <copse/store/reference_store.hpp>

#include <cassert>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <variant>

namespace copse::store {

namespace detail {

// Where the bytes of a blob come from.
struct referenced_blob {
    std::string path;  // empty: the bytes are in memory
    file_status identity;
    shared_bytes bytes;
    std::shared_ptr<const bao::outboard> index;
};

}  // namespace detail

struct reference_store::state {
    state(file_system& system, std::size_t limit) : fs(system), max_open(limit ? limit : 1) {}

    /// The open file of a blob; opened now, or found among those used lately.
    result<std::shared_ptr<file>> acquire(
        const std::shared_ptr<const detail::referenced_blob>& blob)
    {
        {
            const std::lock_guard lock(mutex);
            if (const auto at = open_by_blob.find(blob.get()); at != open_by_blob.end()) {
                open_order.splice(open_order.begin(), open_order, at->second);
                return at->second->handle;
            }
        }
        // Opened without the lock: a slow disk must not stop readers of files that are open.
        COPSE_TRY(std::shared_ptr<file> handle, open_unchanged(*blob));
        std::list<open_file> closing;  // closed after the lock is gone
        const std::lock_guard lock(mutex);
        if (const auto at = open_by_blob.find(blob.get()); at != open_by_blob.end()) {
            return at->second->handle;
        }
        std::list<open_file> opening;  // both know it, or neither
        opening.push_front({blob, handle});
        open_by_blob.emplace(blob.get(), opening.begin());
        open_order.splice(open_order.begin(), opening);
        while (open_order.size() > max_open) {
            open_by_blob.erase(open_order.back().blob.get());
            closing.splice(closing.begin(), open_order, std::prev(open_order.end()));
        }
        return handle;
    }

    /// Closes the file of a blob that turned out to be changed, so that the next read looks again.
    void forget(const detail::referenced_blob* blob)
    {
        const std::lock_guard lock(mutex);
        const auto at = open_by_blob.find(blob);
        if (at == open_by_blob.end()) return;
        open_order.erase(at->second);
        open_by_blob.erase(at);
    }

    result<std::shared_ptr<file>> open_unchanged(const detail::referenced_blob& blob)
    {
        open_options options;
        options.follow_links = blob.identity.kind == file_kind::symbolic_link;
        auto opened = fs.open(blob.path, options);
        if (!opened) return gone_or(opened.error());
        const auto now = fs.status(blob.path);
        if (!now) return gone_or(now.error());
        const auto& then = blob.identity;
        COPSE_TRY(const std::uint64_t size, opened.value()->size());
        if (now.value().kind != then.kind || now.value().inode != then.inode ||
            now.value().device != then.device || now.value().modified_ns != then.modified_ns ||
            size != blob.index->size()) {
            return store_errc::file_changed;
        }
        return std::shared_ptr<file>(std::move(opened).value());
    }

    static std::error_code gone_or(std::error_code ec)
    {
        if (ec == std::errc::no_such_file_or_directory || ec == std::errc::not_a_directory ||
            ec == std::errc::too_many_symbolic_link_levels || ec == std::errc::is_a_directory) {
            return store_errc::file_changed;
        }
        return ec;
    }

    struct open_file {
        std::shared_ptr<const detail::referenced_blob> blob;
        std::shared_ptr<file> handle;
    };

    file_system& fs;
    const std::size_t max_open;
    detail::watch_list watchers;
    mutable std::mutex mutex;
    std::map<hash::digest, std::shared_ptr<const detail::referenced_blob>> blobs;
    std::list<open_file> open_order;  // used last comes first
    std::unordered_map<const detail::referenced_blob*, std::list<open_file>::iterator> open_by_blob;
};

namespace detail {

class reference_reader final : public blob_reader {
public:
    reference_reader(std::shared_ptr<reference_store::state> s,
                     std::shared_ptr<const referenced_blob> b)
        : state_(std::move(s)), blob_(std::move(b)), root_(blob_->index->root())
    {}

    const hash::digest& root() const noexcept override { return root_; }
    std::uint64_t size() const noexcept override { return blob_->index->size(); }
    bao::chunk_ranges present() const override
    {
        return bao::chunk_ranges::range(0, bao::chunk_count(size()));
    }
    std::uint64_t pair_granularity() const noexcept override { return extent_chunks; }
    result<void> read_pairs(std::uint64_t index, byte_span out) override
    {
        const auto pairs = blob_->index->pairs();
        if (index > pairs.size() / bao::pair_size ||
            out.size() > pairs.size() - static_cast<std::size_t>(index) * bao::pair_size) {
            return store_errc::missing;
        }
        const auto from =
            pairs.subspan(static_cast<std::size_t>(index) * bao::pair_size, out.size());
        std::copy(from.begin(), from.end(), out.begin());
        return outcome::success();
    }
    result<void> read(std::span<const byte_span> parts, std::uint64_t offset) override
    {
        std::uint64_t end = offset;
        for (const auto& part : parts) end += part.size();
        if (end < offset || end > size()) return store_errc::missing;
        if (blob_->path.empty()) {
            for (const auto& part : parts) {
                const auto from =
                    blob_->bytes.bytes.subspan(static_cast<std::size_t>(offset), part.size());
                std::copy(from.begin(), from.end(), part.begin());
                offset += part.size();
            }
            return outcome::success();
        }
        COPSE_TRY(const auto handle, state_->acquire(blob_));
        COPSE_TRY(const std::size_t n, handle->read_at(parts, offset));
        if (n == end - offset) return outcome::success();
        state_->forget(blob_.get());
        return store_errc::file_changed;  // cut short while it was open
    }

private:
    std::shared_ptr<reference_store::state> state_;
    std::shared_ptr<const referenced_blob> blob_;
    hash::digest root_;
};

}  // namespace detail

reference_store::reference_store(file_system& fs, std::size_t max_open_files)
    : state_(std::make_shared<state>(fs, max_open_files))
{}

reference_store::~reference_store() = default;

void reference_store::add(imported_file file)
{
    assert(file.index && file.index->unit_groups() == extent_groups &&
           file.index->size() == file.size);
    auto blob = std::make_shared<detail::referenced_blob>();
    blob->path = std::move(file.path);
    blob->identity = file.identity;
    blob->index = std::move(file.index);
    {
        const std::lock_guard lock(state_->mutex);
        state_->blobs[file.root] = std::move(blob);
    }
    state_->watchers.notify(file.root);
}

hash::digest reference_store::add_bytes(shared_bytes bytes)
{
    auto blob = std::make_shared<detail::referenced_blob>();
    blob->index =
        std::make_shared<const bao::outboard>(bao::outboard::build(bytes.bytes, extent_groups));
    blob->bytes = std::move(bytes);
    const hash::digest root = blob->index->root();
    {
        const std::lock_guard lock(state_->mutex);
        state_->blobs[root] = std::move(blob);
    }
    state_->watchers.notify(root);
    return root;
}

std::shared_ptr<void> reference_store::watch(const hash::digest& root,
                                             std::function<void()> changed)
{
    return state_->watchers.add(root, std::move(changed));
}

result<availability> reference_store::status(const hash::digest& root)
{
    availability out;
    const std::lock_guard lock(state_->mutex);
    const auto at = state_->blobs.find(root);
    if (at == state_->blobs.end() && root != detail::empty_root()) return out;
    out.size = at == state_->blobs.end() ? 0 : at->second->index->size();
    out.size_proven = true;
    out.present = bao::chunk_ranges::range(0, bao::chunk_count(out.size));
    return out;
}

result<std::shared_ptr<blob_reader>> reference_store::open(const hash::digest& root)
{
    if (root == detail::empty_root()) return detail::empty_reader();
    const std::lock_guard lock(state_->mutex);
    const auto at = state_->blobs.find(root);
    if (at == state_->blobs.end()) return store_errc::missing;
    return std::shared_ptr<blob_reader>(
        std::make_shared<detail::reference_reader>(state_, at->second));
}

result<std::shared_ptr<blob_writer>> reference_store::open_partial(const hash::digest&,
                                                                   std::uint64_t)
{
    return store_errc::read_only;
}

std::size_t reference_store::open_files() const
{
    const std::lock_guard lock(state_->mutex);
    return state_->open_order.size();
}

}  // namespace copse::store
