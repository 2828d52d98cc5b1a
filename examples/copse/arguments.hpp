// The command line: `--name value`, `--name=value`, `--flag`, `-o value`, and plain words.
#pragma once

#include "failure.hpp"
#include "table.hpp"

#include <copse/core/address.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace app {

using words = std::vector<std::string>;

/// What follows the name of a command. `--help` is known to all.
class arguments {
public:
    /// \par Errors exit_code::usage.
    static step<arguments> parse(const words& input, const command_rule& command);

    [[nodiscard]] const words& plain() const noexcept { return words_; }
    [[nodiscard]] bool has(std::string_view name) const noexcept { return last(name) != nullptr; }
    /// The last value given.
    [[nodiscard]] std::optional<std::string> get(std::string_view name) const;
    [[nodiscard]] words all(std::string_view name) const;

    /// All values of `--bind`, parsed.
    [[nodiscard]] step<std::vector<socket_address>> bind_addresses() const;
    /// A whole number from `least` to `most`, nullopt when the option is absent.
    [[nodiscard]] step<std::optional<std::uint64_t>> number(std::string_view name,
                                                            std::uint64_t least,
                                                            std::uint64_t most) const;
    /// A number of bytes, such as 4096, 100K, 2M or 1G (of 1024); nullopt when absent.
    [[nodiscard]] step<std::optional<std::uint64_t>> size(std::string_view name) const;
    /// The same, of bytes a second: at least 1.
    [[nodiscard]] step<std::optional<std::uint64_t>> rate(std::string_view name) const;

private:
    [[nodiscard]] const std::string* last(std::string_view name) const noexcept;

    std::vector<std::pair<std::string, std::string>> options_;
    words words_;
};

}  // namespace app
