// The file that holds who this node is.
#pragma once

#include "failure.hpp"

#include <copse/quic/identity.hpp>

#include <optional>
#include <string>

namespace app {

/// `${COPSE_HOME:-${XDG_CONFIG_HOME:-$HOME/.config}/copse}/key`, nullopt without any of them.
[[nodiscard]] std::optional<std::string> default_key_path();

/// Reads the key at `path`: 64 hexadecimal digits, in a file that nobody else can read. Makes a new
/// one when there is none, and the folder that it is in.
/// \par Errors exit_code::files.
[[nodiscard]] step<quic::secret_key> load_or_create_key(const std::string& path);

}  // namespace app
