// The store in memory. Compiled once per program.
#pragma once

#include <copse/bao/outboard.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/store/detail/pages.hpp>
#include <copse/store/detail/watch_list.hpp>
#include <copse/store/error.hpp>
#include <copse/store/memory_store.hpp>

#include <cassert>
#include <map>
#include <mutex>
#include <utility>

namespace copse::store {

namespace detail {

// One blob. What is behind the mutex may be read by readers on other threads while it arrives; the
// bytes of pages are not: nobody reads chunks that were not checkpointed.
struct memory_blob {
    memory_blob(const hash::digest& r, std::uint64_t s, std::shared_ptr<memory_budget> limit,
                std::shared_ptr<watch_list> w, memory_share own)
        : root(r),
          size(s),
          watchers(std::move(w)),
          data(s, data_page, limit),
          pairs(bao::outboard_size(s), pair_page, limit),
          taken(std::move(own))
    {}

    static constexpr std::size_t data_page = 256 * 1024;
    static constexpr std::size_t pair_page = 4096;

    const hash::digest root;
    const std::uint64_t size;
    const std::shared_ptr<watch_list> watchers;
    paged_bytes data;
    paged_bytes pairs;
    const memory_share taken;  // for itself
    mutable std::mutex mutex;
    bao::chunk_ranges present;
    bool proven = false;
    bool writing = false;

    [[nodiscard]] bao::chunk_ranges present_now() const
    {
        const std::lock_guard lock(mutex);
        return present;
    }
    [[nodiscard]] bool complete() const
    {
        const std::lock_guard lock(mutex);
        return proven && present.covers(0, bao::chunk_count(size));
    }
};

}  // namespace detail

struct memory_store::state {
    state(std::size_t limit_bytes, memory_budget& memory)
        : limit(std::make_shared<memory_budget>("store: blobs in memory", limit_bytes, &memory))
    {}

    [[nodiscard]] result<std::shared_ptr<detail::memory_blob>> make(const hash::digest& root,
                                                                    std::uint64_t size)
    {
        memory_share own = limit->try_reserve(blob_bytes);
        if (!own) return store_errc::full;
        return std::make_shared<detail::memory_blob>(root, size, limit, watchers, std::move(own));
    }

    [[nodiscard]] std::shared_ptr<detail::memory_blob> find(const hash::digest& root)
    {
        const std::lock_guard lock(mutex);
        const auto at = blobs.find(root);
        return at == blobs.end() ? nullptr : at->second;
    }

    const std::shared_ptr<memory_budget> limit;
    const std::shared_ptr<detail::watch_list> watchers = std::make_shared<detail::watch_list>();
    std::mutex mutex;
    std::map<hash::digest, std::shared_ptr<detail::memory_blob>> blobs;
};

namespace detail {

class memory_reader final : public blob_reader {
public:
    explicit memory_reader(std::shared_ptr<memory_blob> b) : blob_(std::move(b)) {}

    const hash::digest& root() const noexcept override { return blob_->root; }
    std::uint64_t size() const noexcept override { return blob_->size; }
    bao::chunk_ranges present() const override { return blob_->present_now(); }
    std::uint64_t pair_granularity() const noexcept override { return hash::group_chunks; }
    result<void> read_pairs(std::uint64_t index, byte_span out) override
    {
        if (index > blob_->pairs.size() / bao::pair_size) return store_errc::missing;
        return blob_->pairs.read(out, index * bao::pair_size);
    }
    result<void> read(std::span<const byte_span> parts, std::uint64_t offset) override
    {
        std::uint64_t end = offset;
        for (const auto& part : parts) end += part.size();
        if (end < offset || end > blob_->size) return store_errc::missing;
        if (offset < end) {
            const auto wanted = bao::chunk_ranges::from_bytes(offset, end).interval(0);
            const std::lock_guard lock(blob_->mutex);
            if (!blob_->present.covers(wanted.first, wanted.end)) return store_errc::missing;
        }
        for (const auto& part : parts) {
            COPSE_TRYV(blob_->data.read(part, offset));
            offset += part.size();
        }
        return outcome::success();
    }

private:
    std::shared_ptr<memory_blob> blob_;
};

class memory_writer final : public blob_writer {
public:
    explicit memory_writer(std::shared_ptr<memory_blob> b)
        : blob_(std::move(b)), complete_(blob_->complete()), present_(blob_->present_now())
    {}
    ~memory_writer() override
    {
        const std::lock_guard lock(blob_->mutex);
        blob_->writing = false;
    }

    const hash::digest& root() const noexcept override { return blob_->root; }
    std::uint64_t size() const noexcept override { return blob_->size; }
    bao::chunk_ranges present() const override { return present_; }
    bool direct() const noexcept override { return false; }
    result<void> write(byte_view data, std::uint64_t offset) override
    {
        if (complete_) return outcome::success();
        return blob_->data.write(data, offset);
    }
    void commit(const bao::chunk_ranges& chunks, std::span<const pair_run> pairs) override
    {
        if (complete_) return;
        const std::uint64_t count = bao::chunk_count(blob_->size);
        for (const auto& run : pairs) {
            const auto kept = blob_->pairs.write(run.bytes, run.index * bao::pair_size);
            if (!kept && !failure_) failure_ = kept.error();
        }
        const bao::chunk_ranges whole = chunks.full_groups(count);
        present_ |= whole;
        fresh_bytes_ += whole.chunk_total() * hash::chunk_size;
        proven_ = proven_ || chunks.contains(count - 1);
    }
    bool checkpoint_due() const noexcept override { return fresh_bytes_ >= checkpoint_bytes; }
    std::function<result<void>()> checkpoint() override
    {
        std::function<result<void>()> job = [blob = blob_, present = present_, proven = proven_,
                                             failure = failure_]() -> result<void> {
            if (failure)
                return failure;  // pairs did not fit: the groups below them cannot be served
            {
                const std::lock_guard lock(blob->mutex);
                blob->present |= present;
                blob->proven = blob->proven || proven;
            }
            blob->watchers->notify(blob->root);
            return outcome::success();
        };
        fresh_bytes_ = 0;
        return job;
    }
    std::function<result<void>()> finish(bool) override
    {
        return [record = checkpoint(), blob = blob_]() -> result<void> {
            COPSE_TRYV(record());
            if (!blob->complete()) return store_errc::incomplete;
            return outcome::success();
        };
    }

private:
    // Readers and observers see what arrives this much later.
    static constexpr std::uint64_t checkpoint_bytes = std::uint64_t{4} << 20;

    std::shared_ptr<memory_blob> blob_;
    const bool complete_;
    bao::chunk_ranges present_;
    bool proven_ = false;
    std::uint64_t fresh_bytes_ = 0;  // committed since the last checkpoint
    std::error_code failure_;
};

}  // namespace detail

memory_store::memory_store(std::size_t limit_bytes, memory_budget& memory)
    : state_(std::make_shared<state>(limit_bytes, memory))
{}

memory_store::~memory_store() = default;

result<hash::digest> memory_store::add(byte_view bytes)
{
    if (bytes.empty()) return detail::empty_root();
    const auto outboard = bao::outboard::build(bytes);
    const hash::digest root = outboard.root();
    if (const auto old = state_->find(root)) {
        if (old->complete()) return root;
        const std::lock_guard lock(old->mutex);
        if (old->writing) return store_errc::busy;
    }
    COPSE_TRY(auto blob, state_->make(root, bytes.size()));
    COPSE_TRYV(blob->data.write(bytes, 0));
    COPSE_TRYV(blob->pairs.write(outboard.pairs(), 0));
    blob->present = bao::chunk_ranges::range(0, bao::chunk_count(bytes.size()));
    blob->proven = true;
    {
        const std::lock_guard lock(state_->mutex);
        state_->blobs[root] = std::move(blob);
    }
    state_->watchers->notify(root);
    return root;
}

result<void> memory_store::remove(const hash::digest& root)
{
    {
        const std::lock_guard lock(state_->mutex);
        const auto at = state_->blobs.find(root);
        if (at == state_->blobs.end()) return store_errc::missing;
        {
            const std::lock_guard blob_lock(at->second->mutex);
            if (at->second->writing) return store_errc::busy;
        }
        state_->blobs.erase(at);
    }
    state_->watchers->notify(root);
    return outcome::success();
}

std::shared_ptr<void> memory_store::watch(const hash::digest& root, std::function<void()> changed)
{
    return state_->watchers->add(root, std::move(changed));
}

result<availability> memory_store::status(const hash::digest& root)
{
    availability out;
    if (root == detail::empty_root()) {
        out.size_proven = true;
        out.present = bao::chunk_ranges::range(0, 1);
        return out;
    }
    if (const auto blob = state_->find(root)) {
        const std::lock_guard lock(blob->mutex);
        out.size = blob->size;
        out.size_proven = blob->proven;
        out.present = blob->present;
    }
    return out;
}

result<std::shared_ptr<blob_reader>> memory_store::open(const hash::digest& root)
{
    if (root == detail::empty_root()) return detail::empty_reader();
    auto blob = state_->find(root);
    if (!blob) return store_errc::missing;
    {
        const std::lock_guard lock(blob->mutex);
        if (blob->present.empty()) return store_errc::missing;
    }
    return std::shared_ptr<blob_reader>(std::make_shared<detail::memory_reader>(std::move(blob)));
}

result<std::shared_ptr<blob_writer>> memory_store::open_partial(const hash::digest& root,
                                                                std::uint64_t size)
{
    if ((root == detail::empty_root()) != (size == 0)) return store_errc::size_changed;
    if (size == 0) return detail::empty_writer();
    const std::lock_guard lock(state_->mutex);
    const auto at = state_->blobs.find(root);
    auto blob = at == state_->blobs.end() ? nullptr : at->second;
    if (blob) {
        const std::lock_guard blob_lock(blob->mutex);
        if (blob->writing) return store_errc::busy;
        if (blob->size != size && blob->proven) return store_errc::size_changed;
    }
    // Where a claimed size was wrong, so are the positions of pairs: start again.
    const bool fresh = !blob || blob->size != size;
    if (fresh) {
        COPSE_TRY(blob, state_->make(root, size));
    }
    auto writer = std::make_shared<detail::memory_writer>(blob);
    if (fresh) state_->blobs[root] = blob;
    const std::lock_guard blob_lock(blob->mutex);
    blob->writing = true;
    return std::shared_ptr<blob_writer>(std::move(writer));
}

std::size_t memory_store::used() const noexcept
{
    return state_->limit->used();
}

}  // namespace copse::store
