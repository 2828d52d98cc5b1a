// Who wants to hear of changes of a blob. Part of the stores.
#pragma once

#include <copse/hash/digest.hpp>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace copse::store::detail {

/// \par Threads any.
class watch_list {
public:
    std::shared_ptr<void> add(const hash::digest& root, std::function<void()> changed)
    {
        auto entry = std::make_shared<std::function<void()>>(std::move(changed));
        const std::lock_guard lock(mutex_);
        drop_released(root);
        entries_.emplace(root, entry);
        return entry;
    }

    /// \pre no lock is held that a watcher may want.
    void notify(const hash::digest& root)
    {
        std::vector<std::shared_ptr<std::function<void()>>> live;
        {
            const std::lock_guard lock(mutex_);
            if (entries_.empty()) return;
            drop_released(root);
            const auto [first, last] = entries_.equal_range(root);
            for (auto at = first; at != last; ++at) {
                if (auto entry = at->second.lock()) live.push_back(std::move(entry));
            }
        }
        for (const auto& changed : live) (*changed)();
    }

private:
    // Of this blob at once, of all others when there are many.
    void drop_released(const hash::digest& root)
    {
        const auto [first, last] = entries_.equal_range(root);
        for (auto at = first; at != last;) {
            if (at->second.expired()) at = entries_.erase(at);
            else ++at;
        }
        if (entries_.size() < sweep_at_) return;
        std::erase_if(entries_, [](const auto& entry) { return entry.second.expired(); });
        sweep_at_ = 64 + 2 * entries_.size();
    }

    std::mutex mutex_;
    std::multimap<hash::digest, std::weak_ptr<std::function<void()>>> entries_;
    std::size_t sweep_at_ = 64;
};

}  // namespace copse::store::detail
