// The commands of the program. Each prints its own output and returns how it ended.
#pragma once

#include "failure.hpp"

namespace app {

class arguments;

step<exit_code> run_send(const arguments& given);
step<exit_code> run_recv(const arguments& given);
step<exit_code> run_hash(const arguments& given);
step<exit_code> run_id(const arguments& given);
step<exit_code> run_ticket(const arguments& given);
step<exit_code> run_completion(const arguments& given);
step<exit_code> run_man(const arguments& given);

}  // namespace app
