// The loop of the world: run what is ready, then let time pass until the next thing happens.
#pragma once

#include <copse/core/cancellation.hpp>
#include <copse/sim/world.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/this_coro.hpp>

#include <algorithm>
#include <cassert>
#include <exception>
#include <list>
#include <utility>

namespace copse::sim {

namespace detail {

inline constexpr auto never = std::chrono::nanoseconds::max();
// Handlers of one machine at one instant before it counts as a livelock.
inline constexpr std::uint64_t max_handlers_per_instant = 2'000'000;
// The world begins on 2026-01-01, so that dates look like dates.
inline constexpr auto wall_start = std::chrono::seconds(1'767'225'600);
// Each life's monotonic clock begins at an hour: zero would hide mistakes with "never".
inline constexpr auto monotonic_start = std::chrono::hours(1);

// How far a clock goes that is `drift` parts per million too fast. Never backwards from one nanosecond to
// the next, hence in two parts: the product as a whole would overflow after hours.
inline std::chrono::nanoseconds local_passed(std::chrono::nanoseconds passed,
                                             std::int64_t drift) noexcept
{
    constexpr std::int64_t million = 1'000'000;
    const std::int64_t n = passed.count();
    return std::chrono::nanoseconds(n + n / million * drift + n % million * drift / million);
}

// The time in which such a clock goes on by at least `wait`.
inline std::chrono::nanoseconds world_wait(std::chrono::nanoseconds wait,
                                           std::int64_t drift) noexcept
{
    constexpr std::int64_t million = 1'000'000;
    const std::int64_t n = wait.count();
    const std::int64_t rate = million + drift;
    const std::int64_t whole = n / rate;
    if (drift == 0) return wait;
    if (whole >= never.count() / million - 1) return never;
    return std::chrono::nanoseconds(whole * million + (n % rate) * million / rate + 2);
}

// The root of a program: what scope does for its children.
inline awaitable<std::error_code> run_program(awaitable<result<void>> program)
{
    co_await asio::this_coro::throw_if_cancelled(false);
    const bool go_on = co_await enter_coroutine();
    if (!go_on) co_return make_error_code(std::errc::operation_canceled);
    const auto value = co_await std::move(program);
    if (!value) co_return value.error();
    co_return std::error_code{};
}

}  // namespace detail

struct incarnation::state {
    explicit state(machine* m) : owner(m), work(asio::make_work_guard(io)) {}

    asio::io_context io{1};
    machine* owner;  ///< null: a ghost
    asio::executor_work_guard<asio::io_context::executor_type> work;
    std::list<asio::cancellation_signal> programs;
    std::error_code failure;
    std::exception_ptr thrown;
    std::chrono::nanoseconds next_timer = detail::never;  ///< of the world's time
    bool dirty = true;
    bool stopping = false;
    // What a ghost's clock shows: it goes on by itself.
    std::chrono::nanoseconds ghost_now{0};

    void stop() noexcept
    {
        stopping = true;
        dirty = true;
        for (auto it = programs.begin(); it != programs.end();) (it++)->emit(cancel_everything);
    }
};

bool incarnation::alive() const noexcept
{
    return state_->owner != nullptr;
}

executor incarnation::get_executor() const
{
    return state_->io.get_executor();
}

void incarnation::wake() const noexcept
{
    state_->dirty = true;
}

// ---- machine --------------------------------------------------------------------------------------

machine::machine(world& w, std::string name, std::size_t index)
    : world_(w),
      name_(std::move(name)),
      index_(index),
      state_(std::make_shared<incarnation::state>(this)),
      world_base_(w.now())
{
    local_base_ = detail::monotonic_start + w.now();
}

machine::~machine() = default;

incarnation machine::life() const noexcept
{
    return incarnation(state_);
}

void machine::start(awaitable<result<void>> program)
{
    incarnation::state& s = *state_;
    const auto it = s.programs.emplace(s.programs.end());
    asio::co_spawn(s.io, detail::run_program(std::move(program)),
                   asio::bind_cancellation_slot(it->slot(),
                                                [&s, it](std::exception_ptr e, std::error_code ec) {
                                                    s.programs.erase(it);
                                                    // Asio throws into a program that is stopped before it began.
                                                    if (e && !s.thrown && !s.stopping) s.thrown = e;
                                                    if (ec && !s.failure && !s.stopping)
                                                        s.failure = ec;
                                                }));
    s.dirty = true;
}

std::size_t machine::running() const noexcept
{
    return state_->programs.size();
}

std::error_code machine::failure() const noexcept
{
    return state_->failure;
}

void machine::stop() noexcept
{
    state_->stop();
}

void machine::crash()
{
    world_.record("crash", name_);
    auto old = std::exchange(state_, std::make_shared<incarnation::state>(this));
    old->owner = nullptr;
    old->ghost_now = detail::monotonic_start + world_.now();
    old->stop();
    world_.ghosts_.push_back(std::move(old));
}

void machine::freeze() noexcept
{
    frozen_ = true;
    world_.record("freeze", name_);
}

void machine::thaw() noexcept
{
    frozen_ = false;
    state_->dirty = true;
    world_.record("thaw", name_);
}

void machine::set_clock(std::chrono::nanoseconds offset, std::int64_t drift)
{
    assert(drift > -1'000'000);
    const auto passed = world_.now() - world_base_;
    local_base_ += detail::local_passed(passed, drift_);
    world_base_ = world_.now();
    wall_offset_ = offset;
    drift_ = drift;
    state_->dirty = true;
}

// ---- world ----------------------------------------------------------------------------------------

world::world(std::uint64_t seed)
    : seed_(seed),
      entropy_(fork("entropy")),
      outer_clock_(install_clock(this)),
      outer_entropy_(install_entropy(this))
{}

world::~world()
{
    for (auto& m : machines_) {
        m->state_->owner = nullptr;
        m->state_->ghost_now = detail::monotonic_start + now_;
        m->state_->stop();
        ghosts_.push_back(m->state_);
    }
    bury_ghosts();
    ghosts_.clear();
    heap_.clear();
    machines_.clear();
    install_entropy(outer_entropy_);
    install_clock(outer_clock_);
}

machine& world::add_machine(std::string name)
{
    machines_.push_back(std::make_unique<machine>(*this, std::move(name), machines_.size()));
    return *machines_.back();
}

rng world::fork(std::string_view purpose) const noexcept
{
    std::uint64_t mixed = seed_ ^ 0x9ae16a3b2f90404fU;
    for (const char c : purpose) {
        mixed = (mixed ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
        mixed = rng(mixed).next();
    }
    return rng(mixed);
}

bool world::later(const scheduled& a, const scheduled& b) noexcept
{
    return a.when != b.when ? a.when > b.when : a.order > b.order;
}

void world::at(std::chrono::nanoseconds when, std::function<void()> what)
{
    heap_.push_back({std::max(when, now_), next_order_++, std::move(what)});
    std::push_heap(heap_.begin(), heap_.end(), later);
}

// Runs what is ready in one life. True when anything ran.
bool world::run_life(incarnation::state& s)
{
    incarnation::state* const outer = std::exchange(current_, &s);
    if (watch_) watch_(s.owner);
    s.dirty = false;
    std::uint64_t ran = 0;
    for (;;) {
        // Asio asks real_wait() for its earliest timer whenever it looks for expired ones.
        s.next_timer = detail::never;
        // Not poll(), which never returns from a program that spins.
        if (s.io.poll_one() == 0) break;
        if (++ran <= detail::max_handlers_per_instant) continue;
        spins_ = true;
        break;
    }
    current_ = outer;
    if (watch_) watch_(outer ? outer->owner : nullptr);
    if (s.thrown) std::rethrow_exception(std::exchange(s.thrown, nullptr));
    return ran > 0;
}

// Ghosts have no effect and no time of the world: they end at once, each on a clock of its own.
void world::bury_ghosts()
{
    for (const auto& ghost : ghosts_) {
        while (!ghost->programs.empty()) {
            run_life(*ghost);
            if (ghost->programs.empty()) break;
            // A program that spins or waits for nothing after it was cancelled can never be joined.
            if (spins_ || ghost->next_timer == detail::never) std::terminate();
            ghost->ghost_now = std::max(ghost->ghost_now, ghost->next_timer);
        }
        ghost->work.reset();
        run_life(*ghost);
    }
    ghosts_.clear();
}

// Runs every machine until none has anything left to do at this instant. False: a livelock.
bool world::settle()
{
    for (unsigned rounds = 0; rounds < 1'000'000; ++rounds) {
        bool ran = false;
        for (std::size_t i = 0; i < machines_.size(); ++i) {
            machine& m = *machines_[i];
            if (m.frozen_) continue;
            const auto life = m.state_;  // a crash replaces it
            if (life->dirty || life->next_timer <= now_) ran = run_life(*life) || ran;
            if (std::exchange(spins_, false)) return false;
        }
        bury_ghosts();
        if (!ran) return true;
    }
    return false;
}

void world::wake_all() noexcept
{
    for (const auto& m : machines_) m->state_->dirty = true;
}

std::chrono::nanoseconds world::next_happening() const noexcept
{
    auto next = heap_.empty() ? detail::never : heap_.front().when;
    for (const auto& m : machines_) {
        if (!m->frozen_) next = std::min(next, m->state_->next_timer);
    }
    return next;
}

result<void> world::run_until(const std::function<bool()>& done, std::chrono::nanoseconds limit)
{
    wake_all();
    for (;;) {
        if (!settle()) return sim_errc::livelock;
        if (done()) return outcome::success();
        const auto next = next_happening();
        if (next == detail::never) return sim_errc::deadlock;
        if (next > limit) {
            now_ = std::max(now_, limit);
            return sim_errc::out_of_time;
        }
        now_ = std::max(now_, next);
        if (!heap_.empty() && heap_.front().when <= now_) {
            std::pop_heap(heap_.begin(), heap_.end(), later);
            const auto what = std::move(heap_.back().what);
            heap_.pop_back();
            ++happened_;
            what();
            wake_all();  // it may have called any program's objects
        }
    }
}

result<void> world::run_for(std::chrono::nanoseconds span)
{
    const auto end = now_ + span;
    const auto ran = run_until([] { return false; }, end);
    now_ = std::max(now_, end);
    if (!ran && ran.error() == sim_errc::livelock) return ran;
    return outcome::success();
}

void world::record(std::string_view what, std::string_view whom, byte_view bytes)
{
    const auto mix = [this](std::uint64_t v) { log_hash_ = rng(log_hash_ ^ v).next(); };
    mix(static_cast<std::uint64_t>(now_.count()));
    for (const std::string_view text : {what, whom}) {
        mix(text.size());
        for (const char c : text) mix(static_cast<unsigned char>(c));
    }
    mix(bytes.size());
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        word = word << 8 | std::to_integer<std::uint64_t>(bytes[i]);
        if (i % 8 == 7 || i + 1 == bytes.size()) mix(std::exchange(word, 0));
    }
    if (!sink_) return;
    std::string line = std::to_string(now_.count());
    line.append(" ").append(what).append(" ").append(whom);
    if (!bytes.empty()) line.append(" ").append(std::to_string(bytes.size()));
    sink_(line);
}

// ---- the seams ------------------------------------------------------------------------------------

time_point world::monotonic() noexcept
{
    if (!current_) return time_point{detail::monotonic_start + now_};
    if (!current_->owner) return time_point{current_->ghost_now};
    const machine& m = *current_->owner;
    const auto passed = now_ - m.world_base_;
    return time_point{m.local_base_ + detail::local_passed(passed, m.drift_)};
}

std::chrono::nanoseconds world::wall() noexcept
{
    const auto offset =
        current_ && current_->owner ? current_->owner->wall_offset_ : std::chrono::nanoseconds(0);
    return detail::wall_start + now_ + offset;
}

std::chrono::nanoseconds world::real_wait(std::chrono::nanoseconds wait) noexcept
{
    if (current_ && wait != detail::never) {
        auto base = now_;
        if (current_->owner) {
            // Rounded up: never a wake-up without effect.
            wait = detail::world_wait(wait, current_->owner->drift_);
        } else {
            base = current_->ghost_now;
        }
        current_->next_timer =
            base + std::min(wait, std::chrono::nanoseconds(detail::never - base));
    }
    return std::chrono::nanoseconds::zero();
}

void world::fill(byte_span out) noexcept
{
    while (!out.empty()) {
        std::uint64_t bits = entropy_.next();
        for (std::size_t i = 0; i < 8 && !out.empty(); ++i) {
            out.front() = static_cast<std::byte>(bits);
            bits >>= 8;
            out = out.subspan(1);
        }
    }
}

}  // namespace copse::sim
