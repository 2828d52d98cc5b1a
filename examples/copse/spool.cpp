#include "spool.hpp"

#include <copse/core/bytes.hpp>
#include <copse/core/cancellation.hpp>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <utility>
#include <vector>

namespace app {

namespace {

constexpr std::size_t block_bytes = 256U << 10;
// How long one job may keep a Ctrl-C waiting, and how much it reads at most.
constexpr int patience_ms = 100;
constexpr std::size_t job_bytes = 16U << 20;

std::error_code last_error() noexcept
{
    return {errno, std::generic_category()};
}

step<void> write_all(int fd, byte_view bytes, const std::string& path)
{
    while (!bytes.empty()) {
        const auto n = ::write(fd, bytes.data(), bytes.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail(last_error(), "temporary file " + shown_path(path));
        bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
    return outcome::success();
}

/// On the pool: what comes within a short time. \return bytes moved, nullopt at the end.
step<std::optional<std::size_t>> move_some(int fd, std::vector<std::byte>& block,
                                           const std::string& path)
{
    std::size_t moved = 0;
    while (moved < job_bytes) {
        pollfd input{STDIN_FILENO, POLLIN, 0};
        const int ready = ::poll(&input, 1, patience_ms);
        if (ready < 0 && errno != EINTR) return fail(last_error(), "standard input");
        if (ready <= 0) break;
        const auto n = ::read(STDIN_FILENO, block.data(), block.size());
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) break;
        if (n < 0) return fail(last_error(), "standard input");
        if (n == 0 && moved == 0) return std::optional<std::size_t>();
        if (n == 0) break;  // the next job sees it again
        const auto size = static_cast<std::size_t>(n);
        COPSE_TRYV(write_all(fd, byte_view(block).first(size), path));
        moved += size;
    }
    return std::optional<std::size_t>(moved);
}

}  // namespace

std::string temporary_folder()
{
    const char* const given = std::getenv("TMPDIR");
    return given && *given ? given : "/tmp";
}

spool_file::~spool_file()
{
    if (!path_.empty()) ::unlink(path_.c_str());
}

awaitable<step<std::uint64_t>> spool_file::fill(offload_pool& pool, progress& shown)
{
    std::string path = temporary_folder() + "/copse-stdin-XXXXXX";
    const int fd = ::mkostemp(path.data(), O_CLOEXEC);
    if (fd < 0) co_return fail(last_error(), "temporary file " + shown_path(path));
    path_ = path;
    shown.begin("read", std::nullopt);
    std::vector<std::byte> block(block_bytes);
    std::uint64_t size = 0;
    step<std::uint64_t> out = size;
    for (;;) {
        auto job = [fd, &block, &path] { return move_some(fd, block, path); };
        auto moved = co_await offload(pool, job);
        if (!moved) {
            out = std::move(moved).assume_error();
            break;
        }
        if (!moved.assume_value()) {
            out = size;
            break;
        }
        size += *moved.assume_value();
        shown.set(size);
        const bool stop = co_await cancellation_requested();
        if (stop) {
            out = fail(exit_code::interrupted, "interrupted while reading standard input");
            break;
        }
    }
    ::close(fd);
    shown.end();
    co_return out;
}

}  // namespace app
