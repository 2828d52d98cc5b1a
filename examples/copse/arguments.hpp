// The command line: `--name value`, `--name=value`, `--flag`, `-o value`, and plain words.
#pragma once

#include "failure.hpp"

#include <copse/core/address.hpp>

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace app {

/// An option that a command knows.
struct option_rule {
    std::string_view name;  ///< without the dashes
    bool takes_value = false;
    char letter = '\0';  ///< short form, if any
};

/// What follows the name of a command. `--help` is known to all.
class arguments {
public:
    /// \par Errors exit_code::usage.
    static step<arguments> parse(const std::vector<std::string>& input,
                                 std::initializer_list<option_rule> rules);

    [[nodiscard]] const std::vector<std::string>& words() const noexcept { return words_; }
    [[nodiscard]] bool has(std::string_view name) const noexcept { return last(name) != nullptr; }
    /// The last value given.
    [[nodiscard]] std::optional<std::string> get(std::string_view name) const;
    [[nodiscard]] std::vector<std::string> all(std::string_view name) const;

    /// All values of `--bind`, parsed.
    [[nodiscard]] step<std::vector<socket_address>> bind_addresses() const;
    /// A whole number from `least` to `most`, nullopt when the option is absent.
    [[nodiscard]] step<std::optional<std::uint64_t>> number(std::string_view name,
                                                            std::uint64_t least,
                                                            std::uint64_t most) const;

private:
    [[nodiscard]] const std::string* last(std::string_view name) const noexcept;

    std::vector<std::pair<std::string, std::string>> options_;
    std::vector<std::string> words_;
};

}  // namespace app
