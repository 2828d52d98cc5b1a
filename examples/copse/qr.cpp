#include "qr.hpp"

#ifdef COPSE_HAVE_QRENCODE
#include <qrencode.h>

#include <memory>
#endif

namespace app {

#ifdef COPSE_HAVE_QRENCODE

step<std::string> qr_text(std::string_view text)
{
    constexpr int margin = 4;  // ISO/IEC 18004, 5.3.8: the quiet zone
    const std::string terminated(text);
    const std::unique_ptr<QRcode, void (*)(QRcode*)> code(
        QRcode_encodeString8bit(terminated.c_str(), 0, QR_ECLEVEL_L), &QRcode_free);
    if (!code) return fail(exit_code::other, "the ticket is too long for a QR code");
    const int width = code->width;
    const auto dark = [&](int x, int y) {
        if (x < 0 || y < 0 || x >= width || y >= width) return false;
        return (code->data[y * width + x] & 1) != 0;
    };
    std::string out;
    for (int y = -margin; y < width + margin; y += 2) {
        if (!out.empty()) out += '\n';
        for (int x = -margin; x < width + margin; ++x) {
            // Below the last row of an odd number of rows there is nothing: not drawn.
            const bool upper = !dark(x, y);
            const bool lower = y + 1 < width + margin && !dark(x, y + 1);
            out += upper && lower ? "\xe2\x96\x88"
                   : upper        ? "\xe2\x96\x80"
                   : lower        ? "\xe2\x96\x84"
                                  : " ";
        }
    }
    return out;
}

#else

step<std::string> qr_text(std::string_view /*text*/)
{
    return fail(exit_code::other, "this copse was built without QR codes (libqrencode)");
}

#endif

}  // namespace app
