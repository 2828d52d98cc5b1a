// What several worlds need: endpoints on hosts, contents, and checks of what a store shows.
#pragma once

#include <copse/blob/provide.hpp>
#include <copse/core/limits.hpp>
#include <copse/core/scope.hpp>
#include <copse/disk/leaf_pool.hpp>
#include <copse/hash/digest.hpp>
#include <copse/quic/endpoint.hpp>
#include <copse/sim/campaign.hpp>
#include <copse/sim/disk.hpp>
#include <copse/store/folder_store.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace copse::test {

/// An endpoint of the host's current life.
inline result<quic::endpoint> endpoint_on(sim::host& h, quic::endpoint_options o = {},
                                          std::uint16_t port = 0)
{
    std::vector<std::unique_ptr<datagram_socket>> sockets;
    COPSE_TRY(auto socket, h.bind(port));
    sockets.push_back(std::move(socket));
    return quic::endpoint::make(h.computer().life().get_executor(), std::move(o),
                                std::move(sockets));
}

/// Bytes that follow from the generator.
inline std::vector<std::byte> draw_bytes(sim::rng& random, std::size_t size)
{
    std::vector<std::byte> out(size);
    for (std::byte& b : out) b = static_cast<std::byte>(random.next());
    return out;
}

/// Links that are somewhat bad all the time.
inline void draw_links(sim::rng& random, sim::host& h)
{
    const auto chance = [&](std::uint64_t end) { return static_cast<unsigned>(random.below(end)); };
    h.up.loss = chance(30);
    h.up.reorder = chance(30);
    h.up.duplicate = chance(20);
    h.up.corrupt = chance(5);
    h.up.latency = std::chrono::microseconds(100 + random.below(50'000));
    h.up.jitter = std::chrono::microseconds(random.below(10'000));
    h.down = h.up;
    h.down.bytes_per_second = 1'000'000 + random.below(20'000'000);
}

/// Nothing unverified is visible: all that a store shows of a blob is what it should be. \return what
/// is wrong, or nothing.
inline std::string wrong_in_store(store::blob_store& s, const hash::digest& root, byte_view content)
{
    const auto status = s.status(root);
    if (!status) return {};  // its disk failed: nothing is visible
    if (status.value().size_proven && status.value().size != content.size()) {
        return "a store has proven a wrong size";
    }
    const auto present = status.value().present;
    if (present.empty() || content.empty()) return {};
    const auto reader = s.open(root);
    if (!reader) return {};
    for (std::size_t i = 0; i < present.interval_count(); ++i) {
        const auto run = present.interval(i);
        const auto from = run.first * 1024;
        const auto to = run.end > content.size() / 1024 ? content.size() : run.end * 1024;
        if (from >= content.size()) return "a store shows chunks behind the end";
        std::vector<std::byte> got(to - from);
        const byte_span part(got);
        const auto read = reader.value()->read(std::span(&part, 1), from);
        if (!read) continue;
        if (!std::equal(got.begin(), got.end(),
                        content.begin() + static_cast<std::ptrdiff_t>(from))) {
            return "a store shows bytes that are not those of the blob, at " + std::to_string(from);
        }
    }
    return {};
}

/// Reports what is wrong, if anything.
inline void report(sim::run& r, const std::string& wrong)
{
    if (!wrong.empty()) r.fail(wrong);
}

/// When all is over: the store on a disk opens and has a blob, whole and right.
inline void check_complete(sim::run& r, sim::disk& d, const std::string& path,
                           const hash::digest& root, byte_view content)
{
    const auto fs = d.mount();
    const auto opened = store::folder_store::open(*fs, path);
    if (!r.check(opened.has_value(), "the store opens at the end")) return;
    report(r, wrong_in_store(*opened.value(), root, content));
    const auto status = opened.value()->status(root);
    r.check(status && status.value().complete(), "not complete at the end");
}

/// Stops all programs. What they had lent, the credit of connections included, is given back then.
inline void shut_down(sim::run& r, sim::stage& st)
{
    st.shut_down();
    for (const limit_row& row : limits()) {
        r.check(row.used == 0, "still lent at the end: " + std::string(row.name));
        r.check(row.peak <= row.capacity || row.instances == 0,
                "beyond its limit: " + std::string(row.name));
    }
}

/// Memory is within its limit and was given back.
inline std::string wrong_in_pool(const disk::leaf_pool& pool)
{
    const budget& b = pool.limits();
    if (b.peak() > b.capacity()) return std::string(b.name()) + ": lent more than there is";
    if (b.used() != 0) return std::string(b.name()) + ": not everything was given back";
    return {};
}

}  // namespace copse::test
