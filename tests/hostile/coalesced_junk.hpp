// Datagrams of many long-header packets each, as small as they can be: a header for every few bytes.
#pragma once

#include "tests/hostile/packets.hpp"

namespace copse::hostile {

inline awaitable<void> coalesced_junk(stage& s)
{
    return pour(s, [](stage& of) {
        std::vector<std::byte> out = false_initial(of, {});
        out.resize(200);  // the first one's length was 1200: behind it nothing counts
        const auto dcid = of.noise(8);
        while (out.size() < 1400) {
            // Handshake packets with a length of 4.
            const auto one = long_header(0xe0, 1, dcid, {}, as_bytes("\x04junk"));
            out.insert(out.end(), one.begin(), one.end());
        }
        return out;
    });
}

}  // namespace copse::hostile
