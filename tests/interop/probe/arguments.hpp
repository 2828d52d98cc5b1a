// The command line of the probe, and its lines.
#pragma once

#include <copse/bao/chunk_ranges.hpp>
#include <copse/core/address.hpp>
#include <copse/core/result.hpp>
#include <copse/hash/digest.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace probe {

using namespace copse;

/// This program could not do its part: exit code 2.
[[noreturn]] void give_up(const std::string& why);

/// Writes a line at once: the runner reads through a pipe.
void say(const std::string& line);

/// Options `--name value` and `--flag`, and plain words.
class arguments {
public:
    arguments(const std::vector<std::string>& input, std::initializer_list<std::string_view> valued,
              std::initializer_list<std::string_view> flags);

    [[nodiscard]] std::optional<std::string> get(std::string_view name) const;
    [[nodiscard]] bool has(std::string_view name) const { return get(name).has_value(); }
    [[nodiscard]] std::string need(std::string_view name) const;
    [[nodiscard]] std::vector<std::string> all(std::string_view name) const;
    [[nodiscard]] std::uint64_t number(std::string_view name, std::uint64_t otherwise) const;
    [[nodiscard]] std::chrono::seconds seconds(std::string_view name,
                                               std::uint64_t otherwise) const;

    std::vector<std::string> words;

private:
    std::vector<std::pair<std::string, std::string>> options_;
};

std::uint64_t to_number(std::string_view text);
bao::chunk_ranges to_ranges(std::string_view spec);
hash::digest to_hash(const std::string& text);
std::vector<std::byte> to_bytes(const std::string& hex);
socket_address to_address(const std::string& text);
std::vector<std::byte> read_file(const std::string& path);

template <class T>
T must(result<T> value, const std::string& what)
{
    if (!value) give_up(what + ": " + value.error().message());
    return std::move(value).assume_value();
}
inline void must(const result<void>& value, const std::string& what)
{
    if (!value) give_up(what + ": " + value.error().message());
}

}  // namespace probe
