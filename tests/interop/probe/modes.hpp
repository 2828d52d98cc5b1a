// The modes of the program, one file each. Each takes what follows its name on the command line.
#pragma once

#include <copse/core/asio.hpp>

#include <string>
#include <vector>

namespace probe {

using copse::awaitable;

awaitable<bool> get(std::vector<std::string> input);
awaitable<bool> get_many(std::vector<std::string> input);
awaitable<bool> observe(std::vector<std::string> input);
awaitable<bool> provide(std::vector<std::string> input);
awaitable<bool> push(std::vector<std::string> input);
awaitable<bool> raw(std::vector<std::string> input);

}  // namespace probe
