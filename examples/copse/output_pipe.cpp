#include "output_pipe.hpp"

#include <copse/bao/geometry.hpp>
#include <copse/core/cancellation.hpp>
#include <copse/store/error.hpp>

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

namespace app {

using namespace copse;

namespace {

constexpr std::size_t block_bytes = 256U << 10;
// How long one job may keep a Ctrl-C waiting.
constexpr int patience_ms = 100;

/// Writes as much as the reader takes within a short time. \return how much.
result<std::size_t> write_patiently(byte_view bytes)
{
    struct stat about {};
    const bool file = ::fstat(STDOUT_FILENO, &about) == 0 && S_ISREG(about.st_mode);
    std::size_t done = 0;
    while (done < bytes.size()) {
        pollfd output{STDOUT_FILENO, POLLOUT, 0};
        const int ready = ::poll(&output, 1, patience_ms);
        if (ready < 0 && errno != EINTR) return std::error_code(errno, std::generic_category());
        if (ready <= 0) break;
        // A pipe that is ready takes PIPE_BUF bytes at once; more of them could block for ever.
        const std::size_t part =
            file ? bytes.size() - done : std::min<std::size_t>(bytes.size() - done, PIPE_BUF);
        const auto n = ::write(STDOUT_FILENO, bytes.data() + done, part);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) break;
        if (n < 0) return std::error_code(errno, std::generic_category());
        done += static_cast<std::size_t>(n);
    }
    return done;
}

}  // namespace

output_pipe::output_pipe(executor ex, store::blob_store& from)
    : from_(from), thread_(make_thread_pool(1)), changed_(std::move(ex)), block_(block_bytes)
{}

void output_pipe::begin(const hash::digest& root, std::uint64_t size)
{
    if (std::exchange(known_, true)) return;
    root_ = root;
    size_ = size;
    changed_.notify_all();
}

void output_pipe::end() noexcept
{
    ended_ = true;
    changed_.notify_all();
}

// On the thread. \return bytes written, 0 when nothing can be written now.
result<std::size_t> output_pipe::write_some()
{
    if (!reader_) {
        auto opened = from_.open(root_);
        if (!opened && opened.error() == store::store_errc::missing) return std::size_t{0};
        if (!opened) return opened.error();
        reader_ = std::move(opened).assume_value();
    }
    const bao::chunk_ranges present = reader_->present();
    const std::uint64_t chunk = written_ / hash::chunk_size;
    std::uint64_t end = written_;
    for (std::size_t i = 0; i < present.interval_count(); ++i) {
        const auto part = present.interval(i);
        if (part.first <= chunk && chunk < part.end) end = bao::byte_end(part.end, size_);
    }
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(end - written_, block_.size()));
    if (n == 0) return n;
    const byte_span into = byte_span(block_).first(n);
    COPSE_TRYV(reader_->read(std::span(&into, 1), written_));
    return write_patiently(into);
}

awaitable<result<void>> output_pipe::run()
{
    while (!complete()) {
        const bool last = ended_;  // what comes before the end is seen by this round
        bool blocked = false;
        if (known_) {
            auto job = [this] { return write_some(); };
            const auto wrote = co_await offload(*thread_, job);
            if (!wrote) co_return wrote.error();
            written_ += wrote.assume_value();
            blocked = wrote.assume_value() == 0;
        }
        const bool stop = co_await cancellation_requested();
        if (stop) co_return make_error_code(std::errc::operation_canceled);
        if (complete() || (known_ && !blocked)) continue;
        if (last) {
            // Nothing written although all is here: the reader is slow. Without anything to write
            // the blob is not here as a whole.
            const auto all =
                known_ && reader_ && reader_->present().covers(0, bao::chunk_count(size_));
            if (all) continue;
            co_return store::store_errc::incomplete;
        }
        if (ended_) continue;
        const std::error_code ec = co_await changed_.wait();
        if (ec) co_return ec;
    }
    co_return outcome::success();
}

}  // namespace app
