#include "arguments.hpp"

#include <algorithm>
#include <charconv>

namespace app {

namespace {

const option_rule* find_rule(std::span<const option_rule> rules, std::string_view name, char letter)
{
    static constexpr option_rule help{"help", 'h', "", completes::nothing, ""};
    const auto matches = [&](const option_rule& r) {
        return letter ? r.letter == letter : r.name == name;
    };
    const auto found = std::ranges::find_if(rules, matches);
    if (found != rules.end()) return &*found;
    return matches(help) ? &help : nullptr;
}

}  // namespace

step<arguments> arguments::parse(const words& input, const command_rule& command)
{
    const auto rules = command.options;
    arguments out;
    bool only_words = false;
    for (std::size_t i = 0; i < input.size(); ++i) {
        const std::string& arg = input[i];
        if (only_words || arg.size() < 2 || arg[0] != '-') {
            out.words_.push_back(arg);
            continue;
        }
        if (arg == "--") {
            only_words = true;
            continue;
        }
        const bool is_long = arg[1] == '-';
        const std::size_t equals = is_long ? arg.find('=') : std::string::npos;
        const std::string shown = arg.substr(0, is_long ? equals : 2);
        const option_rule* const rule =
            is_long ? find_rule(rules, shown.substr(2), '\0') : find_rule(rules, {}, arg[1]);
        if (!rule) return fail(exit_code::usage, "unknown option " + shown_path(shown));
        std::string value;
        const bool attached = is_long ? equals != std::string::npos : arg.size() > 2;
        if (rule->value.empty()) {
            if (attached) return fail(exit_code::usage, shown + " takes no value");
        } else if (attached) {
            value = is_long ? arg.substr(equals + 1) : arg.substr(2);
        } else if (++i < input.size()) {
            value = input[i];
        } else {
            return fail(exit_code::usage, shown + " needs a value");
        }
        out.options_.emplace_back(std::string(rule->name), std::move(value));
    }
    return out;
}

const std::string* arguments::last(std::string_view name) const noexcept
{
    const auto found = std::find_if(options_.rbegin(), options_.rend(),
                                    [&](const auto& option) { return option.first == name; });
    return found == options_.rend() ? nullptr : &found->second;
}

std::optional<std::string> arguments::get(std::string_view name) const
{
    const std::string* const found = last(name);
    if (!found) return std::nullopt;
    return *found;
}

words arguments::all(std::string_view name) const
{
    words out;
    for (const auto& [known, value] : options_) {
        if (known == name) out.push_back(value);
    }
    return out;
}

step<std::vector<socket_address>> arguments::bind_addresses() const
{
    std::vector<socket_address> out;
    for (const std::string& text : all("bind")) {
        const auto address = socket_address::parse(text);
        if (!address) {
            return fail(exit_code::usage, "--bind " + shown_path(text) +
                                              " is not an address and a port, such as "
                                              "192.0.2.1:4433 or [::]:0");
        }
        out.push_back(address.assume_value());
    }
    return out;
}

step<std::optional<std::uint64_t>> arguments::number(std::string_view name, std::uint64_t least,
                                                     std::uint64_t most) const
{
    const std::string* const text = last(name);
    if (!text) return std::optional<std::uint64_t>();
    std::uint64_t value = 0;
    const char* const end = text->data() + text->size();
    const auto [rest, ec] = std::from_chars(text->data(), end, value);
    if (ec != std::errc() || rest != end || value < least || value > most) {
        return fail(exit_code::usage, "--" + std::string(name) + " takes a number from " +
                                          std::to_string(least) + " to " + std::to_string(most));
    }
    return std::optional<std::uint64_t>(value);
}

step<std::optional<std::uint64_t>> arguments::size(std::string_view name) const
{
    static constexpr std::string_view units = "KMGT";
    const std::string* const text = last(name);
    if (!text) return std::optional<std::uint64_t>();
    std::uint64_t value = 0;
    const char* const end = text->data() + text->size();
    auto [rest, ec] = std::from_chars(text->data(), end, value);
    bool good = ec == std::errc();
    if (good && rest != end) {
        const std::size_t unit = units.find(*rest);
        const unsigned shift = 10 * static_cast<unsigned>(unit + 1);
        good = unit != units.npos && rest + 1 == end && value << shift >> shift == value;
        if (good) value <<= shift;
    }
    if (good) return std::optional<std::uint64_t>(value);
    return fail(exit_code::usage, "--" + std::string(name) +
                                      " takes a number of bytes, such as "
                                      "4096, 100K, 2M or 1G");
}

step<std::optional<std::uint64_t>> arguments::rate(std::string_view name) const
{
    COPSE_TRY(const auto value, size(name));
    if (!value || *value > 0) return value;
    return fail(exit_code::usage, "--" + std::string(name) + " takes more than 0 bytes a second");
}

}  // namespace app
