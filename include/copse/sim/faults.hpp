// What goes wrong in a world, as data: a plan of timed faults that is drawn from a seed, printed, read
// again, shortened and applied to machines, their places in the network and their disks.
#pragma once

#include <copse/core/result.hpp>
#include <copse/sim/disk.hpp>
#include <copse/sim/network.hpp>
#include <copse/sim/pool.hpp>
#include <copse/sim/rng.hpp>
#include <copse/sim/world.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace copse::sim {

/// What can go wrong. Unless said otherwise a fault is over after its span, or never when that is 0.
enum class fault_kind : std::uint8_t {
    crash,            ///< power loss; on again after the span, at once when that is 0
    kill,             ///< its programs die, its disk lives; started again after the span
    freeze,           ///< the machine does nothing
    partition,        ///< no way between the target and the other one
    isolate,          ///< no way between the target and any other
    one_way,          ///< no way from the target to the other one
    forget_mappings,  ///< its address translator restarts; no span
    readdress,        ///< it moves to another address; no span
    drop_all,         ///< all datagrams under way in the whole network are lost; no span
    clock_step,       ///< amount: milliseconds by which its wall clock is wrong
    clock_drift,      ///< amount: parts per million by which its monotonic clock is too fast
    loss,             ///< amount: thousandths of its datagrams lost, each direction
    reorder,          ///< amount: thousandths of its datagrams overtaken, each direction
    duplicate,        ///< amount: thousandths of its datagrams that arrive twice, each direction
    corrupt,          ///< amount: thousandths of its datagrams with a flipped bit, each direction
    delay,            ///< amount: further milliseconds on the way, each direction
    slow,             ///< amount: bytes per second of its link, each direction
    small_mtu,        ///< amount: bytes of the largest IP packet on its link
    disk_errors,  ///< amount: thousandths of reads, writes and syncs that fail, some in the middle
    slow_disk,    ///< amount: milliseconds that each job of its pool may take longer
    disk_full,    ///< amount: bytes that still fit
    bit_rot,      ///< amount: thousandths of reads that find a flipped bit, for good
};

/// How many kinds there are.
inline constexpr std::size_t fault_kinds = 22;

/// The name of a kind, as in the text of a plan: `crash`, `clock_step`.
[[nodiscard]] std::string_view name_of(fault_kind kind) noexcept;

/// One fault.
struct fault {
    std::chrono::microseconds at{0};      ///< after the start of the plan
    fault_kind kind = fault_kind::crash;  ///< what goes wrong
    std::size_t target = 0;               ///< index into the targets
    std::size_t other = 0;                ///< the second one; partition, one_way
    std::chrono::microseconds span{0};    ///< how long it lasts
    std::int64_t amount = 0;              ///< what the kind says

    /// The same in every respect.
    friend bool operator==(const fault&, const fault&) = default;
};

/// Faults in the order of their times.
using fault_plan = std::vector<fault>;

/// Most faults that a plan may have.
inline constexpr std::size_t max_plan_faults = 10'000;

/// A plan as text: `at:kind:target[-other][+span][=amount]`, times in microseconds, separated by spaces;
/// `none` when it is empty. Example: `1500000:crash:1+300000 2000000:partition:0-1+500000`.
[[nodiscard]] std::string to_text(const fault_plan& plan);
/// Reads what to_text() wrote; lines and spaces separate alike.
/// \par Errors std::errc::invalid_argument, std::errc::argument_list_too_long beyond max_plan_faults.
[[nodiscard]] result<fault_plan> parse_fault_plan(std::string_view text);

/// One kind that may be drawn, and within which bounds.
struct fault_choice {
    fault_kind kind = fault_kind::crash;    ///< which
    unsigned weight = 1;                    ///< how often, compared with the others
    std::vector<std::size_t> targets = {};  ///< whom it may hit; empty: anyone
    std::chrono::microseconds longest{0};   ///< longest span; 0: what is usual for the kind
    std::int64_t least = 0;                 ///< least amount; both 0: what is usual for the kind
    std::int64_t most = 0;                  ///< greatest amount
};

/// What draw_faults() draws.
struct fault_options {
    std::vector<fault_choice> choices = {};                           ///< empty: no faults
    std::chrono::microseconds first{0};                               ///< none before
    std::chrono::microseconds until = std::chrono::minutes(1);        ///< none after
    std::chrono::microseconds gap = std::chrono::milliseconds(1500);  ///< most between two
    std::size_t most = 200;                                           ///< faults in all
};

/// A plan by chance. \param targets how many there are; choices for none of them are left out.
[[nodiscard]] fault_plan draw_faults(rng& random, const fault_options& options,
                                     std::size_t targets);

/// What faults are applied to. Everything must outlive the driver.
struct fault_target {
    machine* computer = nullptr;       ///< never null
    host* place = nullptr;             ///< null: faults of the network pass it by
    disk* storage = nullptr;           ///< null: faults of disks pass it by
    std::function<void()> restart;     ///< starts its programs after a crash or a kill
    std::function<void()> moved = {};  ///< called after it got another address: time to bind anew
    pool_options* work = nullptr;      ///< of its pools; null: it has no slow disk
};

/// Applies a plan to a world. Faults of a kind that overlap add up, and each ends at its own time.
/// \par Lifetime longer than the world runs.
/// \par Threads the world's.
class fault_driver {
public:
    /// \param net null in a world without a network. \param seen called for each fault that takes effect.
    fault_driver(world& w, network* net, std::vector<fault_target> targets,
                 std::function<void(fault_kind)> seen = {});
    fault_driver(const fault_driver&) = delete;
    fault_driver& operator=(const fault_driver&) = delete;
    ~fault_driver();

    /// Schedules a plan from now on. Faults whose target is missing or has no such part pass.
    void schedule(const fault_plan& plan);
    /// No fault begins any more. Those that have begun still end at their time.
    void stop() noexcept { stopped_ = true; }
    /// stop(), and ends all faults now: machines are on again, networks and disks as they were.
    void heal();
    /// Faults that have taken effect.
    [[nodiscard]] std::size_t applied() const noexcept { return applied_; }
    /// Whether a target is off after a crash or a kill.
    [[nodiscard]] bool off(std::size_t target) const;

private:
    struct normal {
        link_options up;
        link_options down;
        disk_options storage;
        pool_options work;
    };

    void begin(const fault& f);
    void end(std::uint64_t id);
    bool possible(const fault& f) const;
    void crash(fault_target& t, fault_kind kind);
    void apply(const fault& f);
    void apply_network(std::size_t target);
    void apply_disk(std::size_t target);
    void apply_ways();
    [[nodiscard]] std::int64_t sum(fault_kind kind, std::size_t target) const;

    world& world_;
    network* network_;
    std::vector<fault_target> targets_;
    std::vector<normal> normal_;
    std::function<void(fault_kind)> seen_;
    std::map<std::uint64_t, fault> active_;
    std::set<std::pair<std::size_t, std::size_t>> cut_;
    std::uint64_t next_id_ = 0;
    std::size_t applied_ = 0;
    std::uint8_t moves_ = 0;
    bool stopped_ = false;
};

}  // namespace copse::sim
