// Faults take effect: what is active is kept, and the state of a target always follows from all of it.
#pragma once

#include <copse/sim/faults.hpp>

#include <algorithm>
#include <cassert>

namespace copse::sim {

namespace detail {

inline bool ends_life(fault_kind kind) noexcept
{
    return kind == fault_kind::crash || kind == fault_kind::kill;
}

}  // namespace detail

fault_driver::fault_driver(world& w, network* net, std::vector<fault_target> targets,
                           std::function<void(fault_kind)> seen)
    : world_(w), network_(net), targets_(std::move(targets)), seen_(std::move(seen))
{
    for (const fault_target& t : targets_) {
        assert(t.computer);
        normal n;
        if (t.place) {
            n.up = t.place->up;
            n.down = t.place->down;
        }
        if (t.storage) n.storage = t.storage->options;
        if (t.work) n.work = *t.work;
        normal_.push_back(n);
    }
}

fault_driver::~fault_driver() = default;

void fault_driver::schedule(const fault_plan& plan)
{
    for (const fault& f : plan) {
        world_.after(f.at, [this, f] {
            if (!stopped_) begin(f);
        });
    }
}

bool fault_driver::possible(const fault& f) const
{
    if (f.target >= targets_.size()) return false;
    const fault_target& t = targets_[f.target];
    switch (f.kind) {
    case fault_kind::crash:
    case fault_kind::kill:
        // Power that is off cannot fail.
        return t.restart && !off(f.target);
    case fault_kind::freeze:
    case fault_kind::clock_step:
    case fault_kind::clock_drift: return true;
    case fault_kind::partition:
    case fault_kind::one_way:
        return network_ && f.other < targets_.size() && f.other != f.target && t.place &&
               targets_[f.other].place;
    case fault_kind::drop_all: return network_ != nullptr;
    case fault_kind::isolate:
    case fault_kind::forget_mappings:
    case fault_kind::readdress:
    case fault_kind::loss:
    case fault_kind::reorder:
    case fault_kind::duplicate:
    case fault_kind::corrupt:
    case fault_kind::delay:
    case fault_kind::slow:
    case fault_kind::small_mtu: return network_ && t.place;
    case fault_kind::disk_errors:
    case fault_kind::disk_full:
    case fault_kind::bit_rot: return t.storage != nullptr;
    case fault_kind::slow_disk: return t.work != nullptr;
    }
    return false;
}

bool fault_driver::off(std::size_t target) const
{
    return std::any_of(active_.begin(), active_.end(), [&](const auto& a) {
        return detail::ends_life(a.second.kind) && a.second.target == target;
    });
}

void fault_driver::crash(fault_target& t, fault_kind kind)
{
    t.computer->crash();
    if (t.storage && kind == fault_kind::crash) t.storage->crash();
}

void fault_driver::begin(const fault& f)
{
    if (!possible(f)) return;
    ++applied_;
    world_.record("fault", to_text({f}));
    if (seen_) seen_(f.kind);
    fault_target& t = targets_[f.target];
    switch (f.kind) {
    case fault_kind::forget_mappings: t.place->forget_mappings(); return;
    case fault_kind::drop_all: network_->drop_all(); return;
    case fault_kind::readdress: {
        // A fresh address of the same kind: public ones are 198.18.x.y, others 10.0.x.y.
        auto ip = t.place->address().ip;
        const auto n = static_cast<std::uint8_t>(++moves_);
        t.place->readdress({ip[0], static_cast<std::uint8_t>(ip[0] == 10 ? 1 : 19), n,
                            static_cast<std::uint8_t>(f.target + 1)});
        if (t.moved && !off(f.target)) t.moved();
        return;
    }
    case fault_kind::crash:
    case fault_kind::kill:
        crash(t, f.kind);
        if (f.span.count() == 0) {
            t.restart();
            return;
        }
        break;
    default: break;
    }
    const auto id = next_id_++;
    fault& begun = active_.emplace(id, f).first->second;
    if (f.kind == fault_kind::disk_full) {
        begun.amount += static_cast<std::int64_t>(t.storage->used_bytes());
    }
    apply(f);
    if (f.span.count() > 0) world_.after(f.span, [this, id] { end(id); });
}

void fault_driver::end(std::uint64_t id)
{
    const auto at = active_.find(id);
    if (at == active_.end()) return;
    const fault f = at->second;
    active_.erase(at);
    if (detail::ends_life(f.kind)) targets_[f.target].restart();
    else apply(f);
}

void fault_driver::heal()
{
    stop();
    while (!active_.empty()) end(active_.begin()->first);
}

std::int64_t fault_driver::sum(fault_kind kind, std::size_t target) const
{
    std::int64_t total = 0;
    for (const auto& [id, f] : active_) {
        if (f.kind == kind && f.target == target) total += f.amount;
    }
    return total;
}

void fault_driver::apply(const fault& f)
{
    fault_target& t = targets_[f.target];
    switch (f.kind) {
    case fault_kind::freeze: {
        const bool frozen = std::any_of(active_.begin(), active_.end(), [&](const auto& a) {
            return a.second.kind == fault_kind::freeze && a.second.target == f.target;
        });
        if (frozen && !t.computer->frozen()) t.computer->freeze();
        if (!frozen && t.computer->frozen()) t.computer->thaw();
        return;
    }
    case fault_kind::clock_step:
    case fault_kind::clock_drift: {
        constexpr std::int64_t most_drift = 900'000;
        const auto drift = sum(fault_kind::clock_drift, f.target);
        t.computer->set_clock(std::chrono::milliseconds(sum(fault_kind::clock_step, f.target)),
                              std::clamp(drift, -most_drift, most_drift));
        return;
    }
    case fault_kind::partition:
    case fault_kind::one_way:
    case fault_kind::isolate: apply_ways(); return;
    case fault_kind::slow_disk:
        t.work->delay = normal_[f.target].work.delay +
                        std::chrono::milliseconds(sum(fault_kind::slow_disk, f.target));
        return;
    case fault_kind::loss:
    case fault_kind::reorder:
    case fault_kind::duplicate:
    case fault_kind::corrupt:
    case fault_kind::delay:
    case fault_kind::slow:
    case fault_kind::small_mtu: apply_network(f.target); return;
    case fault_kind::disk_errors:
    case fault_kind::disk_full:
    case fault_kind::bit_rot: apply_disk(f.target); return;
    case fault_kind::crash:
    case fault_kind::kill:
    case fault_kind::forget_mappings:
    case fault_kind::readdress:
    case fault_kind::drop_all: return;
    }
}

void fault_driver::apply_network(std::size_t target)
{
    const auto chance = [&](unsigned base, fault_kind kind) {
        return static_cast<unsigned>(std::min<std::int64_t>(1000, base + sum(kind, target)));
    };
    host& h = *targets_[target].place;
    for (const bool up : {true, false}) {
        link_options& now = up ? h.up : h.down;
        const link_options& base = up ? normal_[target].up : normal_[target].down;
        now.loss = chance(base.loss, fault_kind::loss);
        now.reorder = chance(base.reorder, fault_kind::reorder);
        now.duplicate = chance(base.duplicate, fault_kind::duplicate);
        now.corrupt = chance(base.corrupt, fault_kind::corrupt);
        now.latency = base.latency + std::chrono::milliseconds(sum(fault_kind::delay, target));
        now.bytes_per_second = base.bytes_per_second;
        now.mtu = base.mtu;
        for (const auto& [id, f] : active_) {
            if (f.target != target) continue;
            const auto amount = static_cast<std::uint64_t>(f.amount);
            if (f.kind == fault_kind::small_mtu) now.mtu = std::min<std::size_t>(now.mtu, amount);
            if (f.kind == fault_kind::slow &&
                (now.bytes_per_second == 0 || amount < now.bytes_per_second)) {
                now.bytes_per_second = amount;
            }
        }
    }
}

void fault_driver::apply_disk(std::size_t target)
{
    disk& d = *targets_[target].storage;
    const disk_options& base = normal_[target].storage;
    const auto chance = [&](unsigned normally, fault_kind kind) {
        return static_cast<unsigned>(std::min<std::int64_t>(1000, normally + sum(kind, target)));
    };
    d.options.read_error = chance(base.read_error, fault_kind::disk_errors);
    d.options.write_error = chance(base.write_error, fault_kind::disk_errors);
    d.options.short_read = chance(base.short_read, fault_kind::disk_errors);
    d.options.short_write = chance(base.short_write, fault_kind::disk_errors);
    d.options.sync_error = chance(base.sync_error, fault_kind::disk_errors);
    d.options.bit_rot = chance(base.bit_rot, fault_kind::bit_rot);
    d.options.capacity = base.capacity;
    for (const auto& [id, f] : active_) {
        if (f.kind != fault_kind::disk_full || f.target != target) continue;
        d.options.capacity = std::min(d.options.capacity, static_cast<std::uint64_t>(f.amount));
    }
}

void fault_driver::apply_ways()
{
    std::set<std::pair<std::size_t, std::size_t>> wanted;  // from, to
    for (const auto& [id, f] : active_) {
        for (std::size_t i = 0; i < targets_.size(); ++i) {
            const bool one = f.kind == fault_kind::one_way && i == f.other;
            const bool both = (f.kind == fault_kind::partition && i == f.other) ||
                              (f.kind == fault_kind::isolate && i != f.target);
            if (!targets_[i].place) continue;
            if (one || both) wanted.insert({f.target, i});
            if (both) wanted.insert({i, f.target});
        }
    }
    const auto set = [this](const auto& way, bool cut) {
        network_->partition_one_way(*targets_[way.first].place, *targets_[way.second].place, cut);
    };
    for (const auto& pair : cut_) {
        if (!wanted.contains(pair)) set(pair, false);
    }
    for (const auto& pair : wanted) {
        if (!cut_.contains(pair)) set(pair, true);
    }
    cut_ = std::move(wanted);
}

}  // namespace copse::sim
