#include "arguments.hpp"

#include <copse/codec/hex.hpp>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <span>
#include <stdexcept>

namespace probe {

void give_up(const std::string& why)
{
    throw std::runtime_error(why);
}

void say(const std::string& line)
{
    std::fwrite((line + "\n").data(), 1, line.size() + 1, stdout);
    std::fflush(stdout);
}

arguments::arguments(const std::vector<std::string>& input,
                     std::initializer_list<std::string_view> valued,
                     std::initializer_list<std::string_view> flags)
{
    const auto known = [](const auto& list, std::string_view name) {
        return std::find(list.begin(), list.end(), name) != list.end();
    };
    for (std::size_t i = 0; i < input.size(); ++i) {
        if (!input[i].starts_with("--")) {
            words.push_back(input[i]);
            continue;
        }
        const std::string name = input[i].substr(2);
        if (known(flags, name)) {
            options_.emplace_back(name, "");
        } else if (!known(valued, name)) {
            give_up("unknown option --" + name);
        } else if (++i == input.size()) {
            give_up("--" + name + " needs a value");
        } else {
            options_.emplace_back(name, input[i]);
        }
    }
}

std::optional<std::string> arguments::get(std::string_view name) const
{
    std::optional<std::string> out;
    for (const auto& [known, value] : options_) {
        if (known == name) out = value;
    }
    return out;
}

std::string arguments::need(std::string_view name) const
{
    const auto found = get(name);
    if (!found) give_up("--" + std::string(name) + " is missing");
    return *found;
}

std::vector<std::string> arguments::all(std::string_view name) const
{
    std::vector<std::string> out;
    for (const auto& [known, value] : options_) {
        if (known == name) out.push_back(value);
    }
    return out;
}

std::uint64_t arguments::number(std::string_view name, std::uint64_t otherwise) const
{
    const auto given = get(name);
    return given ? to_number(*given) : otherwise;
}

std::chrono::seconds arguments::seconds(std::string_view name, std::uint64_t otherwise) const
{
    return std::chrono::seconds(number(name, otherwise));
}

std::uint64_t to_number(std::string_view text)
{
    std::uint64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [rest, ec] = std::from_chars(text.data(), end, value);
    if (ec != std::errc() || rest != end) give_up("no number: " + std::string(text));
    return value;
}

bao::chunk_ranges to_ranges(std::string_view spec)
{
    using bao::chunk_ranges;
    chunk_ranges out;
    for (;;) {
        const std::size_t comma = spec.find(',');
        const std::string_view part = spec.substr(0, comma);
        const std::size_t dash = part.find('-');
        if (part == "all") {
            out |= chunk_ranges::all();
        } else if (part == "last") {
            out |= chunk_ranges::last_chunk();
        } else if (part == "none") {
            // nothing to add
        } else if (dash == part.npos) {
            const std::uint64_t chunk = to_number(part);
            if (chunk == chunk_ranges::max_chunk) give_up("chunk number too large");
            out |= chunk_ranges::range(chunk, chunk + 1);
        } else if (dash + 1 == part.size()) {
            out |= chunk_ranges::from(to_number(part.substr(0, dash)));
        } else {
            const std::uint64_t first = to_number(part.substr(0, dash));
            const std::uint64_t end = to_number(part.substr(dash + 1));
            if (first >= end) give_up("range " + std::string(part) + " is empty");
            out |= chunk_ranges::range(first, end);
        }
        if (comma == spec.npos) return out;
        spec.remove_prefix(comma + 1);
    }
}

hash::digest to_hash(const std::string& text)
{
    hash::digest out;
    if (!codec::decode_hex(text, out.bytes)) give_up("no hash: " + text);
    return out;
}

std::vector<std::byte> to_bytes(const std::string& hex)
{
    std::vector<std::byte> out(hex.size() / 2);
    if (!codec::decode_hex(hex, out)) give_up("no hexadecimal text: " + hex);
    return out;
}

socket_address to_address(const std::string& text)
{
    const auto address = socket_address::parse(text);
    if (!address) give_up("no address: " + text);
    return address.value();
}

std::vector<std::byte> read_file(const std::string& path)
{
    std::ifstream in(path, std::ios::binary);
    if (!in) give_up("cannot read " + path);
    std::vector<char> text(std::istreambuf_iterator<char>(in), {});
    const byte_view bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
}

}  // namespace probe
