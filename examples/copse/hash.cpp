// copse hash: what b3sum prints.
#include "arguments.hpp"
#include "commands.hpp"
#include "console.hpp"
#include "records.hpp"

#include <copse/codec/utf8.hpp>
#include <copse/core/cancellation.hpp>
#include <copse/core/file.hpp>
#include <copse/core/offload.hpp>
#include <copse/core/run.hpp>
#include <copse/hash/digest.hpp>
#include <copse/store/error.hpp>
#include <copse/store/import.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <utility>

namespace app {

namespace {

constexpr std::uint64_t most_threads = 256;

/// A name as b3sum writes it: bytes that are not UTF-8 become U+FFFD, and a line with an escaped
/// backslash or line end begins with a backslash.
struct shown_name {
    std::string text;
    bool escaped = false;
};

shown_name show(std::string_view path)
{
    shown_name out;
    while (!path.empty()) {
        const codec::utf8_character c = codec::decode_utf8(path);
        const std::size_t n = c.size == 0 ? 1 : c.size;
        if (c.size == 0) out.text += "\xef\xbf\xbd";
        else if (path[0] == '\\') out.text += "\\\\";
        else if (path[0] == '\n') out.text += "\\n";
        else out.text += path.substr(0, n);
        out.escaped = out.escaped || (c.size == 1 && (path[0] == '\\' || path[0] == '\n'));
        path.remove_prefix(n);
    }
    return out;
}

void print_hash(const hash::digest& hash, std::string_view path)
{
    const shown_name name = show(path);
    std::string line = name.escaped ? "\\" : "";
    line += hash::to_hex(hash) + "  " + name.text + "\n";
    std::fwrite(line.data(), 1, line.size(), stdout);
}

std::error_code last_error() noexcept
{
    return {errno, std::generic_category()};
}

/// Pipes, devices, standard input, and files that do not know their size. Blocking.
result<hash::digest> hash_descriptor(int fd)
{
    const auto read = [fd](byte_span into) -> result<std::size_t> {
        for (;;) {
            const auto n = ::read(fd, into.data(), into.size());
            if (n >= 0) return static_cast<std::size_t>(n);
            if (errno != EINTR) return last_error();
        }
    };
    COPSE_TRY(const auto hashed, store::hash_stream(read));
    return hashed.root;
}

result<hash::digest> hash_stream_file(const std::string& path)
{
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return last_error();
    auto hashed = hash_descriptor(fd);
    ::close(fd);
    return hashed;
}

// Whether the size that the system tells is what can be read: /proc has files of size 0 that hold
// something.
bool is_plain_file(const std::string& path) noexcept
{
    struct stat about {};
    return ::stat(path.c_str(), &about) == 0 && S_ISREG(about.st_mode) && about.st_size > 0;
}

awaitable<result<hash::digest>> hash_file(offload_pool& pool, std::string path, unsigned threads)
{
    store::import_options options;
    options.workers = threads;
    options.keep_index = false;
    options.follow_links = true;
    const auto hashed =
        co_await store::import_file(real_file_system(), pool, std::move(path), std::move(options));
    if (!hashed) co_return hashed.error();
    co_return hashed.value().root;
}

/// Prints what became of one path. \return whether it was hashed.
bool report(const std::string& path, const result<hash::digest>& hashed)
{
    if (hashed) {
        const hash::digest& hash = hashed.assume_value();
        if (prints_records()) record("hash").text("path", path).text("hash", to_hex(hash)).print();
        else print_hash(hash, path);
        return true;
    }
    const exit_code code = to_exit_code(hashed.error());
    if (prints_records()) {
        record("error")
            .text("class", class_name(code))
            .number("code", static_cast<std::uint64_t>(code))
            .text("message", hashed.error().message())
            .text("path", path)
            .print();
        return false;
    }
    std::fflush(stdout);
    complain("copse hash: " + shown_path(path) + ": " + hashed.error().message());
    return false;
}

/// Hashes plain files from `at` on, as many as follow each other.
awaitable<result<void>> hash_files(const words& paths, std::size_t& at, offload_pool& pool,
                                   unsigned threads, bool& all_good)
{
    for (; at < paths.size() && is_plain_file(paths[at]); ++at) {
        const auto hashed = co_await hash_file(pool, paths[at], threads);
        const bool stop = co_await cancellation_requested();
        if (stop) co_return make_error_code(std::errc::operation_canceled);
        all_good = report(paths[at], hashed) && all_good;
    }
    co_return outcome::success();
}

}  // namespace

step<exit_code> run_hash(const arguments& given)
{
    COPSE_TRY(const auto threads, given.number("threads", 1, most_threads));
    words paths = given.plain();
    if (paths.empty()) paths.emplace_back("-");
    const auto count = threads ? static_cast<unsigned>(*threads) : usable_processors();
    bool all_good = true;
    std::unique_ptr<offload_pool> pool;
    for (std::size_t at = 0; at < paths.size();) {
        const std::string& path = paths[at];
        // Reading a pipe blocks: it stays outside of the reactor, where Ctrl-C is a plain signal.
        if (path == "-" || !is_plain_file(path)) {
            const auto hashed =
                path == "-" ? hash_descriptor(STDIN_FILENO) : hash_stream_file(path);
            all_good = report(path, hashed) && all_good;
            ++at;
            continue;
        }
        if (!pool) pool = make_thread_pool(count);
        const auto ended = run_until_complete(hash_files(paths, at, *pool, count, all_good));
        if (!ended) return fail(ended.error(), "hash");
    }
    return all_good ? exit_code::ok : exit_code::other;
}

}  // namespace app
