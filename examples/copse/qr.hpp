// A text as a QR code for a terminal.
#pragma once

#include "failure.hpp"

#include <string>
#include <string_view>

namespace app {

/// Rows of half blocks, light modules drawn, as terminals with a dark background need it; four
/// modules of margin.
/// \par Errors exit_code::other when this program was built without libqrencode, or the text is too
///      long for a code.
step<std::string> qr_text(std::string_view text);

}  // namespace app
