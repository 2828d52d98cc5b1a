// What is present of a partial blob, as bytes that survive a torn write. No I/O.
#pragma once

#include <copse/bao/geometry.hpp>
#include <copse/core/bytes.hpp>
#include <copse/core/result.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/store/error.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace copse::store {

/// One record of a `.bits` file.
struct presence_record {
    std::uint64_t sequence = 0;  ///< counts the records of a blob; the larger one is newer
    std::uint64_t size = 0;      ///< bytes of the blob; a claim until `size_proven`
    bool size_proven = false;    ///< the last chunk was verified
    hash::digest root;           ///< of the blob
    hash::digest boot;           ///< of the text of the boot id under which it was written
    bao::chunk_ranges present;   ///< whole groups below the end of the blob

    bool operator==(const presence_record&) const = default;
};

/// Layout of a `.bits` file: two slots that are written in turn, so that a write that was cut short
/// leaves the older record.
///
/// A slot is: "copsebit", version 1 (u32), flags (u32: bit 0 size proven), sequence (u64), size (u64),
/// root (32 bytes), boot (32 bytes), count of runs (u64), then per run its first group and the group
/// behind it (u64 each), then the BLAKE3 hash of all of that. Numbers are little endian.
class bits_core {
public:
    static constexpr std::size_t slot_size = 64 * 1024;      ///< bytes of one of the two slots
    static constexpr std::size_t file_size = 2 * slot_size;  ///< bytes of the file
    /// Bytes before the runs.
    static constexpr std::size_t header_size = 8 + 4 + 4 + 8 + 8 + 32 + 32 + 8;
    static constexpr std::size_t checksum_size = 32;  ///< a BLAKE3 hash behind the runs
    /// More separate runs than this do not fit: the shortest ones are then fetched again.
    static constexpr std::size_t max_runs = (slot_size - header_size - checksum_size) / 16;

    /// Where in the file the record with this sequence number belongs.
    [[nodiscard]] static constexpr std::uint64_t slot_offset(std::uint64_t sequence) noexcept
    {
        return sequence % 2 * slot_size;
    }

    /// The bytes of a record, at most `slot_size`.
    /// \pre size > 0, and `present` are whole groups of a blob of that size.
    [[nodiscard]] static std::vector<std::byte> encode(const presence_record& record)
    {
        const auto runs = largest_runs(record.present, bao::chunk_count(record.size));
        std::vector<std::byte> out;
        out.reserve(header_size + 16 * runs.size() + checksum_size);
        append(out, magic);
        append_number(out, version, 4);
        append_number(out, record.size_proven ? 1 : 0, 4);
        append_number(out, record.sequence, 8);
        append_number(out, record.size, 8);
        append(out, record.root.span());
        append(out, record.boot.span());
        append_number(out, runs.size(), 8);
        for (const auto& run : runs) {
            append_number(out, run.first, 8);
            append_number(out, run.end, 8);
        }
        append(out, hash::blake3_hash(out).span());
        return out;
    }

    /// Reads one slot; bytes behind the record are what an older, longer one left.
    /// \par Errors store_errc::corrupt_state for anything that encode() does not write.
    [[nodiscard]] static result<presence_record> decode(byte_view slot, const hash::digest& root)
    {
        const std::error_code bad = store_errc::corrupt_state;
        if (slot.size() < header_size + checksum_size || slot.size() > slot_size) return bad;
        reader in{slot};
        presence_record record;
        if (!std::ranges::equal(in.take(magic.size()), as_bytes(magic))) return bad;
        if (in.number(4) != version) return bad;
        const std::uint64_t flags = in.number(4);
        if (flags > 1) return bad;
        record.size_proven = flags == 1;
        record.sequence = in.number(8);
        record.size = in.number(8);
        record.root = in.digest();
        record.boot = in.digest();
        const std::uint64_t runs = in.number(8);
        if (record.size == 0 || record.root != root || runs > max_runs) return bad;
        const std::size_t length = header_size + 16 * static_cast<std::size_t>(runs);
        if (slot.size() < length + checksum_size) return bad;
        const auto sum = hash::blake3_hash(slot.first(length));
        if (!std::ranges::equal(sum.span(), slot.subspan(length, checksum_size))) return bad;

        const std::uint64_t groups = bao::group_count(record.size);
        const std::uint64_t chunks = bao::chunk_count(record.size);
        std::vector<std::uint64_t> boundaries;
        boundaries.reserve(2 * static_cast<std::size_t>(runs));
        std::uint64_t free = 0;  // the lowest group at which the next run may start
        for (std::uint64_t i = 0; i < runs; ++i) {
            const std::uint64_t first = in.number(8);
            const std::uint64_t end = in.number(8);
            if (first < free || first >= end || end > groups) return bad;
            boundaries.push_back(first * hash::group_chunks);
            boundaries.push_back(end == groups ? chunks : end * hash::group_chunks);
            free = end + 1;  // touching runs would have been one
        }
        COPSE_TRY(record.present, bao::chunk_ranges::from_boundaries(std::move(boundaries)));
        if (free == groups + 1 && !record.size_proven)
            return bad;  // the last chunk proves the size
        return record;
    }

    /// The newest believable record of a file's bytes, nullopt when there is none.
    [[nodiscard]] static std::optional<presence_record> newest(byte_view file,
                                                               const hash::digest& root)
    {
        std::optional<presence_record> best;
        if (file.size() > file_size) return best;
        for (std::size_t offset = 0; offset < file.size(); offset += slot_size) {
            auto slot =
                decode(file.subspan(offset, std::min(slot_size, file.size() - offset)), root);
            if (!slot || slot_offset(slot.value().sequence) != offset) continue;
            if (!best || slot.value().sequence > best->sequence) best = std::move(slot).value();
        }
        return best;
    }

private:
    struct run {
        std::uint64_t first = 0;  // groups
        std::uint64_t end = 0;
    };

    // Reads from a slot whose length was checked.
    struct reader {
        byte_view left;

        byte_view take(std::size_t n) noexcept
        {
            const auto out = left.first(n);
            left = left.subspan(n);
            return out;
        }
        std::uint64_t number(std::size_t bytes) noexcept
        {
            const auto from = take(bytes);
            std::uint64_t out = 0;
            for (std::size_t i = bytes; i-- > 0;)
                out = out << 8 | std::to_integer<std::uint64_t>(from[i]);
            return out;
        }
        hash::digest digest() noexcept
        {
            hash::digest out;
            std::ranges::copy(take(out.bytes.size()), out.bytes.begin());
            return out;
        }
    };

    static constexpr std::string_view magic = "copsebit";
    static constexpr std::uint64_t version = 1;

    static void append(std::vector<std::byte>& out, byte_view bytes)
    {
        out.insert(out.end(), bytes.begin(), bytes.end());
    }
    static void append(std::vector<std::byte>& out, std::string_view text)
    {
        append(out, as_bytes(text));
    }
    static void append_number(std::vector<std::byte>& out, std::uint64_t value, std::size_t bytes)
    {
        for (std::size_t i = 0; i < bytes; ++i)
            out.push_back(static_cast<std::byte>(value >> 8 * i));
    }

    static std::vector<run> largest_runs(const bao::chunk_ranges& present, std::uint64_t chunks)
    {
        std::vector<run> runs;
        for (std::size_t i = 0; i < present.interval_count(); ++i) {
            const auto part = present.interval(i);
            const std::uint64_t end = std::min(part.end, chunks);
            runs.push_back(
                {part.first / hash::group_chunks, bao::unit_count(end, hash::group_chunks)});
        }
        if (runs.size() > max_runs) {
            const auto longer = [](const run& a, const run& b) {
                return a.end - a.first > b.end - b.first;
            };
            const auto keep = runs.begin() + static_cast<std::ptrdiff_t>(max_runs);
            std::nth_element(runs.begin(), keep, runs.end(), longer);
            runs.erase(keep, runs.end());
            std::sort(runs.begin(), runs.end(),
                      [](const run& a, const run& b) { return a.first < b.first; });
        }
        return runs;
    }
};

}  // namespace copse::store
