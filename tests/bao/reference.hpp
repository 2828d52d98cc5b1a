// The pseudocode of docs/specs/bao.md, sections 3 to 5, as literally as C++ allows: what the real
// encoder and decoder are compared with. Slow, recursive, everything in memory.
#pragma once

#include "support.hpp"

#include <copse/bao/decode_core.hpp>
#include <copse/bao/encode_core.hpp>
#include <copse/hash/blake3.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <vector>

namespace copse::test {

using bao::bao_errc;
using bao::chunk_ranges;
using bao::subtree;
using hash::digest;
using byte_vector = std::vector<std::byte>;

namespace reference {

/// One bit a chunk: the effective set.
inline std::vector<bool> effective(std::uint64_t chunks, std::span<const std::uint64_t> boundaries)
{
    std::vector<bool> out(static_cast<std::size_t>(chunks));
    bool beyond = boundaries.size() % 2 != 0;
    for (std::uint64_t c = 0; c < chunks; ++c) {
        std::size_t passed = 0;
        while (passed < boundaries.size() && boundaries[passed] <= c) ++passed;
        out[static_cast<std::size_t>(c)] = passed % 2 != 0;
    }
    if (!boundaries.empty() && boundaries.back() > chunks) beyond = true;
    if (beyond) out[static_cast<std::size_t>(chunks - 1)] = true;
    return out;
}

inline std::uint64_t split(std::uint64_t count)
{
    std::uint64_t left = 1;
    while (left * 2 < count) left *= 2;
    return left;
}

struct shape {
    std::uint64_t size;
    std::uint64_t chunks;
    std::vector<bool> selected;

    shape(std::uint64_t size_, std::span<const std::uint64_t> boundaries)
        : size(size_),
          chunks(size == 0 ? 1 : (size + 1023) / 1024),
          selected(effective(chunks, boundaries))
    {}
    bool any(std::uint64_t s, std::uint64_t m) const
    {
        for (std::uint64_t c = s; c < s + m; ++c)
            if (selected[static_cast<std::size_t>(c)]) return true;
        return false;
    }
    bool leaf(std::uint64_t s, std::uint64_t m) const
    {
        if (m == 1) return true;
        if (m > 16) return false;
        for (std::uint64_t c = s; c < s + m; ++c)
            if (!selected[static_cast<std::size_t>(c)]) return false;
        return true;
    }
    std::size_t begin(std::uint64_t s) const { return static_cast<std::size_t>(s * 1024); }
    std::size_t length(std::uint64_t s, std::uint64_t m) const
    {
        return static_cast<std::size_t>(std::min((s + m) * 1024, size) - s * 1024);
    }
};

inline void put(byte_vector& out, std::span<const std::byte> from)
{
    bao::detail::append(out, from);
}

inline void encode(byte_vector& out, const shape& of, std::span<const std::byte> data,
                   std::uint64_t s, std::uint64_t m)
{
    if (of.leaf(s, m)) return put(out, data.subspan(of.begin(s), of.length(s, m)));
    const std::uint64_t h = split(m);
    put(out, hash::subtree_cv(data.subspan(of.begin(s), of.length(s, h)), s, false).bytes);
    put(out, hash::subtree_cv(data.subspan(of.begin(s + h), of.length(s + h, m - h)), s + h, false)
                 .bytes);
    if (of.any(s, h)) encode(out, of, data, s, h);
    if (of.any(s + h, m - h)) encode(out, of, data, s + h, m - h);
}

inline byte_vector encode(std::span<const std::byte> data,
                          std::span<const std::uint64_t> boundaries)
{
    const shape of{data.size(), boundaries};
    byte_vector out;
    for (std::uint64_t rest = data.size(), i = 0; i < 8; ++i, rest /= 256)
        out.push_back(static_cast<std::byte>(rest % 256));
    if (of.any(0, of.chunks)) encode(out, of, data, 0, of.chunks);
    return out;
}

/// What a decoder got out of a stream.
struct outcome_of {
    std::optional<bao_errc> error;
    bao::mismatch where;
    std::map<std::uint64_t, byte_vector> leaves;  // verified, by byte offset
    std::map<std::uint64_t, byte_vector> pairs;   // by position in the outboard
    std::size_t used = 0;
};

class decoder {
public:
    decoder(std::span<const std::byte> in, const shape& of) : in_(in), of_(of) {}

    outcome_of run(const digest& root)
    {
        take(8);
        if (of_.any(0, of_.chunks)) walk(0, of_.chunks, root, true, 0);
        return std::move(out_);
    }

private:
    std::optional<std::span<const std::byte>> take(std::size_t n)
    {
        if (in_.size() - out_.used < n) {
            out_.error = bao_errc::truncated;
            return std::nullopt;
        }
        out_.used += n;
        return in_.subspan(out_.used - n, n);
    }
    bool fail(bao_errc why, std::uint64_t s, std::uint64_t m)
    {
        out_.error = why;
        out_.where = {s, m};
        return false;
    }
    bool walk(std::uint64_t s, std::uint64_t m, const digest& want, bool is_root,
              std::uint64_t index)
    {
        if (of_.leaf(s, m)) {
            const auto bytes = take(of_.length(s, m));
            if (!bytes) return false;
            if (hash::subtree_cv(*bytes, s, is_root) != want)
                return fail(bao_errc::leaf_mismatch, s, m);
            out_.leaves[s * 1024] = {bytes->begin(), bytes->end()};
            return true;
        }
        const auto both = take(64);
        if (!both) return false;
        digest l;
        digest r;
        std::memcpy(l.bytes.data(), both->data(), 32);
        std::memcpy(r.bytes.data(), both->data() + 32, 32);
        if (hash::parent_cv(l, r, is_root) != want) return fail(bao_errc::parent_mismatch, s, m);
        if (m > 16) out_.pairs[index] = {both->begin(), both->end()};
        const std::uint64_t h = split(m);
        if (of_.any(s, h) && !walk(s, h, l, false, index + 1)) return false;
        return !of_.any(s + h, m - h) || walk(s + h, m - h, r, false, index + (h + 15) / 16);
    }

    std::span<const std::byte> in_;
    const shape& of_;
    outcome_of out_;
};

/// \param size What the header says; the caller keeps it small enough for a bit a chunk.
inline outcome_of decode(std::span<const std::byte> in, std::uint64_t size, const digest& root,
                         std::span<const std::uint64_t> boundaries)
{
    const shape of{size, boundaries};
    return decoder{in, of}.run(root);
}

}  // namespace reference

/// A range set from any numbers: sorted, repeated ones dropped.
inline chunk_ranges ranges_of(std::vector<std::uint64_t> boundaries)
{
    std::sort(boundaries.begin(), boundaries.end());
    boundaries.erase(std::unique(boundaries.begin(), boundaries.end()), boundaries.end());
    return chunk_ranges::from_boundaries(std::move(boundaries)).value();
}

/// Adjacent leaves joined, so that runs of different cuts compare equal.
inline std::map<std::uint64_t, byte_vector> joined(
    const std::map<std::uint64_t, byte_vector>& pieces)
{
    std::map<std::uint64_t, byte_vector> out;
    for (const auto& [at, bytes] : pieces) {
        if (!out.empty() && out.rbegin()->first + out.rbegin()->second.size() == at && at != 0)
            reference::put(out.rbegin()->second, bytes);
        else out[at] = bytes;
    }
    return out;
}

/// Drives a decode_core as a program does: input in pieces, one buffer at a time, verification of each
/// extent as soon as it is taken.
/// \param next_length How many bytes to offer next; asked again for each piece.
template <class NextLength>
reference::outcome_of run_decoder(bao::decode_core& core, std::span<const std::byte> in,
                                  NextLength&& next_length)
{
    reference::outcome_of out;
    byte_vector buffer;
    const auto keep = [&](bao::filled_extent&& filled) {
        auto extent = bao::verify(std::move(filled), out.where);
        if (!extent) {
            out.error = static_cast<bao_errc>(extent.error().value());
            return false;
        }
        core.note_verified(extent.value());
        for (std::size_t i = 0; i < extent.value().piece_count(); ++i) {
            const auto piece = extent.value()[i];
            out.leaves[piece.offset] = {piece.bytes.begin(), piece.bytes.end()};
        }
        for (std::size_t i = 0; i < extent.value().pair_run_count(); ++i) {
            const auto run = extent.value().pairs(i);
            if (run.bytes.empty()) throw std::logic_error("a run without pairs");
            for (std::size_t at = 0; at < run.bytes.size(); at += 64) {
                const auto pair = run.bytes.subspan(at, 64);
                out.pairs[run.index + at / 64] = {pair.begin(), pair.end()};
            }
        }
        return true;
    };
    while (!core.finished()) {
        const std::size_t n = std::min<std::size_t>(next_length(), in.size() - out.used);
        const auto used = core.push(in.subspan(out.used, n));
        if (!used) {
            out.error = static_cast<bao_errc>(used.error().value());
            out.where = core.where();
            return out;
        }
        out.used += used.value();
        bool progress = used.value() > 0;
        if (auto filled = core.take_extent()) {
            if (!keep(std::move(*filled))) return out;
            progress = true;
        }
        if (core.needs_buffer()) {
            // The old bytes are gone: whoever reads what was not written this time is found out.
            buffer.assign(core.buffer_bytes(), std::byte{0xa5});
            core.provide_buffer(buffer);
            progress = true;
        }
        if (!progress && out.used == in.size() && !core.finished()) {
            out.error = static_cast<bao_errc>(core.end_of_input().error().value());
            if (auto filled = core.take_interrupted()) keep(std::move(*filled));
            return out;
        }
    }
    return out;
}

/// The same with the whole input offered at once.
inline reference::outcome_of run_decoder(bao::decode_core& core, std::span<const std::byte> in)
{
    return run_decoder(core, in, [&] { return in.size(); });
}

}  // namespace copse::test
