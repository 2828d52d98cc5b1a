// Sending answers: what a connection may hold, whose turn it is, and who is given up.
#pragma once

#include <copse/blob/impl/answer.ipp>
#include <copse/core/event.hpp>
#include <copse/core/race.hpp>
#include <copse/core/transport.hpp>

#include <algorithm>
#include <cassert>
#include <deque>
#include <list>
#include <memory>
#include <utility>

namespace copse::blob::detail {

/// What one connection may hold. Lives as long as its buffers: the transport keeps those of a stream
/// that was reset or cancelled until they are acknowledged, longer than the provider.
struct held_buffers {
    held_buffers(const executor& ex, std::size_t bytes)
        : held("provide: buffers of a connection", bytes), returned(ex)
    {}
    budget held;
    event returned;
    std::uint64_t released = 0;  ///< bytes that came back
};

/// A filled buffer that the transport keeps until it is acknowledged.
struct sent_buffer {
    sent_buffer(std::shared_ptr<held_buffers> o, disk::leaf_pool::buffer b, credit c)
        : owner(std::move(o)), buffer(std::move(b)), share(std::move(c))
    {}
    sent_buffer(const sent_buffer&) = delete;
    sent_buffer& operator=(const sent_buffer&) = delete;
    ~sent_buffer()
    {
        owner->released += share.amount();
        if (of_answer) *of_answer += filled;
        share.reset();
        owner->returned.notify_all();
    }
    std::shared_ptr<held_buffers> owner;
    disk::leaf_pool::buffer buffer;
    credit share;
    std::size_t filled = 0;
    std::shared_ptr<std::uint64_t> of_answer;  ///< counts what came back of one answer
};

/// An answer on its way, as the watchdog sees it.
struct sending {
    explicit sending(send_stream& s) : stream(s) {}

    /// How much the peer's transport has, as far as it is known.
    [[nodiscard]] std::uint64_t acknowledged() const
    {
        return std::max(stream.acknowledged_bytes(), *released);
    }

    struct mark {
        std::uint64_t wire = 0;     ///< once so many bytes are acknowledged,
        std::uint64_t payload = 0;  ///< so many of them are payload
    };

    send_stream& stream;
    request_info request;
    std::uint64_t given = 0;  ///< bytes given to the transport
    std::shared_ptr<std::uint64_t> released = std::make_shared<std::uint64_t>(0);
    bool confirms = false;  ///< whether confirm() runs
    std::deque<mark> unconfirmed;
    std::uint64_t confirmed = 0;
    bool waits = false;    ///< for a buffer or its turn: not the peer's fault
    std::error_code over;  ///< why the watchdog ended it
    // Of the watchdog.
    std::uint64_t seen = 0;
    std::chrono::nanoseconds quiet{};
    std::uint64_t slow_since = 0;
    std::chrono::nanoseconds slow{};
};

/// Sends the answers of one connection.
class answer_sender final {
public:
    struct limits {
        std::size_t connection_bytes = 0;
        std::uint64_t bytes_per_s = 0;
        std::chrono::nanoseconds progress_timeout{};
        std::chrono::nanoseconds reclaim_timeout{};
    };
    using sent_function = std::function<void(answer&, std::uint64_t payload)>;

    answer_sender(std::shared_ptr<connection> c, provide_environment& env, const limits& l)
        : connection_(std::move(c)),
          env_(env),
          limits_(l),
          own_rate_(l.bytes_per_s),
          held_(std::make_shared<held_buffers>(connection_->get_executor(), l.connection_bytes))
    {
        assert(limits_.connection_bytes >= provide_buffer_bytes);
        assert(env_.buffers.extent_bytes() >= provide_buffer_bytes);
    }
    answer_sender(const answer_sender&) = delete;
    answer_sender& operator=(const answer_sender&) = delete;

    /// Gives all of `reply` to the stream, ends it and waits until the peer has it.
    /// \param sent called for each buffer that was given; may be empty.
    awaitable<std::error_code> send(answer& reply, sending& to, const sent_function& sent)
    {
        const auto entry = active_.insert(active_.end(), &to);
        std::error_code error = co_await give(reply, to, sent);
        if (!error) {
            to.stream.finish();
            const auto acknowledged = co_await to.stream.acknowledged();
            if (!acknowledged) error = acknowledged.error();
        }
        active_.erase(entry);
        if (to.over) co_return to.over;
        co_return error;
    }

    /// Gives up peers that take nothing, until cancelled.
    awaitable<void> watch()
    {
        const auto tick = std::min(limits_.progress_timeout, limits_.reclaim_timeout) / 4;
        std::uint64_t released = 0;
        std::chrono::nanoseconds silent{};
        for (;;) {
            const std::error_code ec = co_await sleep_for(tick);
            if (ec) co_return;
            const bool contended = env_.buffers.contended();
            for (sending* const s : active_) judge(*s, contended, tick);
            // A peer that acknowledges nothing of what is under way is not there any more.
            const bool moved = held_->released != std::exchange(released, held_->released);
            if (moved || !contended || held_->held.used() == 0) silent = {};
            else silent += tick;
            if (silent >= 2 * limits_.reclaim_timeout)
                connection_->close(static_cast<std::uint64_t>(wire_code::limit), "no progress");
        }
    }

    /// Tells what was acknowledged, until cancelled.
    awaitable<void> confirm(const std::function<void(const request_info&, std::uint64_t)>& tell)
    {
        for (;;) {
            const std::error_code ec = co_await held_->returned.wait();
            if (ec) co_return;
            for (sending* const s : active_) {
                const std::uint64_t acknowledged = s->stream.acknowledged_bytes();
                const std::uint64_t before = s->confirmed;
                while (!s->unconfirmed.empty() && s->unconfirmed.front().wire <= acknowledged) {
                    s->confirmed = s->unconfirmed.front().payload;
                    s->unconfirmed.pop_front();
                }
                if (s->confirmed != before) tell(s->request, s->confirmed);
            }
        }
    }

    /// Bytes read and not yet acknowledged.
    [[nodiscard]] std::size_t held() const noexcept { return held_->held.used(); }

private:
    struct slot_waiter final : disk::leaf_pool::waiter {
        explicit slot_waiter(const executor& ex) : came(ex) {}
        void buffer_available() noexcept override { came.notify_all(); }
        event came;
    };

    void judge(sending& s, bool contended, std::chrono::nanoseconds tick)
    {
        if (s.over) return;
        const std::uint64_t acknowledged = s.acknowledged();
        const std::uint64_t moved = s.given + acknowledged;
        if (moved != std::exchange(s.seen, moved) || s.waits) s.quiet = {};
        else s.quiet += tick;
        const bool fine = !contended || s.given <= acknowledged ||
                          acknowledged - s.slow_since >= least_progress_bytes;
        if (fine) {
            s.slow_since = acknowledged;
            s.slow = {};
        } else {
            s.slow += tick;
        }
        const bool reclaim = s.slow >= limits_.reclaim_timeout;
        if (!reclaim && s.quiet < limits_.progress_timeout) return;
        if (reclaim && env_.share) ++env_.share->counters.reclaimed;
        s.over = blob_errc::stalled;
        s.stream.reset(static_cast<std::uint64_t>(wire_code::limit));
    }

    awaitable<std::error_code> give(answer& reply, sending& to, const sent_function& sent)
    {
        while (!reply.done()) {
            to.waits = true;
            const std::error_code turn = co_await wait_for_turn();
            if (turn) co_return turn;
            to.waits = held_->held.used() == 0;
            auto share = co_await take_share();
            if (!share) co_return share.error();
            to.waits = true;
            auto slot = co_await take_buffer();
            to.waits = false;
            if (!slot) co_return slot.error();
            const auto taken = std::make_shared<sent_buffer>(held_, std::move(slot).assume_value(),
                                                             std::move(share).assume_value());
            const std::uint64_t payload = reply.payload_bytes();
            auto job = [&reply, &taken] { return reply.fill(taken->buffer.bytes()); };
            const auto filled = co_await offload(env_.pool, job);
            if (!filled) co_return filled.error();
            if (filled.assume_value() == 0) continue;
            taken->filled = filled.assume_value();
            taken->of_answer = to.released;
            shared_bytes data;
            data.bytes = taken->buffer.bytes().first(filled.assume_value());
            data.owner = taken;
            to.given += filled.assume_value();
            if (to.confirms) to.unconfirmed.push_back({to.given, reply.payload_bytes()});
            charge(filled.assume_value());
            const auto written = co_await to.stream.write(std::move(data));
            if (!written) co_return written.error();
            if (sent) sent(reply, reply.payload_bytes() - payload);
        }
        co_return std::error_code{};
    }

    awaitable<std::error_code> wait_for_turn()
    {
        if (own_rate_.rate() > 0) {
            const std::error_code ec = co_await own_rate_.ready();
            if (ec) co_return ec;
        }
        if (env_.share && env_.share->upload.rate() > 0) {
            const std::error_code ec = co_await env_.share->upload.ready();
            if (ec) co_return ec;
        }
        co_return std::error_code{};
    }

    void charge(std::size_t bytes) noexcept
    {
        own_rate_.charge(bytes);
        if (env_.share) env_.share->upload.charge(bytes);
    }

    // Who holds a buffer while others wait does not queue for a second one, so that they are lent in
    // turn and a slow peer keeps one of them. It is woken when its own comes back.
    awaitable<result<credit>> take_share()
    {
        for (;;) {
            if (held_->held.used() == 0 || !env_.buffers.contended()) {
                credit share = held_->held.try_take(provide_buffer_bytes);
                if (share) co_return std::move(share);
            }
            const std::error_code ec = co_await held_->returned.wait();
            if (ec) co_return ec;
        }
    }

    awaitable<result<disk::leaf_pool::buffer>> take_buffer()
    {
        auto at_once = env_.buffers.try_take(provide_buffer_bytes);
        if (at_once) co_return std::move(*at_once);
        slot_waiter waiter(connection_->get_executor());
        env_.buffers.wait(waiter);
        for (;;) {
            auto slot = env_.buffers.try_take(provide_buffer_bytes, &waiter);
            if (slot) {
                env_.buffers.leave(waiter);
                co_return std::move(*slot);
            }
            const std::error_code ec = co_await waiter.came.wait();
            if (ec) {
                env_.buffers.leave(waiter);
                co_return ec;
            }
        }
    }

    std::shared_ptr<connection> connection_;
    provide_environment& env_;
    const limits limits_;
    rate_limiter own_rate_;
    std::shared_ptr<held_buffers> held_;
    std::list<sending*> active_;
};

}  // namespace copse::blob::detail
