// What idle connections cost: resident memory a connection and side, and whose it is.
//
//     copse_idle_connections [CONNECTIONS]     (10,000)
//
// A child process dials its parent that often over loopback, one endpoint each; when all handshakes are
// confirmed and nothing moves any more, both print what they hold and end. Every allocation is counted
// by the library that asked for it, so ngtcp2's and GnuTLS's shares are theirs and the rest is ours.
// Linux and glibc only: malloc is replaced, and callers are told apart by return address.
#include <copse/core/race.hpp>
#include <copse/core/run.hpp>
#include <copse/core/scope.hpp>
#include <copse/quic/endpoint.hpp>

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

extern "C" {
void* __libc_malloc(std::size_t);
void __libc_free(void*);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
}

namespace {

enum owner : std::uint8_t { ours, ngtcp2, gnutls, owners };

struct module_range {
    std::uintptr_t from;
    std::uintptr_t to;
    owner whose;
};

// ---- who allocates: a table of live blocks in memory of its own ---------------------------------

constexpr std::size_t table_entries = std::size_t{1} << 24;
std::uint64_t* table = nullptr;  // pointer << 8 | owner, 0 is free; linear probing
std::array<std::size_t, owners> held{};
std::array<std::size_t, owners> blocks{};
std::array<module_range, 64> modules{};
std::size_t module_count = 0;

std::size_t slot_of(const void* p)
{
    const auto bits = reinterpret_cast<std::uintptr_t>(p) >> 4;
    return static_cast<std::size_t>((bits * 0x9E3779B97F4A7C15ULL) >> 40) % table_entries;
}

void add(void* p, const void* caller)
{
    if (!p || !table) return;
    const auto at = reinterpret_cast<std::uintptr_t>(caller);
    owner whose = ours;
    for (std::size_t i = 0; i < module_count; ++i) {
        if (at >= modules[i].from && at < modules[i].to) whose = modules[i].whose;
    }
    std::size_t i = slot_of(p);
    while (table[i] != 0) i = (i + 1) % table_entries;
    table[i] = reinterpret_cast<std::uintptr_t>(p) << 8 | whose;
    held[whose] += ::malloc_usable_size(p) + sizeof(std::size_t);
    ++blocks[whose];
}

void remove(void* p)
{
    if (!p || !table) return;
    std::size_t i = slot_of(p);
    while (table[i] != 0 && table[i] >> 8 != reinterpret_cast<std::uintptr_t>(p)) {
        i = (i + 1) % table_entries;
    }
    if (table[i] == 0) return;  // older than the table
    const auto whose = static_cast<owner>(table[i] & 255);
    held[whose] -= ::malloc_usable_size(p) + sizeof(std::size_t);
    --blocks[whose];
    // Close the gap, so that no search ends too early.
    for (std::size_t j = i;;) {
        j = (j + 1) % table_entries;
        if (table[j] == 0) break;
        const std::size_t home = slot_of(reinterpret_cast<void*>(table[j] >> 8));
        const bool reachable = i <= j ? (home > i && home <= j) : (home > i || home <= j);
        if (reachable) continue;
        table[i] = table[j];
        i = j;
    }
    table[i] = 0;
}

int add_module(dl_phdr_info* info, std::size_t, void*)
{
    const std::string_view name(info->dlpi_name);
    owner whose = ours;
    for (const char* part : {"libgnutls", "libnettle", "libhogweed", "libgmp", "libp11-kit",
                             "libtasn1", "libngtcp2_crypto"}) {
        if (name.find(part) != name.npos) whose = gnutls;
    }
    if (whose == ours && name.find("libngtcp2") != name.npos) whose = ngtcp2;
    for (int i = 0; i < info->dlpi_phnum && whose != ours; ++i) {
        const auto& header = info->dlpi_phdr[i];
        if (header.p_type != PT_LOAD || module_count == modules.size()) continue;
        const auto from = info->dlpi_addr + header.p_vaddr;
        modules[module_count++] = {from, from + header.p_memsz, whose};
    }
    return 0;
}

void start_counting()
{
    ::dl_iterate_phdr(add_module, nullptr);
    void* const room = ::mmap(nullptr, table_entries * sizeof(std::uint64_t),
                              PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) std::exit(1);
    table = static_cast<std::uint64_t*>(room);
}

/// Resident bytes of this process without the table.
std::size_t resident()
{
    std::ifstream maps("/proc/self/smaps");
    std::string line;
    std::size_t sum = 0;
    bool counts = true;
    while (std::getline(maps, line)) {
        unsigned long from = 0;
        unsigned long to = 0;
        std::size_t kib = 0;
        if (std::sscanf(line.c_str(), "%lx-%lx ", &from, &to) == 2) {
            const auto at = reinterpret_cast<std::uintptr_t>(table);
            counts = !(at >= from && at < to);
        } else if (std::sscanf(line.c_str(), "Rss: %zu kB", &kib) == 1 && counts) {
            sum += kib << 10;
        }
    }
    return sum;
}

struct snapshot {
    std::size_t rss = resident();
    std::array<std::size_t, owners> bytes = held;
    std::array<std::size_t, owners> count = blocks;
};

void report(const char* side, const snapshot& before, std::size_t connections)
{
    const snapshot after;
    const auto each = [&](std::size_t now, std::size_t then) {
        return static_cast<double>(now - then) / static_cast<double>(connections);
    };
    std::printf("%s, %zu connections: %.1f KiB resident each\n", side, connections,
                each(after.rss, before.rss) / 1024);
    constexpr std::array<const char*, owners> names{"ours", "ngtcp2", "GnuTLS"};
    for (std::size_t i = 0; i < owners; ++i) {
        std::printf("    %-7s %7.2f KiB in %5.1f blocks\n", names[i],
                    each(after.bytes[i], before.bytes[i]) / 1024,
                    each(after.count[i], before.count[i]));
    }
    std::fflush(stdout);
}

// ---- the two processes ------------------------------------------------------------------------------

using namespace copse;
using namespace std::chrono_literals;

constexpr std::string_view protocol = "/copse-idle/1";

quic::endpoint_options options_for(std::size_t connections)
{
    quic::endpoint_options o;
    o.bind = {socket_address::loopback_v4(0)};
    o.max_connections = o.max_connections_per_source = connections + 16;
    o.accept_backlog = connections + 16;
    o.receive_budget = (connections + 16) * o.connection_window;
    o.idle_timeout = 10min;
    o.keep_alive = 5min;
    o.handshake_timeout = 60s;
    return o;
}

void send_all(int to, const void* from, std::size_t n)
{
    if (::write(to, from, n) != static_cast<ssize_t>(n)) std::exit(1);
}
void receive_all(int from, void* into, std::size_t n)
{
    if (::read(from, into, n) != static_cast<ssize_t>(n)) std::exit(1);
}

struct introduction {
    endpoint_id id;
    std::uint16_t port;
};

awaitable<void> dial_some(quic::endpoint& client, introduction server, std::size_t n,
                          std::vector<std::shared_ptr<connection>>& into)
{
    endpoint_address to;
    to.id = server.id;
    to.paths.emplace_back(socket_address::loopback_v4(server.port));
    for (std::size_t i = 0; i < n; ++i) {
        auto dialled = co_await client.connect(to, std::string(protocol));
        if (!dialled) {
            std::fprintf(stderr, "dialling: %s\n", dialled.error().message().c_str());
            std::exit(1);
        }
        into.push_back(std::move(dialled).value());
    }
}

awaitable<result<void>> run_client(std::size_t connections, int from_server, int to_server)
{
    introduction server{};
    receive_all(from_server, &server, sizeof server);
    const auto ex = co_await asio::this_coro::executor;
    auto client = quic::endpoint::make(ex, options_for(connections)).value();
    std::vector<std::shared_ptr<connection>> all;
    all.reserve(connections);
    co_await dial_some(client, server, 1, all);  // what the first one loads is not its cost
    const snapshot before;
    constexpr std::size_t lanes = 16;
    scope dialling(ex);
    for (std::size_t i = 0; i < lanes; ++i) {
        const std::size_t n = connections / lanes + (i < connections % lanes ? 1 : 0);
        dialling.spawn(dial_some(client, server, n, all));
    }
    const auto joined = co_await dialling.join();
    static_cast<void>(joined);  // failures end the process
    const auto quiet = co_await sleep_for(2s);
    static_cast<void>(quiet);
    report("dialling side", before, connections);
    const char done = 1;
    send_all(to_server, &done, 1);
    char ended = 0;
    receive_all(from_server, &ended, 1);
    all.clear();
    co_await client.close();
    co_return outcome::success();
}

awaitable<result<void>> run_server(std::size_t connections, int from_client, int to_client)
{
    const auto ex = co_await asio::this_coro::executor;
    auto server = quic::endpoint::make(ex, options_for(connections)).value();
    auto l = server.listen(protocol);
    const introduction me{server.id(), server.bound_addresses().front().port};
    send_all(to_client, &me, sizeof me);
    std::vector<std::shared_ptr<connection>> all;
    all.reserve(connections + 1);
    auto first = co_await l.accept();
    if (first) all.push_back(std::move(first).value());
    const snapshot before;
    for (std::size_t i = 0; i < connections; ++i) {
        auto accepted = co_await l.accept();
        if (!accepted) co_return accepted.error();
        all.push_back(std::move(accepted).value());
    }
    const auto quiet = co_await sleep_for(2s);
    static_cast<void>(quiet);
    report("accepting side", before, connections);
    char done = 0;
    receive_all(from_client, &done, 1);
    send_all(to_client, &done, 1);
    all.clear();
    co_await server.close();
    co_return outcome::success();
}

}  // namespace

extern "C" {

void* malloc(std::size_t n)
{
    void* const p = __libc_malloc(n);
    add(p, __builtin_return_address(0));
    return p;
}
void free(void* p)
{
    remove(p);
    __libc_free(p);
}
void* calloc(std::size_t n, std::size_t size)
{
    void* const p = __libc_calloc(n, size);
    add(p, __builtin_return_address(0));
    return p;
}
void* realloc(void* old, std::size_t n)
{
    remove(old);
    void* const p = __libc_realloc(old, n);
    add(p ? p : old, __builtin_return_address(0));
    return p;
}
void* aligned_alloc(std::size_t alignment, std::size_t n)
{
    void* const p = __libc_memalign(alignment, n);
    add(p, __builtin_return_address(0));
    return p;
}
int posix_memalign(void** out, std::size_t alignment, std::size_t n)
{
    *out = aligned_alloc(alignment, n);
    return *out ? 0 : 12;
}

}  // extern "C"

int main(int argc, char** argv)
{
    const std::size_t connections = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 10'000;
    if (connections == 0 || connections > 100'000) {
        std::fprintf(stderr, "usage: copse_idle_connections [CONNECTIONS]   (1 to 100,000)\n");
        return 2;
    }
    ::alarm(600);  // ends by itself whatever happens
    int down[2];
    int up[2];
    if (::pipe(down) != 0 || ::pipe(up) != 0) return 1;
    const pid_t child = ::fork();
    if (child < 0) return 1;
    start_counting();
    if (child == 0) {
        const auto done = run_until_complete(run_client(connections, down[0], up[1]));
        return done ? 0 : 1;
    }
    const auto done = run_until_complete(run_server(connections, up[0], down[1]));
    int status = 1;
    ::waitpid(child, &status, 0);
    return done && status == 0 ? 0 : 1;
}
