// A disk of the world: a file system in memory that forgets at a crash what nobody synced, in every way a
// real one may, and that fails on demand.
#pragma once

#include <copse/core/file.hpp>
#include <copse/core/result.hpp>
#include <copse/sim/rng.hpp>
#include <copse/sim/world.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace copse::sim {

/// What goes wrong on a disk. Chances are thousandths of the calls concerned.
struct disk_options {
    std::uint64_t capacity = std::uint64_t{1} << 40;  ///< bytes of all files together
    unsigned read_error = 0;                          ///< EIO, nothing read
    unsigned short_read = 0;                          ///< EIO behind a part that was read
    unsigned write_error = 0;                         ///< EIO, nothing written
    unsigned short_write = 0;  ///< EIO behind a part that was written; so ENOSPC, always
    unsigned sync_error = 0;   ///< EIO; what was not synced is lost at once, as on Linux
    unsigned bit_rot = 0;      ///< reads that find one bit of the file flipped, for good
};

/// How often things happened to a disk.
struct disk_statistics {
    std::uint64_t reads = 0;      ///< calls that read data
    std::uint64_t changes = 0;    ///< writes, truncations, names made, renamed and removed, syncs
    std::uint64_t syncs = 0;      ///< of files and directories
    std::uint64_t failed = 0;     ///< calls that failed by chance or for want of space
    std::uint64_t shortened = 0;  ///< of these: after a part of the data was read or written
    std::uint64_t rotten = 0;     ///< bits flipped
    std::uint64_t crashes = 0;    ///< crash() calls
    std::uint64_t sectors_lost = 0;  ///< written, not synced, gone after a crash
    std::uint64_t sectors_kept = 0;  ///< the same, but there
    std::uint64_t names_lost = 0;    ///< changes of names undone by a crash
};

/// Survives its machine's crashes. \par Lifetime longer than the file systems it gave.
class disk {
public:
    /// An empty disk of a machine. \param w, m must outlive it.
    disk(world& w, machine& m);
    disk(const disk&) = delete;
    disk& operator=(const disk&) = delete;
    ~disk();

    /// The disk as programs of the machine's current life see it. After the crash all calls fail.
    [[nodiscard]] std::unique_ptr<file_system> mount();

    /// Loses what was not synced: of each write any sectors, in any combination (so writes are torn and
    /// reordered; of several to one sector any may be the last that is there); of changes of names in
    /// a directory all behind a random one, but a rename as a whole or not at all. Call it together with
    /// machine::crash().
    void crash();
    /// Flips one random bit of a file. False when there is none.
    bool rot(const std::string& path);

    disk_options options;  ///< may be changed at any time
    /// Called before each change with its number; an error fails the call. For crashes at a given write.
    std::function<std::error_code(std::uint64_t)> before_change;

    /// Counts since the beginning.
    [[nodiscard]] const disk_statistics& statistics() const noexcept { return statistics_; }
    /// Bytes of all files together.
    [[nodiscard]] std::uint64_t used_bytes() const;

    /// Unit in which writes are lost or kept.
    static constexpr std::size_t sector_bytes = 512;

private:
    struct node;
    struct name_change;
    class open_file;
    class mounted;

    std::error_code change();
    std::shared_ptr<node> find(const std::string& path) const;
    std::shared_ptr<node> parent_of(const std::string& path, std::error_code& why) const;
    void crash_node(node& n);
    void crash_names();
    void keep_names(node& n);
    std::vector<std::shared_ptr<node>> directories() const;

    world& world_;
    machine& machine_;
    rng random_;
    std::shared_ptr<node> root_;
    std::uint64_t next_inode_ = 1;
    std::uint64_t boots_ = 1;
    std::uint64_t renames_ = 0;
    disk_statistics statistics_;
};

}  // namespace copse::sim
