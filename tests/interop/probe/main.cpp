// copse_probe: copse's library behind the command line of the interoperability tests, which
// ../README.md describes.
#include "arguments.hpp"
#include "modes.hpp"

#include <copse/core/run.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <iterator>

namespace {

using namespace probe;

constexpr struct {
    std::string_view name;
    awaitable<bool> (*run)(std::vector<std::string>);
} modes[] = {
    {"get", get},         {"get-many", get_many}, {"observe", observe},
    {"provide", provide}, {"push", push},         {"raw", raw},
};

awaitable<result<void>> run(std::string command, std::vector<std::string> rest, bool& good)
{
    const auto* const mode = std::find_if(std::begin(modes), std::end(modes),
                                          [&](const auto& m) { return m.name == command; });
    if (mode == std::end(modes)) {
        std::string names;
        for (const auto& m : modes) names += (names.empty() ? "" : "|") + std::string(m.name);
        give_up("usage: copse_probe " + names + " ..., see tests/interop/README.md");
    }
    good = co_await mode->run(std::move(rest));
    co_return outcome::success();
}

}  // namespace

int main(int argc, char** argv)
{
    const std::vector<std::string> input(argv + std::min(argc, 1), argv + argc);
    try {
        bool good = false;
        const std::string command = input.empty() ? "" : input.front();
        const std::vector<std::string> rest(input.begin() + (input.empty() ? 0 : 1), input.end());
        must(run_until_complete(run(command, rest, good)), "probe");
        return good ? 0 : 1;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "copse_probe: %s\n", e.what());
        return 2;
    }
}
