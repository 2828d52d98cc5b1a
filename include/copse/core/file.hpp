// The file seam: blocking file operations, called on an offload pool (never on the reactor).
#pragma once

#include <copse/core/bytes.hpp>
#include <copse/core/result.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace copse {

/// An open file. Offsets and sizes are bytes. Positions are explicit, so that calls do not interfere.
/// \par Threads any, as for pread and pwrite.
class file {
public:
    virtual ~file() = default;

    /// Fills the parts in order from `offset`. Short only at the end of the file.
    virtual result<std::size_t> read_at(std::span<const byte_span> parts, std::uint64_t offset) = 0;
    /// The same into one part.
    result<std::size_t> read_at(byte_span into, std::uint64_t offset)
    {
        return read_at(std::span<const byte_span>(&into, 1), offset);
    }
    /// Writes all of `data`; never short without an error.
    virtual result<void> write_at(byte_view data, std::uint64_t offset) = 0;
    /// Bytes of the file now.
    virtual result<std::uint64_t> size() const = 0;
    /// Cuts the file, or extends it by a hole.
    virtual result<void> truncate(std::uint64_t size) = 0;
    /// Makes data and what is needed to read it survive power loss.
    virtual result<void> sync() = 0;
    /// True when reads and writes bypass the page cache and need `direct_alignment`.
    virtual bool direct() const noexcept = 0;
};

/// Alignment of address, length and offset for direct files.
inline constexpr std::size_t direct_alignment = 4096;

/// How a file is opened: for reading, unless more is asked.
struct open_options {
    bool write = false;      ///< for reading and writing
    bool create = false;     ///< make it when absent
    bool exclusive = false;  ///< with create: fail when it exists
    bool truncate = false;   ///< cut it to nothing
    bool direct = false;  ///< bypass the page cache where the file system can; see file::direct()
    bool follow_links = true;          ///< false: a symbolic link as last component is an error
    std::uint32_t permissions = 0644;  ///< of a new file, less the process's mask
};

/// What a name stands for.
enum class file_kind : std::uint8_t { regular, directory, symbolic_link, other };

/// What the system knows of a name.
struct file_status {
    file_kind kind = file_kind::other;  ///< what the name stands for
    std::uint64_t size = 0;             ///< bytes
    std::int64_t modified_ns = 0;       ///< since the Unix epoch
    std::uint64_t inode = 0;            ///< with `device`, the identity of the file
    std::uint64_t device = 0;           ///< of the file system
};

/// Names and directories. Paths are bytes as the system takes them.
class file_system {
public:
    virtual ~file_system() = default;

    /// Opens a file. \par Errors the system's.
    virtual result<std::unique_ptr<file>> open(const std::string& path, open_options options) = 0;
    /// Status of the name itself: symbolic links are not followed.
    virtual result<file_status> status(const std::string& path) = 0;
    /// Calls `visit` for each entry but `.` and `..`, in bytewise order of names.
    virtual result<void> list(const std::string& path,
                              const std::function<result<void>(const std::string&)>& visit) = 0;
    /// Makes one directory; its parent must be there.
    virtual result<void> make_directory(const std::string& path,
                                        std::uint32_t permissions = 0755) = 0;
    /// Removes a name that is no directory.
    virtual result<void> remove_file(const std::string& path) = 0;
    /// Removes an empty directory.
    virtual result<void> remove_directory(const std::string& path) = 0;
    /// Renames within a file system. `replace` false: fails with file_exists instead of replacing.
    virtual result<void> rename(const std::string& from, const std::string& to, bool replace) = 0;
    /// Makes names created, renamed or removed in a directory survive power loss.
    virtual result<void> sync_directory(const std::string& path) = 0;
    /// Takes an exclusive advisory lock on a file for as long as the returned object lives.
    /// \par Errors std::errc::resource_unavailable_try_again when another process holds it.
    virtual result<std::shared_ptr<void>> lock(const std::string& path) = 0;
    /// A value that changes when the machine restarts (unsynced writes may be lost then).
    virtual std::string boot_id() = 0;
};

/// The system's files.
file_system& real_file_system() noexcept;

}  // namespace copse
