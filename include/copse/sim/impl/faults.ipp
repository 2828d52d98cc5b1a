// Plans of faults: drawing them, and their text.
#pragma once

#include <copse/sim/faults.hpp>

#include <algorithm>
#include <charconv>

namespace copse::sim {

namespace detail {

struct fault_habit {
    std::string_view name;
    std::chrono::milliseconds longest;  ///< 0: has no span
    std::int64_t least;
    std::int64_t most;
};

// What is usual for each kind, in the order of the enum.
inline constexpr std::array<fault_habit, fault_kinds> fault_habits{{
    {"crash", std::chrono::milliseconds(2000), 0, 0},
    {"kill", std::chrono::milliseconds(2000), 0, 0},
    {"freeze", std::chrono::milliseconds(2000), 0, 0},
    {"partition", std::chrono::milliseconds(3000), 0, 0},
    {"isolate", std::chrono::milliseconds(3000), 0, 0},
    {"one_way", std::chrono::milliseconds(3000), 0, 0},
    {"forget_mappings", std::chrono::milliseconds(0), 0, 0},
    {"readdress", std::chrono::milliseconds(0), 0, 0},
    {"drop_all", std::chrono::milliseconds(0), 0, 0},
    {"clock_step", std::chrono::milliseconds(20'000), -86'400'000, 86'400'000},
    {"clock_drift", std::chrono::milliseconds(20'000), -100'000, 100'000},
    {"loss", std::chrono::milliseconds(3000), 10, 500},
    {"reorder", std::chrono::milliseconds(3000), 10, 500},
    {"duplicate", std::chrono::milliseconds(3000), 10, 500},
    {"corrupt", std::chrono::milliseconds(3000), 1, 100},
    {"delay", std::chrono::milliseconds(3000), 1, 500},
    {"slow", std::chrono::milliseconds(3000), 20'000, 2'000'000},
    {"small_mtu", std::chrono::milliseconds(3000), 1228, 1400},
    {"disk_errors", std::chrono::milliseconds(2000), 1, 300},
    {"slow_disk", std::chrono::milliseconds(5000), 1, 1000},
    {"disk_full", std::chrono::milliseconds(2000), 0, 300'000},
    {"bit_rot", std::chrono::milliseconds(2000), 1, 100},
}};

inline bool has_other(fault_kind kind) noexcept
{
    return kind == fault_kind::partition || kind == fault_kind::one_way;
}

inline const fault_habit& habit(fault_kind kind) noexcept
{
    return fault_habits[static_cast<std::size_t>(kind)];
}

inline std::chrono::microseconds draw_span(rng& random, std::chrono::microseconds longest)
{
    if (longest.count() <= 0) return std::chrono::microseconds(0);
    return std::chrono::microseconds(1 + random.below(static_cast<std::uint64_t>(longest.count())));
}

// Takes a number behind `mark`, when that comes next.
template <class Number>
bool take_number(std::string_view& text, Number& out)
{
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (ec != std::errc()) return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return true;
}

inline bool take_mark(std::string_view& text, char mark)
{
    if (text.empty() || text.front() != mark) return false;
    text.remove_prefix(1);
    return true;
}

inline bool parse_fault(std::string_view text, fault& out)
{
    std::uint32_t number = 0;
    std::int64_t time = 0;
    if (!take_number(text, time) || time < 0 || !take_mark(text, ':')) return false;
    out.at = std::chrono::microseconds(time);
    const auto colon = text.find(':');
    const auto known =
        std::find_if(fault_habits.begin(), fault_habits.end(),
                     [&](const fault_habit& h) { return h.name == text.substr(0, colon); });
    if (colon == std::string_view::npos || known == fault_habits.end()) return false;
    out.kind = static_cast<fault_kind>(known - fault_habits.begin());
    text.remove_prefix(colon + 1);
    if (!take_number(text, number)) return false;
    out.target = number;
    if (take_mark(text, '-')) {
        if (!take_number(text, number)) return false;
        out.other = number;
    }
    if (take_mark(text, '+')) {
        if (!take_number(text, time) || time < 0) return false;
        out.span = std::chrono::microseconds(time);
    }
    if (take_mark(text, '=') && !take_number(text, out.amount)) return false;
    return text.empty();
}

}  // namespace detail

std::string_view name_of(fault_kind kind) noexcept
{
    return detail::habit(kind).name;
}

std::string to_text(const fault_plan& plan)
{
    if (plan.empty()) return "none";
    std::string out;
    for (const fault& f : plan) {
        if (!out.empty()) out += ' ';
        out += std::to_string(f.at.count()) + ':';
        out += name_of(f.kind);
        out += ':' + std::to_string(f.target);
        if (detail::has_other(f.kind)) out += '-' + std::to_string(f.other);
        if (f.span.count() != 0) out += '+' + std::to_string(f.span.count());
        if (f.amount != 0) out += '=' + std::to_string(f.amount);
    }
    return out;
}

result<fault_plan> parse_fault_plan(std::string_view text)
{
    constexpr std::string_view space = " \t\r\n";
    fault_plan out;
    bool none = false;
    for (;;) {
        text.remove_prefix(std::min(text.find_first_not_of(space), text.size()));
        if (text.empty()) break;
        const auto word = text.substr(0, text.find_first_of(space));
        text.remove_prefix(word.size());
        if (word == "none") {
            none = true;
            continue;
        }
        if (out.size() == max_plan_faults) {
            return make_error_code(std::errc::argument_list_too_long);
        }
        fault f;
        if (!detail::parse_fault(word, f)) return make_error_code(std::errc::invalid_argument);
        out.push_back(f);
    }
    if (none != out.empty()) return make_error_code(std::errc::invalid_argument);
    std::stable_sort(out.begin(), out.end(),
                     [](const fault& a, const fault& b) { return a.at < b.at; });
    return out;
}

fault_plan draw_faults(rng& random, const fault_options& options, std::size_t targets)
{
    fault_plan out;
    std::vector<fault_choice> choices;
    std::uint64_t weights = 0;
    for (fault_choice c : options.choices) {
        if (c.targets.empty()) {
            for (std::size_t i = 0; i < targets; ++i) c.targets.push_back(i);
        }
        std::erase_if(c.targets, [&](std::size_t t) { return t >= targets; });
        if (c.targets.empty() || (detail::has_other(c.kind) && targets < 2)) continue;
        weights += c.weight;
        choices.push_back(std::move(c));
    }
    if (weights == 0) return out;
    auto now = options.first;
    const auto most = std::min(options.most, max_plan_faults);
    for (;;) {
        now += std::max(detail::draw_span(random, options.gap), std::chrono::microseconds(1));
        if (now > options.until || out.size() >= most) return out;
        std::uint64_t draw = random.below(weights);
        auto choice = choices.begin();
        while (draw >= choice->weight) draw -= choice++->weight;
        const detail::fault_habit& usual = detail::habit(choice->kind);
        fault f;
        f.at = now;
        f.kind = choice->kind;
        f.target = choice->targets[random.below(choice->targets.size())];
        if (detail::has_other(f.kind)) {
            f.other = random.below(targets - 1);
            if (f.other >= f.target) ++f.other;
        }
        // A machine that is on again at once is the hardest to notice for others.
        const bool off = f.kind == fault_kind::crash || f.kind == fault_kind::kill;
        if (!off || random.happens(500)) {
            f.span = detail::draw_span(random, choice->longest.count() > 0 ? choice->longest
                                                                           : usual.longest);
        }
        const bool given = choice->least != 0 || choice->most != 0;
        const auto least = given ? choice->least : usual.least;
        const auto greatest = given ? choice->most : usual.most;
        f.amount = least + static_cast<std::int64_t>(
                               random.below(static_cast<std::uint64_t>(greatest - least) + 1));
        out.push_back(f);
    }
}

}  // namespace copse::sim
