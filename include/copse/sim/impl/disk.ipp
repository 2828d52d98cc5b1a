// Nodes with two contents each: what programs see, and what is on the platter.
#pragma once

#include <copse/sim/disk.hpp>

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

namespace copse::sim {

/// One change of a directory that was not synced yet: the name's node before it.
struct disk::name_change {
    std::string name;
    std::shared_ptr<node> before;
    std::uint64_t rename = 0;  ///< both changes of a rename have its number
};

struct disk::node {
    file_kind kind = file_kind::regular;
    std::uint64_t inode = 0;
    std::int64_t modified_ns = 0;
    std::optional<incarnation> locked;  ///< by which life; the lock ends with it

    // A file.
    std::vector<std::byte> data;
    std::vector<std::byte> durable;
    std::set<std::uint64_t> dirty;  ///< sectors written since the last sync

    // A directory.
    std::map<std::string, std::shared_ptr<node>> entries;
    std::vector<name_change> unsynced;

    void set(const std::string& name, std::shared_ptr<node> to, std::uint64_t rename = 0)
    {
        const auto at = entries.find(name);
        unsynced.push_back({name, at == entries.end() ? nullptr : at->second, rename});
        if (to) entries[name] = std::move(to);
        else entries.erase(name);
    }
};

namespace detail {

inline std::error_code io_error() noexcept
{
    return make_error_code(std::errc::io_error);
}

inline std::pair<std::string, std::string> split_path(const std::string& path)
{
    std::string clean = path;
    while (clean.size() > 1 && clean.back() == '/') clean.pop_back();
    const auto slash = clean.rfind('/');
    if (slash == std::string::npos) return {"", clean};
    return {clean.substr(0, slash), clean.substr(slash + 1)};
}

}  // namespace detail

// ---- files ----------------------------------------------------------------------------------------

class disk::open_file final : public file {
public:
    open_file(disk& d, incarnation life, std::shared_ptr<node> n, bool writable)
        : disk_(d), life_(std::move(life)), node_(std::move(n)), writable_(writable)
    {}

    result<std::size_t> read_at(std::span<const byte_span> parts, std::uint64_t offset) override
    {
        if (!life_.alive()) return detail::io_error();
        ++disk_.statistics_.reads;
        if (disk_.random_.happens(disk_.options.read_error)) {
            ++disk_.statistics_.failed;
            return detail::io_error();
        }
        if (disk_.random_.happens(disk_.options.bit_rot)) rot(disk_, *node_);
        const std::uint64_t there = node_->data.size();
        std::uint64_t wanted = 0;
        for (const byte_span part : parts) wanted += part.size();
        if (!fits(offset, wanted)) return make_error_code(std::errc::value_too_large);
        std::uint64_t end = std::min(offset + wanted, there);
        const bool cut = offset < end && disk_.random_.happens(disk_.options.short_read);
        if (cut) end = offset + disk_.random_.below(end - offset);
        std::size_t total = 0;
        for (const byte_span part : parts) {
            if (offset >= end) break;
            const auto n = std::min<std::size_t>(part.size(), end - offset);
            if (n > 0) std::memcpy(part.data(), node_->data.data() + offset, n);
            offset += n;
            total += n;
        }
        if (cut) return fail_short();
        return total;
    }

    result<void> write_at(byte_view data, std::uint64_t offset) override
    {
        if (!life_.alive()) return detail::io_error();
        if (!writable_) return make_error_code(std::errc::bad_file_descriptor);
        if (!fits(offset, data.size())) return make_error_code(std::errc::file_too_large);
        if (const std::error_code ec = disk_.change()) return ec;
        if (disk_.random_.happens(disk_.options.write_error)) {
            ++disk_.statistics_.failed;
            return detail::io_error();
        }
        if (data.empty()) return outcome::success();
        if (disk_.random_.happens(disk_.options.short_write)) {
            const auto part = static_cast<std::size_t>(disk_.random_.below(data.size()));
            COPSE_TRYV(put(data.first(part), offset));
            return fail_short();
        }
        return put(data, offset);
    }

    result<std::uint64_t> size() const override
    {
        if (!life_.alive()) return detail::io_error();
        return node_->data.size();
    }

    result<void> truncate(std::uint64_t size) override
    {
        if (!life_.alive()) return detail::io_error();
        if (!fits(size, 0)) return make_error_code(std::errc::file_too_large);
        if (!writable_) return make_error_code(std::errc::invalid_argument);
        if (const std::error_code ec = disk_.change()) return ec;
        return resize(size);
    }

    result<void> sync() override
    {
        if (!life_.alive()) return detail::io_error();
        if (const std::error_code ec = disk_.change()) return ec;
        ++disk_.statistics_.syncs;
        if (disk_.random_.happens(disk_.options.sync_error)) {
            ++disk_.statistics_.failed;
            disk_.crash_node(*node_);
            return detail::io_error();
        }
        // Only what changed: files are large, syncs frequent.
        node_->durable.resize(node_->data.size());
        for (const std::uint64_t sector : node_->dirty) {
            const std::uint64_t at = sector * sector_bytes;
            if (at >= node_->data.size()) continue;
            const auto n = std::min<std::size_t>(sector_bytes, node_->data.size() - at);
            std::memcpy(node_->durable.data() + at, node_->data.data() + at, n);
        }
        node_->dirty.clear();
        return outcome::success();
    }

    bool direct() const noexcept override { return false; }

    static void rot(disk& d, node& n)
    {
        if (n.data.empty()) return;
        const std::uint64_t bit = d.random_.below(n.data.size() * 8);
        const auto flip = static_cast<std::byte>(1U << (bit % 8));
        n.data[bit / 8] ^= flip;
        if (bit / 8 < n.durable.size()) n.durable[bit / 8] ^= flip;
        ++d.statistics_.rotten;
    }

private:
    // The system's offsets are signed.
    static bool fits(std::uint64_t offset, std::uint64_t length) noexcept
    {
        constexpr std::uint64_t most = ~std::uint64_t{0} >> 1;
        return length <= most && offset <= most - length;
    }

    std::error_code fail_short()
    {
        ++disk_.statistics_.failed;
        ++disk_.statistics_.shortened;
        return detail::io_error();
    }

    // Bytes that the file may still grow by.
    [[nodiscard]] std::uint64_t room() const
    {
        const std::uint64_t used = disk_.used_bytes();
        return disk_.options.capacity - std::min(used, disk_.options.capacity);
    }

    // A full disk takes what fits, as systems do.
    result<void> put(byte_view data, std::uint64_t offset)
    {
        std::uint64_t end = offset + data.size();
        const std::uint64_t before = node_->data.size();
        const bool full = end > before && end - before > room();
        if (full) end = before + room();
        if (end > offset) {
            touch(offset, end);
            if (end > before) node_->data.resize(end);
            std::memcpy(node_->data.data() + offset, data.data(), end - offset);
        }
        if (!full) return outcome::success();
        ++disk_.statistics_.failed;
        if (end > offset) ++disk_.statistics_.shortened;
        return make_error_code(std::errc::no_space_on_device);
    }

    result<void> resize(std::uint64_t size)
    {
        const std::uint64_t before = node_->data.size();
        if (size > before && size - before > room()) {
            ++disk_.statistics_.failed;
            return make_error_code(std::errc::no_space_on_device);
        }
        touch(std::min(before, size), std::max(before, size));
        node_->data.resize(size);
        return outcome::success();
    }

    // About to be changed. What was written there and not synced may have reached the platter by itself.
    void touch(std::uint64_t from, std::uint64_t end)
    {
        node_->modified_ns = disk_.world_.wall().count();
        for (std::uint64_t s = from / sector_bytes; s * sector_bytes < end; ++s) {
            if (node_->dirty.insert(s).second || !disk_.random_.happens(500)) continue;
            const std::uint64_t at = s * sector_bytes;
            if (at >= node_->data.size()) continue;
            const auto n = std::min<std::size_t>(sector_bytes, node_->data.size() - at);
            if (node_->durable.size() < at + n) node_->durable.resize(at + n);
            std::memcpy(node_->durable.data() + at, node_->data.data() + at, n);
        }
    }

    disk& disk_;
    incarnation life_;
    std::shared_ptr<node> node_;
    bool writable_;
};

// ---- names ----------------------------------------------------------------------------------------

class disk::mounted final : public file_system {
public:
    mounted(disk& d, incarnation life) : disk_(d), life_(std::move(life)) {}

    result<std::unique_ptr<file>> open(const std::string& path, open_options how) override
    {
        if (!life_.alive()) return detail::io_error();
        auto found = disk_.find(path);
        if (found && found->kind == file_kind::directory) {
            return make_error_code(std::errc::is_a_directory);
        }
        if (found && how.create && how.exclusive) {
            return make_error_code(std::errc::file_exists);
        }
        if (!found) {
            if (!how.create) return make_error_code(std::errc::no_such_file_or_directory);
            if (const std::error_code ec = disk_.change()) return ec;
            std::error_code why;
            const auto parent = disk_.parent_of(path, why);
            if (!parent) return why;
            found = make(file_kind::regular);
            parent->set(detail::split_path(path).second, found);
        }
        auto opened = std::make_unique<open_file>(disk_, life_, found, how.write);
        if (how.truncate) COPSE_TRYV(opened->truncate(0));
        return std::unique_ptr<file>(std::move(opened));
    }

    result<file_status> status(const std::string& path) override
    {
        if (!life_.alive()) return detail::io_error();
        const auto found = disk_.find(path);
        if (!found) return make_error_code(std::errc::no_such_file_or_directory);
        file_status out;
        out.kind = found->kind;
        out.size = found->data.size();
        out.modified_ns = found->modified_ns;
        out.inode = found->inode;
        out.device = 1;
        return out;
    }

    result<void> list(const std::string& path,
                      const std::function<result<void>(const std::string&)>& visit) override
    {
        if (!life_.alive()) return detail::io_error();
        const auto found = disk_.find(path);
        if (!found) return make_error_code(std::errc::no_such_file_or_directory);
        if (found->kind != file_kind::directory) return make_error_code(std::errc::not_a_directory);
        std::vector<std::string> names;
        for (const auto& [name, entry] : found->entries) names.push_back(name);
        for (const auto& name : names) COPSE_TRYV(visit(name));
        return outcome::success();
    }

    result<void> make_directory(const std::string& path, std::uint32_t) override
    {
        if (!life_.alive()) return detail::io_error();
        if (disk_.find(path)) return make_error_code(std::errc::file_exists);
        if (const std::error_code ec = disk_.change()) return ec;
        std::error_code why;
        const auto parent = disk_.parent_of(path, why);
        if (!parent) return why;
        parent->set(detail::split_path(path).second, make(file_kind::directory));
        return outcome::success();
    }

    result<void> remove_file(const std::string& path) override { return remove(path, false); }
    result<void> remove_directory(const std::string& path) override { return remove(path, true); }

    result<void> rename(const std::string& from, const std::string& to, bool replace) override
    {
        if (!life_.alive()) return detail::io_error();
        const auto moved = disk_.find(from);
        if (!moved) return make_error_code(std::errc::no_such_file_or_directory);
        const auto there = disk_.find(to);
        if (there && !replace) return make_error_code(std::errc::file_exists);
        if (there == moved) return outcome::success();
        if (there && there->kind == file_kind::directory) {
            return make_error_code(std::errc::is_a_directory);
        }
        if (const std::error_code ec = disk_.change()) return ec;
        std::error_code why;
        const auto target = disk_.parent_of(to, why);
        if (!target) return why;
        const auto source = disk_.parent_of(from, why);
        const std::uint64_t number = ++disk_.renames_;
        target->set(detail::split_path(to).second, moved, number);
        source->set(detail::split_path(from).second, nullptr, number);
        return outcome::success();
    }

    result<void> sync_directory(const std::string& path) override
    {
        if (!life_.alive()) return detail::io_error();
        const auto found = disk_.find(path);
        if (!found) return make_error_code(std::errc::no_such_file_or_directory);
        if (const std::error_code ec = disk_.change()) return ec;
        ++disk_.statistics_.syncs;
        if (disk_.random_.happens(disk_.options.sync_error)) {
            ++disk_.statistics_.failed;
            return detail::io_error();
        }
        disk_.keep_names(*found);
        return outcome::success();
    }

    result<std::shared_ptr<void>> lock(const std::string& path) override
    {
        open_options create;
        create.write = create.create = true;
        COPSE_TRYV(open(path, create));
        const auto found = disk_.find(path);
        if (found->locked && found->locked->alive())
            return make_error_code(std::errc::resource_unavailable_try_again);
        found->locked = life_;
        return std::shared_ptr<void>(found.get(), [found, life = life_](void*) {
            if (life.alive()) found->locked.reset();
        });
    }

    std::string boot_id() override { return "boot-" + std::to_string(disk_.boots_); }

private:
    std::shared_ptr<node> make(file_kind kind)
    {
        auto made = std::make_shared<node>();
        made->kind = kind;
        made->inode = disk_.next_inode_++;
        made->modified_ns = disk_.world_.wall().count();
        return made;
    }

    result<void> remove(const std::string& path, bool directory)
    {
        if (!life_.alive()) return detail::io_error();
        const auto found = disk_.find(path);
        if (!found) return make_error_code(std::errc::no_such_file_or_directory);
        if ((found->kind == file_kind::directory) != directory) {
            return make_error_code(directory ? std::errc::not_a_directory
                                             : std::errc::is_a_directory);
        }
        if (!found->entries.empty()) return make_error_code(std::errc::directory_not_empty);
        if (const std::error_code ec = disk_.change()) return ec;
        std::error_code why;
        const auto parent = disk_.parent_of(path, why);
        if (!parent) return why;
        parent->set(detail::split_path(path).second, nullptr);
        return outcome::success();
    }

    disk& disk_;
    incarnation life_;
};

// ---- the disk -------------------------------------------------------------------------------------

disk::disk(world& w, machine& m)
    : world_(w), machine_(m), random_(w.fork("disk " + m.name())), root_(std::make_shared<node>())
{
    root_->kind = file_kind::directory;
}

disk::~disk() = default;

std::unique_ptr<file_system> disk::mount()
{
    return std::make_unique<mounted>(*this, machine_.life());
}

std::error_code disk::change()
{
    const std::uint64_t number = statistics_.changes++;
    return before_change ? before_change(number) : std::error_code{};
}

std::shared_ptr<disk::node> disk::find(const std::string& path) const
{
    auto at = root_;
    for (std::size_t i = 0; i < path.size();) {
        const auto end = std::min(path.find('/', i), path.size());
        const std::string name = path.substr(i, end - i);
        i = end + 1;
        if (name.empty() || name == ".") continue;
        const auto next = at->entries.find(name);
        if (next == at->entries.end()) return nullptr;
        at = next->second;
    }
    return at;
}

std::shared_ptr<disk::node> disk::parent_of(const std::string& path, std::error_code& why) const
{
    auto parent = find(detail::split_path(path).first);
    if (!parent) why = make_error_code(std::errc::no_such_file_or_directory);
    else if (parent->kind != file_kind::directory)
        why = make_error_code(std::errc::not_a_directory);
    return why ? nullptr : parent;
}

bool disk::rot(const std::string& path)
{
    const auto found = find(path);
    if (!found || found->data.empty()) return false;
    open_file::rot(*this, *found);
    return true;
}

std::uint64_t disk::used_bytes() const
{
    std::uint64_t sum = 0;
    for (const auto& d : directories()) {
        for (const auto& [name, entry] : d->entries) sum += entry->data.size();
    }
    return sum;
}

// All of them, parents first.
std::vector<std::shared_ptr<disk::node>> disk::directories() const
{
    std::vector<std::shared_ptr<node>> out{root_};
    for (std::size_t i = 0; i < out.size(); ++i) {
        const auto at = out[i];
        for (const auto& [name, entry] : at->entries) {
            if (entry->kind == file_kind::directory) out.push_back(entry);
        }
    }
    return out;
}

// The changes of a directory are on the platter, and with a rename what it did elsewhere, as in a journal.
void disk::keep_names(node& n)
{
    std::vector<node*> todo{&n};
    const auto all = directories();
    while (!todo.empty()) {
        node* const one = todo.back();
        todo.pop_back();
        const auto kept = std::exchange(one->unsynced, {});
        for (const name_change& change : kept) {
            if (change.rename == 0) continue;
            for (const auto& d : all) {
                const bool other = std::ranges::any_of(
                    d->unsynced, [&](const name_change& c) { return c.rename == change.rename; });
                if (other) todo.push_back(d.get());
            }
        }
    }
}

// Each sector that was not synced is on the platter or not. The size is the new one or the old one;
// sectors between that were lost read as zeros.
void disk::crash_node(node& n)
{
    const bool new_size = n.data.size() != n.durable.size() && random_.happens(500);
    if (new_size) n.durable.resize(n.data.size());
    for (const std::uint64_t sector : n.dirty) {
        const std::uint64_t at = sector * sector_bytes;
        const std::uint64_t end =
            std::min<std::uint64_t>({at + sector_bytes, n.data.size(), n.durable.size()});
        if (at >= end) continue;
        if (random_.happens(500)) {
            ++statistics_.sectors_kept;
            std::memcpy(n.durable.data() + at, n.data.data() + at, end - at);
        } else {
            ++statistics_.sectors_lost;
        }
    }
    n.dirty.clear();
    n.data = n.durable;
}

// In each directory the changes are undone back to a random one; if a half of a rename is, so is the other.
void disk::crash_names()
{
    const auto all = directories();
    std::vector<std::size_t> kept;
    kept.reserve(all.size());
    for (const auto& d : all) {
        kept.push_back(d->unsynced.empty() ? 0 : random_.below(d->unsynced.size() + 1));
    }
    std::set<std::uint64_t> undone;
    for (bool more = true; more;) {
        more = false;
        for (std::size_t i = 0; i < all.size(); ++i) {
            const auto& changes = all[i]->unsynced;
            for (std::size_t c = 0; c < changes.size(); ++c) {
                if (changes[c].rename == 0) continue;
                if (c >= kept[i]) {
                    more = undone.insert(changes[c].rename).second || more;
                } else if (undone.contains(changes[c].rename)) {
                    kept[i] = c;
                    more = true;
                }
            }
        }
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
        node& n = *all[i];
        while (n.unsynced.size() > kept[i]) {
            name_change& last = n.unsynced.back();
            if (last.before) n.entries[last.name] = std::move(last.before);
            else n.entries.erase(last.name);
            n.unsynced.pop_back();
            ++statistics_.names_lost;
        }
        n.unsynced.clear();
    }
}

void disk::crash()
{
    world_.record("disk crash", machine_.name());
    ++statistics_.crashes;
    ++boots_;
    crash_names();
    for (const auto& d : directories()) {
        d->unsynced.clear();  // also of a directory whose removal was undone
        for (const auto& [name, entry] : d->entries) {
            entry->locked.reset();
            if (entry->kind == file_kind::regular) crash_node(*entry);
        }
    }
}

}  // namespace copse::sim
