// Where hostile peers meet a node: a victim that provides blobs, an honest getter, and the hostile host,
// each on a link of its own in a world; with an account of what the victim uses meanwhile.
#pragma once

#include "tests/hostile/heap.hpp"

#include <copse/blob/fetch.hpp>
#include <copse/blob/provide.hpp>
#include <copse/core/result.hpp>
#include <copse/quic/endpoint.hpp>
#include <copse/sim/network.hpp>
#include <copse/sim/world.hpp>
#include <copse/store/memory_store.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace copse::hostile {

class stage;

/// A hostile peer: acts until `stage::over`. Its machine is asked to stop then too.
using actor = std::function<awaitable<void>(stage&)>;
/// What a victim does besides providing, with its endpoint: to fetch from a hostile provider, say.
using errand = std::function<awaitable<void>(stage&, quic::endpoint&, blob::fetch_environment&)>;

/// Settings of a play.
struct stage_options {
    std::uint64_t seed = 1;
    quic::endpoint_options victim;  ///< its endpoint
    blob::provide_options provide;
    blob::provide_limits limits;
    std::size_t buffers = 8U << 20;                            ///< of the provider
    std::uint64_t hostile_bytes_per_s = 1'000'000;             ///< each way
    std::chrono::nanoseconds alone = std::chrono::seconds(2);  ///< before the honest come
    errand victims_errand;
};

/// What a play cost the victim and the honest.
struct figures {
    std::string error;  ///< of the play itself: empty when everything ended as it should
    std::size_t heap_before = 0;
    std::size_t heap_peak = 0;  ///< while attacked
    std::size_t heap_after = 0;
    // While the attack was alone; without one, while the honest fetched.
    std::uint64_t bytes_in = 0;
    std::uint64_t datagrams_in = 0;
    std::uint64_t bytes_out = 0;
    std::uint64_t allocations = 0;
    std::chrono::nanoseconds cpu{0};

    std::chrono::nanoseconds honest{0};  ///< what the honest took for everything they fetch
    std::size_t connections_after = 0;
    quic::endpoint_statistics endpoint;
    blob::provide_counters provider;
    std::uint64_t acts = 0;  ///< what the actor counted with stage::acted()

    [[nodiscard]] double cpu_per_byte() const
    {
        return bytes_in == 0 ? 0 : double(cpu.count()) / double(bytes_in);
    }
};

/// Plays an actor against a victim, while honest peers fetch; none without an actor.
figures play(const actor& hostile, const stage_options& options = {});

/// What an actor may cost.
struct bounds {
    std::size_t heap = 4U << 20;  ///< more than without the attack, in bytes
    double cpu = 4;               ///< CPU a byte received, in those of an honest getter
    double share = 0.5;           ///< least part of their rate that honest peers keep
    /// Of the heap when all is over, more than without the attack: a buffer of the provider's pool, which
    /// is kept for reuse, and what the world keeps.
    std::size_t left = 512U << 10;
};

/// Plays it, prints a line of figures and checks them against the bounds.
figures check(const std::string& name, const actor& hostile, const bounds& allowed = {},
              const stage_options& options = {});

/// Blobs that everybody knows.
struct contents {
    static const contents& get();
    std::vector<std::byte> large;               ///< 2 MiB
    std::vector<std::vector<std::byte>> small;  ///< 4 of 256 KiB
    std::vector<std::byte> list;                ///< of 4096 hashes, all of them of small blobs
    hash::digest large_root;
    std::vector<hash::digest> small_roots;
    hash::digest list_root;
};

/// The machine whose code runs, null: none.
const sim::machine* running_machine() noexcept;

/// What an actor sees.
class stage {
public:
    explicit stage(const stage_options& o);
    stage(const stage&) = delete;
    stage& operator=(const stage&) = delete;

    const stage_options options;
    sim::world world;
    sim::network net;
    sim::host& victim;
    sim::host& honest;
    sim::host& ground;            ///< the hostile host
    sim::rng dice;                ///< the actor's
    endpoint_address where;       ///< the victim
    endpoint_address hostile_at;  ///< where a hostile provider listens
    bool over = false;            ///< actors end
    std::uint64_t acts = 0;
    /// Sees each datagram of the honest; for attackers on their way.
    std::function<void(const outgoing_datagrams&)> overhear;

    // While the victim runs.
    quic::endpoint* endpoint = nullptr;
    blob::provide_share* share = nullptr;

    void acted(std::uint64_t n = 1) noexcept { acts += n; }
    /// The victim's socket.
    [[nodiscard]] socket_address target() const { return victim.address(443); }
    /// An endpoint on the hostile host; through a socket of its own when none is given.
    quic::endpoint dialler(quic::endpoint_options o = {},
                           std::unique_ptr<datagram_socket> through = nullptr);
    /// A connection to the victim's provider, null when it is refused.
    awaitable<std::shared_ptr<connection>> dial(quic::endpoint& from);
    /// Lets time pass. \return false once the play is over.
    awaitable<bool> pause(std::chrono::nanoseconds time);
    /// An address that nobody has.
    socket_address nobody();
    /// Bytes of the dice.
    std::vector<std::byte> noise(std::size_t size);
    /// Sends the victim a datagram under any name.
    void forge(const socket_address& from, byte_view bytes) { ground.forge(from, target(), bytes); }
};

}  // namespace copse::hostile
