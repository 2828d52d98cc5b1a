// The commands of the program. Each prints its own output and returns how it ended.
#pragma once

#include "failure.hpp"

#include <chrono>
#include <string>
#include <vector>

namespace app {

using words = std::vector<std::string>;

step<exit_code> run_send(const words& input);
step<exit_code> run_recv(const words& input);
step<exit_code> run_hash(const words& input);
step<exit_code> run_id(const words& input);
step<exit_code> run_ticket(const words& input);

extern const char send_help[];
extern const char recv_help[];
extern const char hash_help[];
extern const char id_help[];
extern const char ticket_help[];

}  // namespace app
