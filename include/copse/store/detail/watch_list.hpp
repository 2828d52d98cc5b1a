// Who wants to hear of changes of a blob. Part of the stores.
#pragma once

#include <copse/hash/digest.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace copse::store::detail {

/// \par Threads any.
class watch_list {
public:
    std::shared_ptr<void> add(const hash::digest& root, std::function<void()> changed)
    {
        auto entry = std::make_shared<std::function<void()>>(std::move(changed));
        const std::lock_guard lock(mutex_);
        drop_released(root);
        entries_.emplace(std::make_pair(root, next_), entry);
        ++next_;
        return entry;
    }

    /// Calls those who watch this blob, in the order in which they came; what they throw is dropped. It
    /// allocates nothing: what has happened must be told.
    /// \pre no lock is held that a watcher may want.
    void notify(const hash::digest& root) noexcept
    {
        std::uint64_t from = 0;
        std::uint64_t end = 0;
        {
            const std::lock_guard lock(mutex_);
            end = next_;  // not those who come meanwhile
        }
        while (const auto entry = take_next(root, from, end)) {
            try {
                (*entry)();
            } catch (...) {
                // The change is made all the same, and the others are told.
            }
        }
    }

private:
    using watcher = std::function<void()>;

    // The first live one from number `from` on, which becomes the number behind it.
    std::shared_ptr<watcher> take_next(const hash::digest& root, std::uint64_t& from,
                                       std::uint64_t end) noexcept
    {
        const std::lock_guard lock(mutex_);
        for (auto at = entries_.lower_bound({root, from});
             at != entries_.end() && at->first.first == root && at->first.second < end;) {
            from = at->first.second + 1;
            if (auto entry = at->second.lock()) return entry;
            at = entries_.erase(at);
        }
        return nullptr;
    }

    // Of this blob at once, of all others when there are many.
    void drop_released(const hash::digest& root)
    {
        for (auto at = entries_.lower_bound({root, 0});
             at != entries_.end() && at->first.first == root;) {
            if (at->second.expired()) at = entries_.erase(at);
            else ++at;
        }
        if (entries_.size() < sweep_at_) return;
        std::erase_if(entries_, [](const auto& entry) { return entry.second.expired(); });
        sweep_at_ = 64 + 2 * entries_.size();
    }

    std::mutex mutex_;
    std::map<std::pair<hash::digest, std::uint64_t>, std::weak_ptr<watcher>> entries_;
    std::uint64_t next_ = 0;  // number of the next one
    std::size_t sweep_at_ = 64;
};

}  // namespace copse::store::detail
