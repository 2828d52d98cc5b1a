// Storms of frames, each of which is cheap to send and could be dear to receive.
#pragma once

#include "tests/hostile/forged_frames.hpp"

#include <array>

namespace copse::hostile {

/// A thousand PING frames in a packet.
inline awaitable<void> ping_storm(stage& s)
{
    return forge_frames(s, [&s](std::span<std::uint8_t> frames) {
        for (auto& b : frames) b = 0x01;
        s.acted(frames.size());
    });
}

/// Challenges of a path, each of which is to be answered (RFC 9000 section 8.2).
inline awaitable<void> challenge_storm(stage& s)
{
    return forge_frames(s, [&s](std::span<std::uint8_t> frames) {
        frame_writer to(frames);
        std::array<std::uint8_t, 8> data{};
        do {
            const std::uint64_t n = s.dice.next();
            for (std::size_t i = 0; i < 8; ++i) data[i] = static_cast<std::uint8_t>(n >> (8 * i));
            s.acted();
        } while (to.frame({0x1a}, data));
    });
}

/// One byte of a stream in every two: none can be delivered, and each leaves a gap.
inline awaitable<void> sparse_streams(stage& s)
{
    const std::array<std::uint8_t, 1> byte{0x55};
    return forge_frames(s,
                        [&s, byte, at = std::uint64_t{0}](std::span<std::uint8_t> frames) mutable {
                            frame_writer to(frames);
                            for (;; ++at) {
                                // ngtcp2 gives up a stream of a thousand gaps: less, in each of the streams one may open.
                                const std::uint64_t stream = at / 900 % 100 * 4;
                                const std::uint64_t offset = 1 + at % 900 * 2;
                                if (!to.frame({0x0e, stream, offset, 1}, byte)) break;
                                s.acted();
                            }
                        });
}

/// A stream a byte at a time, each in a frame of its own.
inline awaitable<void> single_bytes(stage& s)
{
    const std::array<std::uint8_t, 1> byte{0x00};
    return forge_frames(s,
                        [&s, byte, at = std::uint64_t{0}](std::span<std::uint8_t> frames) mutable {
                            frame_writer to(frames);
                            // A Get that never ends.
                            for (;; ++at) {
                                const std::uint64_t stream = at / 60'000 % 7 * 4;
                                if (!to.frame({0x0e, stream, at % 60'000, 1}, byte)) break;
                                s.acted();
                            }
                        });
}

/// Connection ids that are issued again after they were retired.
inline awaitable<void> connection_ids_again(stage& s)
{
    return forge_frames(s, [&s, n = std::uint64_t{2}](std::span<std::uint8_t> frames) mutable {
        frame_writer to(frames);
        std::array<std::uint8_t, 25> id{};
        for (++n;; ++n) {
            // Each retires those below, which then come twice.
            for (const std::uint64_t sequence : {n, n - 1, n - 1}) {
                id.fill(static_cast<std::uint8_t>(sequence));
                id[0] = 8;
                if (!to.frame({0x18, sequence, sequence == n ? n : 0}, id)) return;
                s.acted();
            }
        }
    });
}

/// New connection ids that retire those before them: each is to be answered.
inline awaitable<void> connection_id_storm(stage& s)
{
    return forge_frames(s, [&s, n = std::uint64_t{1}](std::span<std::uint8_t> frames) mutable {
        frame_writer to(frames);
        std::array<std::uint8_t, 25> id{};
        for (;; ++n) {
            id[0] = 8;
            for (std::size_t i = 1; i < id.size(); ++i)
                id[i] = static_cast<std::uint8_t>(s.dice.next());
            if (!to.frame({0x18, n, n}, id)) break;
            s.acted();
        }
    });
}

/// Acknowledgements of packets that were never sent: an error each, and a new connection.
inline awaitable<void> false_acknowledgements(stage& s)
{
    return forge_frames(s, [&s](std::span<std::uint8_t> frames) {
        frame_writer to(frames);
        to.frame({0x02, (std::uint64_t{1} << 30) + s.dice.below(1000), 0, 0, 0});
        s.acted();
    });
}

/// Acknowledgements of the same few packets with as many ranges as there is room for.
inline awaitable<void> ragged_acknowledgements(stage& s)
{
    return forge_frames(s, [&s, packets = 0](std::span<std::uint8_t> frames) mutable {
        frame_writer to(frames);
        // Of the packets 2 and 0, as often as there is room: more than a hundred frames.
        if (++packets < 20) return;
        to.frame({0x01});  // else nobody acknowledges the acknowledgements
        while (to.frame({0x02, 2, 0, 1, 0, 0, 0})) s.acted();
    });
}

/// Credit, limits and blockages, announced again and again.
inline awaitable<void> credit_storm(stage& s)
{
    return forge_frames(s, [&s, n = std::uint64_t{1000}](std::span<std::uint8_t> frames) mutable {
        frame_writer to(frames);
        bool fits = true;
        while (fits) {
            ++n;
            switch (s.dice.below(6)) {
            case 0: fits = to.frame({0x10, n}); break;
            case 1: fits = to.frame({0x12, n}); break;
            case 2: fits = to.frame({0x13, n}); break;
            case 3: fits = to.frame({0x14, n}); break;
            case 4: fits = to.frame({0x15, s.dice.below(7) * 4, n}); break;
            default: fits = to.frame({0x11, s.dice.below(7) * 4, n}); break;
            }
            s.acted();
        }
    });
}

/// Streams that begin and end by a reset that nothing precedes, and requests to stop them.
inline awaitable<void> reset_storm(stage& s)
{
    return forge_frames(s, [&s, n = std::uint64_t{0}](std::span<std::uint8_t> frames) mutable {
        frame_writer to(frames);
        for (;; ++n) {
            const std::uint64_t stream = n % 100 * 4;
            if (!to.frame({0x04, stream, 7, 0}) || !to.frame({0x05, stream, 7})) break;
            s.acted();
        }
    });
}

/// TLS messages after the handshake.
inline awaitable<void> crypto_storm(stage& s)
{
    return forge_frames(s, [&s, at = std::uint64_t{0}](std::span<std::uint8_t> frames) mutable {
        frame_writer to(frames);
        const std::array<std::uint8_t, 8> data{4, 0, 0, 4, 1, 2, 3, 4};
        while (to.frame({0x06, at, data.size()}, data)) {
            at += data.size();
            s.acted();
        }
    });
}

/// Frames of any kind with anything in them.
inline awaitable<void> frame_noise(stage& s)
{
    return forge_frames(s, [&s](std::span<std::uint8_t> frames) {
        for (auto& b : frames) b = static_cast<std::uint8_t>(s.dice.next());
        frames[0] = static_cast<std::uint8_t>(s.dice.below(0x32));
        s.acted();
    });
}

}  // namespace copse::hostile
