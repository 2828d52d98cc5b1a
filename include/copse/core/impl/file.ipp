// The system's files behind the seam: POSIX calls, each carried to its end. Compiled once per program.
#pragma once

#include <copse/core/file.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <utility>
#include <vector>

namespace copse {

namespace detail {

inline std::error_code last_error() noexcept
{
    return {errno, std::generic_category()};
}

// Repeats a call that a signal interrupted.
template <class Call>
auto uninterrupted(Call call) noexcept
{
    for (;;) {
        const auto value = call();
        if (value >= 0 || errno != EINTR) return value;
    }
}

// A descriptor with an owner.
class descriptor {
public:
    explicit descriptor(int fd = -1) noexcept : fd_(fd) {}
    descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    descriptor& operator=(descriptor&& other) noexcept
    {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~descriptor()
    {
        if (fd_ >= 0) ::close(fd_);  // after close, EINTR included, the descriptor is gone on Linux
    }
    [[nodiscard]] int get() const noexcept { return fd_; }
    explicit operator bool() const noexcept { return fd_ >= 0; }

private:
    int fd_;
};

inline descriptor open_descriptor(const char* path, int flags, mode_t permissions = 0) noexcept
{
    return descriptor{uninterrupted([=] { return ::open(path, flags | O_CLOEXEC, permissions); })};
}

inline file_status to_status(const struct stat& from) noexcept
{
    file_status out;
    if (S_ISREG(from.st_mode)) out.kind = file_kind::regular;
    else if (S_ISDIR(from.st_mode)) out.kind = file_kind::directory;
    else if (S_ISLNK(from.st_mode)) out.kind = file_kind::symbolic_link;
    out.size = static_cast<std::uint64_t>(from.st_size);
    out.modified_ns = std::int64_t{from.st_mtim.tv_sec} * 1'000'000'000 + from.st_mtim.tv_nsec;
    out.inode = from.st_ino;
    out.device = from.st_dev;
    return out;
}

// off_t is signed: an offset beyond it is a mistake of the caller or a hostile size.
inline bool fits_offset(std::uint64_t offset, std::uint64_t length) noexcept
{
    constexpr std::uint64_t most = ~std::uint64_t{0} >> 1;
    return length <= most && offset <= most - length;
}

class posix_file final : public file {
public:
    posix_file(descriptor fd, bool direct) noexcept : fd_(std::move(fd)), direct_(direct) {}

    result<std::size_t> read_at(std::span<const byte_span> parts, std::uint64_t offset) override
    {
        std::size_t done = 0;   // bytes in all
        std::size_t index = 0;  // of the first part that is not full
        std::size_t fill = 0;   // bytes of it
        while (index < parts.size()) {
            std::array<iovec, max_vectors> vectors;
            std::size_t count = 0;
            std::uint64_t wanted = 0;
            for (std::size_t i = index; i < parts.size() && count < vectors.size(); ++i) {
                const auto part = i == index ? parts[i].subspan(fill) : parts[i];
                if (part.empty()) continue;
                vectors[count++] = {part.data(), part.size()};
                wanted += part.size();
            }
            if (count == 0) break;
            if (!fits_offset(offset + done, wanted))
                return make_error_code(std::errc::value_too_large);
            const auto at = static_cast<off_t>(offset + done);
            const auto n = count == 1
                               ? ::pread(fd_.get(), vectors[0].iov_base, vectors[0].iov_len, at)
                               : ::preadv(fd_.get(), vectors.data(), static_cast<int>(count), at);
            if (n == 0) break;
            if (n < 0) {
                if (try_again()) continue;
                return last_error();
            }
            done += static_cast<std::size_t>(n);
            for (auto left = static_cast<std::size_t>(n); index < parts.size();) {
                const std::size_t room = parts[index].size() - fill;
                if (left < room) {
                    fill += left;
                    break;
                }
                left -= room;
                ++index;
                fill = 0;
            }
        }
        return done;
    }

    result<void> write_at(byte_view data, std::uint64_t offset) override
    {
        if (!fits_offset(offset, data.size())) return make_error_code(std::errc::file_too_large);
        while (!data.empty()) {
            const auto n =
                ::pwrite(fd_.get(), data.data(), data.size(), static_cast<off_t>(offset));
            if (n < 0) {
                if (try_again()) continue;
                return last_error();
            }
            // POSIX leaves a zero open; looping on it would hang.
            if (n == 0) return make_error_code(std::errc::io_error);
            data = data.subspan(static_cast<std::size_t>(n));
            offset += static_cast<std::uint64_t>(n);
        }
        return outcome::success();
    }

    result<std::uint64_t> size() const override
    {
        struct stat status;
        if (::fstat(fd_.get(), &status) != 0) return last_error();
        return static_cast<std::uint64_t>(status.st_size);
    }

    result<void> truncate(std::uint64_t size) override
    {
        if (!fits_offset(size, 0)) return make_error_code(std::errc::file_too_large);
        const auto length = static_cast<off_t>(size);
        if (uninterrupted([&] { return ::ftruncate(fd_.get(), length); }) != 0) return last_error();
        return outcome::success();
    }

    result<void> sync() override
    {
        // fdatasync also writes the metadata that reading back needs, such as the size.
        if (uninterrupted([&] { return ::fdatasync(fd_.get()); }) != 0) return last_error();
        return outcome::success();
    }

    bool direct() const noexcept override { return direct_.load(std::memory_order_relaxed); }

private:
    // Enough for one extent in 4 KiB parts; longer lists take several calls.
    static constexpr std::size_t max_vectors = 64;

    // True when the failed call should be repeated: after a signal, and once after leaving direct mode
    // where the file system (or a stricter device below it) refuses a transfer it promised to take.
    bool try_again() noexcept
    {
        if (errno == EINTR) return true;
        if (errno != EINVAL || !direct_.exchange(false, std::memory_order_relaxed)) return false;
        const int flags = ::fcntl(fd_.get(), F_GETFL);
        if (flags < 0 || ::fcntl(fd_.get(), F_SETFL, flags & ~O_DIRECT) != 0) {
            errno = EINVAL;
            return false;
        }
        return true;
    }

    descriptor fd_;
    std::atomic<bool> direct_;
};

class posix_file_system final : public file_system {
public:
    result<std::unique_ptr<file>> open(const std::string& path, open_options options) override
    {
        // O_NONBLOCK means nothing to a regular file; it keeps the opening of a FIFO from hanging.
        int flags = (options.write ? O_RDWR : O_RDONLY) | O_NOCTTY | O_NONBLOCK;
        if (options.create) flags |= O_CREAT;
        if (options.create && options.exclusive) flags |= O_EXCL;
        if (options.truncate) flags |= O_TRUNC;
        if (!options.follow_links) flags |= O_NOFOLLOW;
        const auto permissions = static_cast<mode_t>(options.permissions);
        bool direct = options.direct;
        auto fd = open_descriptor(path.c_str(), direct ? flags | O_DIRECT : flags, permissions);
        if (!fd && errno == EINVAL && direct) {
            direct = false;
            // Linux checks for direct support after it made the file: the second try must accept that.
            fd = open_descriptor(path.c_str(), flags & ~O_EXCL, permissions);
        }
        if (!fd) return last_error();
        struct stat status;
        if (::fstat(fd.get(), &status) != 0) return last_error();
        if (S_ISDIR(status.st_mode)) return make_error_code(std::errc::is_a_directory);
        return std::unique_ptr<file>(std::make_unique<posix_file>(std::move(fd), direct));
    }

    result<file_status> status(const std::string& path) override
    {
        struct stat status;
        if (::lstat(path.c_str(), &status) != 0) return last_error();
        return to_status(status);
    }

    result<void> list(const std::string& path,
                      const std::function<result<void>(const std::string&)>& visit) override
    {
        std::vector<std::string> names;
        {
            const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()),
                                                                &::closedir);
            if (!directory) return last_error();
            for (;;) {
                errno = 0;
                const dirent* const entry = ::readdir(directory.get());
                if (!entry && errno != 0) return last_error();
                if (!entry) break;
                const std::string_view name = entry->d_name;
                if (name != "." && name != "..") names.emplace_back(name);
            }
        }
        std::sort(names.begin(), names.end());  // char_traits<char> compares as unsigned bytes
        for (const auto& name : names) COPSE_TRYV(visit(name));
        return outcome::success();
    }

    result<void> make_directory(const std::string& path, std::uint32_t permissions) override
    {
        return done(::mkdir(path.c_str(), static_cast<mode_t>(permissions)));
    }

    result<void> remove_file(const std::string& path) override
    {
        return done(::unlink(path.c_str()));
    }

    result<void> remove_directory(const std::string& path) override
    {
        return done(::rmdir(path.c_str()));
    }

    result<void> rename(const std::string& from, const std::string& to, bool replace) override
    {
        if (replace) return done(::rename(from.c_str(), to.c_str()));
        if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) {
            return outcome::success();
        }
        // Some file systems (NFS among them) and old kernels know no flags; a link never replaces.
        if (errno != EINVAL && errno != ENOSYS) return last_error();
        COPSE_TRYV(done(::link(from.c_str(), to.c_str())));
        return remove_file(from);
    }

    result<void> sync_directory(const std::string& path) override
    {
        const auto fd = open_descriptor(path.c_str(), O_RDONLY | O_DIRECTORY);
        if (!fd) return last_error();
        if (uninterrupted([&] { return ::fsync(fd.get()); }) == 0) return outcome::success();
        if (errno == EINVAL)
            return outcome::success();  // this file system has nothing to sync here
        return last_error();
    }

    result<std::shared_ptr<void>> lock(const std::string& path) override
    {
        for (;;) {
            auto fd = open_descriptor(path.c_str(), O_RDWR | O_CREAT | O_NOCTTY, 0644);
            if (!fd) return last_error();
            if (uninterrupted([&] { return ::flock(fd.get(), LOCK_EX | LOCK_NB); }) != 0) {
                return last_error();
            }
            // The former holder may have removed the file after we opened it: then our lock guards a
            // file without a name, and the next comer would lock a new one.
            struct stat ours;
            struct stat named;
            if (::fstat(fd.get(), &ours) != 0) return last_error();
            if (::stat(path.c_str(), &named) == 0) {
                if (ours.st_ino == named.st_ino && ours.st_dev == named.st_dev) {
                    return std::shared_ptr<void>(std::make_shared<descriptor>(std::move(fd)));
                }
            } else if (errno != ENOENT) {
                return last_error();
            }
        }
    }

    std::string boot_id() override
    {
        const auto fd = open_descriptor("/proc/sys/kernel/random/boot_id", O_RDONLY);
        if (!fd) return {};
        std::array<char, 64> text;
        const auto n = uninterrupted([&] { return ::read(fd.get(), text.data(), text.size()); });
        std::string_view id(text.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
        while (!id.empty() && id.back() == '\n') id.remove_suffix(1);
        return std::string(id);
    }

private:
    static result<void> done(int returned) noexcept
    {
        if (returned != 0) return last_error();
        return outcome::success();
    }
};

}  // namespace detail

file_system& real_file_system() noexcept
{
    static detail::posix_file_system instance;
    return instance;
}

}  // namespace copse
