// One provider and one getter as two processes over loopback, every byte verified: memory to memory,
// or disk to disk.
//
//   copse_bench_transfer [--mib N] [--runs N] [--disk FOLDER]
#include <copse/blob/download.hpp>
#include <copse/blob/fetch.hpp>
#include <copse/blob/provide.hpp>
#include <copse/core/clock.hpp>
#include <copse/core/run.hpp>
#include <copse/core/scope.hpp>
#include <copse/quic/endpoint.hpp>
#include <copse/store/folder_store.hpp>
#include <copse/store/import.hpp>
#include <copse/store/memory_store.hpp>
#include <copse/store/reference_store.hpp>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

namespace {

using namespace copse;

struct settings {
    std::uint64_t mib = 1024;
    int runs = 3;
    std::string disk;  // empty: memory
};

/// What the provider tells the getter through a pipe.
struct offer {
    endpoint_id id;
    std::uint16_t port = 0;
    hash::digest root;
};

std::vector<std::byte> noise(std::size_t bytes)
{
    std::vector<std::byte> out(bytes);
    std::uint64_t state = 1;
    for (std::size_t i = 0; i + 8 <= bytes; i += 8) {
        state = state * 6364136223846793005 + 1442695040888963407;
        std::memcpy(out.data() + i, &state, 8);
    }
    return out;
}

quic::endpoint_options local_options()
{
    quic::endpoint_options options;
    options.bind = {socket_address::loopback_v4(0)};
    return options;
}

void write_whole(int to, const void* from, std::size_t bytes)
{
    if (::write(to, from, bytes) != static_cast<ssize_t>(bytes)) std::abort();
}

// ---- the provider's process: it ends when its pipe is closed by killing it ----

awaitable<void> answer(std::shared_ptr<connection> peer, blob::provide_environment& env)
{
    blob::provide_options options;
    const close_reason why = co_await blob::provide(std::move(peer), env, options);
    static_cast<void>(why);  // the getter reports
}

awaitable<result<void>> provide(store::blob_store& from, offload_pool& pool, hash::digest root,
                                int to)
{
    const executor ex = co_await asio::this_coro::executor;
    disk::leaf_pool buffers("send", 32 * blob::provide_buffer_bytes, blob::provide_buffer_bytes);
    blob::provide_environment env{from, pool, buffers};
    COPSE_CO_TRY(quic::endpoint endpoint, quic::endpoint::make(ex, local_options()));
    quic::listener listener = endpoint.listen(blob::alpn);
    offer what;
    what.id = endpoint.id();
    what.port = endpoint.bound_addresses().front().port;
    what.root = root;
    write_whole(to, &what, sizeof what);
    scope peers(ex);
    for (;;) {
        auto peer = co_await listener.accept();
        if (!peer) break;
        peers.spawn(answer(std::move(peer).value(), env));
    }
    peers.request_stop();
    const auto joined = co_await peers.join();
    co_await endpoint.close();
    co_return joined;
}

awaitable<result<void>> provide_file(std::string path, int to)
{
    const auto pool = make_thread_pool(2);
    store::import_options options;
    options.workers = 2;
    COPSE_CO_TRY(store::imported_file file,
                 co_await store::import_file(real_file_system(), *pool, path, options));
    const hash::digest root = file.root;
    store::reference_store store(real_file_system());
    store.add(std::move(file));
    const auto done = co_await provide(store, *pool, root, to);
    co_return done;
}

awaitable<result<void>> provide_memory(std::uint64_t mib, int to)
{
    const auto pool = make_thread_pool(1);
    store::memory_store store((mib + 64) << 20);
    hash::digest root;
    {
        const auto data = noise(static_cast<std::size_t>(mib << 20));
        COPSE_CO_TRY(root, store.add(data));
    }
    const auto done = co_await provide(store, *pool, root, to);
    co_return done;
}

int run_provider(const settings& s, const std::string& file, int to)
{
    const auto done =
        run_until_complete(s.disk.empty() ? provide_memory(s.mib, to) : provide_file(file, to));
    if (!done) std::cerr << "provider: " << done.error().message() << '\n';
    return done ? 0 : 1;
}

// ---- the getter ----

awaitable<result<void>> get(quic::endpoint& endpoint, const offer& what, store::blob_store& into,
                            std::uint64_t& bytes)
{
    const auto pool = make_thread_pool(1);
    disk::leaf_pool buffers("receive", 8U << 20, 512U << 10);
    blob::fetch_environment env{into, *pool, buffers};
    endpoint_address where;
    where.id = what.id;
    where.paths.emplace_back(socket_address::loopback_v4(what.port));
    COPSE_CO_TRY(const auto peer, co_await endpoint.connect(where, std::string(blob::alpn)));
    blob::get_request request{what.root, blob::ranges_seq::root(bao::chunk_ranges::all())};
    blob::fetch_options options;
    blob::fetch_diagnostics at;
    COPSE_CO_TRY(const blob::fetch_report report,
                 co_await blob::fetch(peer, request, env, options, at));
    bytes = report.payload_bytes;
    co_return outcome::success();
}

awaitable<result<void>> get_once(const settings& s, offer what, std::string folder)
{
    const executor ex = co_await asio::this_coro::executor;
    COPSE_CO_TRY(quic::endpoint endpoint, quic::endpoint::make(ex, local_options()));
    std::shared_ptr<store::blob_store> into;
    std::error_code failed;
    if (s.disk.empty()) {
        into = std::make_shared<store::memory_store>((s.mib + 64) << 20);
    } else {
        auto opened = store::folder_store::open(real_file_system(), folder);
        if (opened) into = std::move(opened).value();
        else failed = opened.error();
    }
    std::uint64_t bytes = 0;
    const time_point began = monotonic_clock::now();
    if (into) {
        const auto got = co_await get(endpoint, what, *into, bytes);
        if (!got) failed = got.error();
    }
    const double seconds = std::chrono::duration<double>(monotonic_clock::now() - began).count();
    into.reset();
    co_await endpoint.close();
    if (failed) co_return failed;
    if (bytes != s.mib << 20) co_return make_error_code(std::errc::message_size);
    std::printf("%s %llu MiB verified in %.3f s: %.0f MB/s", s.disk.empty() ? "memory" : "disk",
                static_cast<unsigned long long>(s.mib), seconds,
                static_cast<double>(bytes) / seconds / 1e6);
    co_return outcome::success();
}

double processor_seconds(const rusage& used)
{
    const auto seconds = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    return seconds(used.ru_utime) + seconds(used.ru_stime);
}

// Each run in a process of its own, so that its processor time and memory are its own.
bool run_getter(const settings& s, const offer& what)
{
    const std::string folder = s.disk + "/copse-bench-received";
    std::fflush(stdout);  // or the child would say it again
    const pid_t child = ::fork();
    if (child == 0) {
        const auto done = run_until_complete(get_once(s, what, folder));
        if (!done) std::cerr << "getter: " << done.error().message() << '\n';
        std::fflush(stdout);
        std::_Exit(done ? 0 : 1);
    }
    int status = 0;
    rusage used{};
    if (child < 0 || ::wait4(child, &status, 0, &used) != child) return false;
    std::error_code ignored;  // there is none for memory
    if (!s.disk.empty()) std::filesystem::remove_all(folder, ignored);
    if (status != 0) return false;
    std::printf(", getter %.2f s of processor, %ld MiB\n", processor_seconds(used),
                used.ru_maxrss / 1024);
    return true;
}

bool parse(int argc, char** argv, settings& s)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string name = argv[i];
        if (name == "--mib") s.mib = std::strtoull(argv[i + 1], nullptr, 10);
        else if (name == "--runs") s.runs = std::atoi(argv[i + 1]);
        else if (name == "--disk") s.disk = argv[i + 1];
        else return false;
    }
    return argc % 2 == 1 && s.mib > 0 && s.runs > 0;
}

bool make_file(const std::string& path, std::uint64_t mib)
{
    std::FILE* const out = std::fopen(path.c_str(), "wb");
    if (!out) return false;
    const auto data = noise(1U << 20);
    bool good = true;
    for (std::uint64_t i = 0; i < mib && good; ++i) {
        good = std::fwrite(data.data(), 1, data.size(), out) == data.size();
    }
    return std::fclose(out) == 0 && good;
}

}  // namespace

int main(int argc, char** argv)
{
    settings s;
    if (!parse(argc, argv, s)) {
        std::cerr << "usage: copse_bench_transfer [--mib N] [--runs N] [--disk FOLDER]\n";
        return 2;
    }
    const std::string file = s.disk + "/copse-bench-source";
    if (!s.disk.empty() && !make_file(file, s.mib)) {
        std::cerr << "cannot write " << file << '\n';
        return 1;
    }
    int pipe_ends[2];
    if (::pipe(pipe_ends) != 0) return 1;
    const pid_t provider = ::fork();
    if (provider == 0) {
        ::close(pipe_ends[0]);
        std::_Exit(run_provider(s, file, pipe_ends[1]));
    }
    ::close(pipe_ends[1]);
    offer what;
    bool good = provider > 0 && ::read(pipe_ends[0], &what, sizeof what) == sizeof what;
    for (int i = 0; i < s.runs && good; ++i) good = run_getter(s, what);
    int status = 0;
    rusage used{};
    if (provider > 0) {
        ::kill(provider, SIGTERM);
        ::wait4(provider, &status, 0, &used);
        std::printf("provider: %.2f s of processor with hashing, %ld MiB\n",
                    processor_seconds(used), used.ru_maxrss / 1024);
    }
    std::error_code ignored;  // nothing to remove for memory
    if (!s.disk.empty()) std::filesystem::remove(file, ignored);
    return good && status == 0 ? 0 : 1;
}
