// Hash sequences, collections and the rules for names.
#pragma once

#include <copse/blob/collection.hpp>
#include <copse/blob/error.hpp>
#include <copse/codec/postcard.hpp>
#include <copse/codec/utf8.hpp>

#include <algorithm>
#include <cassert>
#include <numeric>

namespace copse::blob {

result<hash_sequence> hash_sequence::from_bytes(byte_view bytes) noexcept
{
    if (!is_valid_size(bytes.size())) return blob_errc::bad_hash_sequence;
    return hash_sequence(bytes);
}

hash::digest hash_sequence::operator[](std::size_t index) const noexcept
{
    assert(index < size());
    hash::digest out;
    std::ranges::copy(bytes_.subspan(32 * index, 32), out.bytes.begin());
    return out;
}

std::vector<std::byte> encode_hash_sequence(std::span<const hash::digest> hashes)
{
    std::vector<std::byte> out;
    out.reserve(32 * hashes.size());
    for (const auto& hash : hashes) out.insert(out.end(), hash.bytes.begin(), hash.bytes.end());
    return out;
}

result<void> check_name(std::string_view name) noexcept
{
    if (name.size() > max_name_bytes) return blob_errc::name_too_long;
    for (std::string_view rest = name; !rest.empty();) {
        const codec::utf8_character c = codec::decode_utf8(rest);
        if (c.size == 0) return blob_errc::bad_name_encoding;
        // C0 controls (NUL included), DEL, C1 controls.
        const bool control = c.code_point < 0x20 || (c.code_point >= 0x7f && c.code_point < 0xa0);
        if (control || c.code_point == U'\\') return blob_errc::unprintable_name;
        rest.remove_prefix(c.size);
    }
    bool first = true;
    for (std::string_view rest = name;;) {
        const std::size_t slash = rest.find('/');
        const std::string_view component = rest.substr(0, slash);
        // An empty one also stands for an absolute name, a slash at the end and an empty name.
        if (component.empty() || component == "." || component == "..")
            return blob_errc::unsafe_name;
        if (component.size() > max_name_component_bytes) return blob_errc::name_too_long;
        // Of any case, since file systems exist that do not distinguish.
        const auto same_letter = [](char a, char b) {
            return a == b || (a >= 'A' && a <= 'Z' && a + ('a' - 'A') == b);
        };
        if (first && std::ranges::equal(component, partial_folder, same_letter)) {
            return blob_errc::reserved_name;
        }
        if (slash == rest.npos) return outcome::success();
        rest.remove_prefix(slash + 1);
        first = false;
    }
}

result<void> check_names(std::span<const std::string> names, std::size_t* refused)
{
    const auto refuse = [refused](std::size_t index) {
        if (refused) *refused = index;
    };
    for (std::size_t i = 0; i < names.size(); ++i) {
        const auto good = check_name(names[i]);
        if (good) continue;
        refuse(i);
        return good;
    }
    // With the slash before every other character, all names in folder `a` follow directly on `a`.
    const auto rank = [](char c) {
        return c == '/' ? 0 : static_cast<int>(static_cast<unsigned char>(c));
    };
    const auto before = [&](std::uint32_t a, std::uint32_t b) {
        const int order = [&] {
            const std::string_view x = names[a];
            const std::string_view y = names[b];
            const auto [i, j] = std::ranges::mismatch(x, y);
            if (i != x.end() && j != y.end()) return rank(*i) - rank(*j);
            return (i != x.end() ? 1 : 0) - (j != y.end() ? 1 : 0);
        }();
        return order != 0 ? order < 0 : a < b;
    };
    std::vector<std::uint32_t> sorted(names.size());
    std::iota(sorted.begin(), sorted.end(), 0u);
    std::ranges::sort(sorted, before);
    for (std::size_t i = 1; i < sorted.size(); ++i) {
        const std::string_view above = names[sorted[i - 1]];
        const std::string_view name = names[sorted[i]];
        if (!name.starts_with(above)) continue;
        if (name.size() > above.size() && name[above.size()] != '/') continue;
        refuse(sorted[i]);
        return name == above ? blob_errc::duplicate_name : blob_errc::conflicting_name;
    }
    return outcome::success();
}

std::string escape_name(std::string_view name, std::size_t max_characters)
{
    std::string out;
    const auto append_hex = [&out](std::uint32_t value, int digits) {
        while (digits-- > 0) out += "0123456789abcdef"[value >> (4 * digits) & 15];
    };
    for (std::size_t shown = 0; !name.empty(); ++shown) {
        if (shown == max_characters) return out + "...";
        const codec::utf8_character c = codec::decode_utf8(name);
        const char32_t p = c.code_point;
        // Direction marks, line separators, zero width characters, the byte order mark.
        const bool invisible = (p >= 0x200b && p <= 0x200f) || (p >= 0x2028 && p <= 0x202e) ||
                               (p >= 0x2060 && p <= 0x206f) || p == 0x061c || p == 0xfeff;
        if (c.size == 0) {
            out += "\\x";
            append_hex(static_cast<unsigned char>(name.front()), 2);
        } else if (p == U'\\') {
            out += "\\\\";
        } else if (p < 0x20 || p == 0x7f) {
            out += "\\x";
            append_hex(p, 2);
        } else if ((p >= 0x80 && p < 0xa0) || invisible) {
            out += "\\u";
            append_hex(p, 4);
        } else {
            out += name.substr(0, c.size);
        }
        name.remove_prefix(c.size == 0 ? 1 : c.size);
    }
    return out;
}

result<std::vector<std::byte>> encode_collection_meta(std::span<const std::string> names)
{
    if (names.size() > max_collection_names) return blob_errc::collection_too_large;
    std::vector<std::byte> out;
    codec::postcard_writer to(out);
    to.raw(as_bytes(collection_header));
    to.count(names.size());
    for (const auto& name : names) {
        if (out.size() + name.size() > max_collection_meta_bytes) {
            return blob_errc::collection_too_large;
        }
        to.string(name);
    }
    if (out.size() > max_collection_meta_bytes) return blob_errc::collection_too_large;
    return out;
}

result<std::vector<std::string>> decode_collection_meta(byte_view meta, std::uint64_t hashes)
{
    if (meta.size() > max_collection_meta_bytes) return blob_errc::collection_too_large;
    codec::postcard_reader from(meta);
    const auto header = from.raw(collection_header.size());
    if (!header || as_text(header.assume_value()) != collection_header) {
        return blob_errc::bad_collection;
    }
    const auto count = from.count(max_collection_names, 1);
    if (!count && count.error() == codec::codec_errc::limit_exceeded) {
        return blob_errc::collection_too_large;
    }
    if (!count || count.assume_value() + 1 != hashes) return blob_errc::bad_collection;
    std::vector<std::string> names;
    names.reserve(count.assume_value());
    for (std::size_t i = 0; i < count.assume_value(); ++i) {
        const auto name = from.string(max_collection_meta_bytes);
        if (!name && name.error() == codec::codec_errc::bad_utf8)
            return blob_errc::bad_name_encoding;
        if (!name) return blob_errc::bad_collection;
        names.emplace_back(name.assume_value());
    }
    return names;
}

}  // namespace copse::blob
