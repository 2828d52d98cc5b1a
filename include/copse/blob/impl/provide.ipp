// Answers to Get requests: a blocking part that reads and verifies on the pool, and a coroutine that
// feeds the stream.
#pragma once

#include <copse/bao/encode_core.hpp>
#include <copse/blob/impl/fetch.ipp>
#include <copse/blob/provide.hpp>
#include <copse/core/event.hpp>
#include <copse/core/race.hpp>
#include <copse/core/scope.hpp>
#include <copse/store/error.hpp>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <list>

namespace copse::blob {

namespace detail {

inline constexpr std::size_t answer_extent_groups = 16;

/// The answer to one request as a sequence of filled buffers. Blocking; one thread at a time.
class answer {
public:
    answer(store::blob_store& from, get_request wanted)
        : from_(from), request_(std::move(wanted)), cursor_(request_.ranges)
    {}

    /// Fills `out` with as much of the answer as fits, verified; less only at the end.
    /// \return bytes written; done() says whether more follow.
    /// \par Errors after an error the bytes of this call are worthless, earlier ones are good.
    result<std::size_t> fill(byte_span out)
    {
        std::size_t used = 0;
        while (!done_) {
            if (!core_) {
                COPSE_TRYV(next_blob());
                if (done_) break;
            }
            if (prefix_.empty() && !extent_) {
                COPSE_TRY(extent_, next_extent());
                if (prefix_.empty() && !extent_) {
                    core_.reset();
                    reader_.reset();
                    ++blobs_;
                    continue;
                }
            }
            const std::size_t needed = prefix_.size() + (extent_ ? extent_->wire_bytes : 0);
            if (needed > out.size() - used) break;
            std::memcpy(out.data() + used, prefix_.data(), prefix_.size());
            used += prefix_.size();
            other_ += prefix_.size();
            prefix_.clear();
            if (extent_) {
                COPSE_TRYV(write_extent(*extent_, out.subspan(used, extent_->wire_bytes)));
                used += extent_->wire_bytes;
                extent_.reset();
            }
        }
        return used;
    }

    [[nodiscard]] bool done() const noexcept { return done_; }
    [[nodiscard]] std::uint64_t payload_bytes() const noexcept { return payload_; }
    [[nodiscard]] std::uint64_t other_bytes() const noexcept { return other_; }
    [[nodiscard]] std::uint64_t blobs() const noexcept { return blobs_; }

private:
    result<void> next_blob()
    {
        const auto index = cursor_.next_wanted(next_index_);
        if (!index) {
            done_ = true;
            return outcome::success();
        }
        hash::digest id = request_.hash;
        if (*index > 0) {
            if (!sequence_) {
                COPSE_TRY(sequence_, read_blob(from_, request_.hash, max_hash_sequence_bytes));
                if (!hash_sequence::is_valid_size(sequence_->size())) {
                    return blob_errc::bad_hash_sequence;
                }
            }
            const std::uint64_t child = *index - 1;
            if (child >= sequence_->size() / 32) {
                done_ = true;
                return outcome::success();
            }
            std::memcpy(id.bytes.data(), sequence_->data() + 32 * child, 32);
        }
        next_index_ = *index + 1;
        COPSE_TRY(reader_, from_.open(id));
        core_.emplace(id, reader_->size(), cursor_.ranges(), answer_extent_groups);
        const bao::chunk_ranges groups = core_->selected().round_up_to_groups();
        const std::uint64_t chunks = bao::chunk_count(reader_->size());
        present_ = reader_->present();
        const auto needed = groups & bao::chunk_ranges::range(0, chunks);
        if (!(needed - present_).empty()) return store::store_errc::missing;
        return outcome::success();
    }

    result<std::optional<bao::extent_job>> next_extent()
    {
        std::error_code failed;
        std::array<std::byte, bao::pair_size> pair{};
        bao::mismatch where;
        const auto lookup = [&](const bao::upper_pair& at) -> bao::pair_view {
            const bool full = reader_->pair_granularity() == bao::group_chunks;
            const auto read = reader_->read_pairs(full ? at.group_index : at.extent_index, pair);
            if (!read && !failed) failed = read.error();
            return pair;
        };
        auto extent = core_->next(lookup, prefix_, where);
        if (failed) return failed;
        return extent;
    }

    result<void> write_extent(const bao::extent_job& job, byte_span out)
    {
        bao::mismatch where;
        if (job.whole) {
            // From the file to its place in the answer; the pairs go into the gaps.
            const bao::extent_layout plan = layout(job);
            std::array<byte_span, bao::max_extent_groups> parts;
            std::size_t n = 0;
            for (const auto& leaf : plan.leaves())
                parts[n++] = out.subspan(leaf.out_offset, leaf.length);
            COPSE_TRYV(reader_->read(std::span<const byte_span>(parts).first(n), job.offset()));
            COPSE_TRYV(bao::finish_extent(job, out, where));
            payload_ += job.length();
            other_ += job.wire_bytes - job.length();
            return outcome::success();
        }
        scratch_.resize(job.length());
        const bool have_all = present_.covers(job.node.first, job.node.end());
        std::vector<std::byte> pairs;
        if (have_all) {
            const byte_span all(scratch_);
            COPSE_TRYV(reader_->read(std::span(&all, 1), job.offset()));
        } else {
            const bao::chunk_ranges groups = job.needed_groups();
            for (std::size_t i = 0; i < groups.interval_count(); ++i) {
                const auto part = groups.interval(i);
                const std::uint64_t first = bao::byte_offset(part.first);
                const std::uint64_t end = bao::byte_end(part.end, job.size);
                const byte_span bytes =
                    byte_span(scratch_).subspan(static_cast<std::size_t>(first - job.offset()),
                                                static_cast<std::size_t>(end - first));
                COPSE_TRYV(reader_->read(std::span(&bytes, 1), first));
            }
            pairs.resize((job.groups() - 1) * bao::pair_size);
            COPSE_TRYV(reader_->read_pairs(job.pair_index, pairs));
        }
        COPSE_TRYV(bao::encode_extent(job, scratch_, pairs, out, where));
        std::uint64_t leaf = 0;
        for (std::size_t i = 0; i < job.selected.interval_count(); ++i) {
            const auto part = job.selected.interval(i);
            leaf += bao::byte_end(part.end, job.size) - bao::byte_offset(part.first);
        }
        payload_ += leaf;
        other_ += job.wire_bytes - leaf;
        return outcome::success();
    }

    store::blob_store& from_;
    get_request request_;
    ranges_seq::cursor cursor_;
    std::uint64_t next_index_ = 0;
    std::optional<std::vector<std::byte>> sequence_;
    std::shared_ptr<store::blob_reader> reader_;
    bao::chunk_ranges present_;
    std::optional<bao::encode_core> core_;
    std::optional<bao::extent_job> extent_;
    std::vector<std::byte> prefix_;
    std::vector<std::byte> scratch_;
    std::uint64_t payload_ = 0;
    std::uint64_t other_ = 0;
    std::uint64_t blobs_ = 0;
    bool done_ = false;
};

/// The requests of one connection.
class provider final {
public:
    provider(std::shared_ptr<connection> c, provide_environment& env, provide_options options)
        : connection_(std::move(c)),
          env_(env),
          options_(std::move(options)),
          share_(std::make_shared<shared_limit>(connection_->get_executor(),
                                                options_.connection_bytes)),
          requests_(connection_->get_executor()),
          watcher_(connection_->get_executor())
    {
        assert(options_.connection_bytes >= provide_buffer_bytes);
        assert(env_.buffers.extent_bytes() >= provide_buffer_bytes);
    }

    awaitable<close_reason> run()
    {
        watcher_.spawn(watch());
        std::error_code stopped;
        for (;;) {
            stopped = co_await requests_.wait_below(options_.max_requests);
            if (stopped) break;
            auto next = co_await connection_->accept_bi();
            if (!next) {
                stopped = next.error();
                break;
            }
            requests_.spawn(serve(std::move(next).assume_value()));
        }
        requests_.request_stop();
        const auto joined = co_await requests_.join();
        static_cast<void>(joined);  // requests report through options_.finished
        watcher_.request_stop();
        const auto watched = co_await watcher_.join();
        static_cast<void>(watched);
        // What is still under way holds buffers of the environment, which may end now too.
        if (share_->held.used() > 0)
            connection_->close(static_cast<std::uint64_t>(wire_code::dropped), {});
        close_reason why;
        why.error = stopped;
        if (const auto closed = connection_->why_closed()) why = *closed;
        co_return why;
    }

private:
    /// What the watchdog sees of a request.
    struct active {
        send_stream* send = nullptr;
        std::uint64_t moved = 0;  ///< bytes given to the transport
        std::uint64_t seen = 0;
        int quiet = 0;
        bool starved = false;  ///< waits for a buffer that others hold: not the getter's fault
    };

    struct slot_waiter final : disk::leaf_pool::waiter {
        explicit slot_waiter(const executor& ex) : came(ex) {}
        void buffer_available() noexcept override { came.notify_all(); }
        event came;
    };

    /// What one connection may hold. Lives as long as its buffers: the transport keeps those of a
    /// stream that was reset or cancelled until they are acknowledged, longer than the provider.
    struct shared_limit {
        shared_limit(const executor& ex, std::size_t bytes)
            : held("provide: buffers of a connection", bytes), returned(ex)
        {}
        budget held;
        event returned;
    };

    /// A filled buffer that the transport keeps until it is acknowledged.
    struct sent_buffer {
        sent_buffer(std::shared_ptr<shared_limit> l, disk::leaf_pool::buffer b, credit c)
            : limit(std::move(l)), buffer(std::move(b)), share(std::move(c))
        {}
        sent_buffer(const sent_buffer&) = delete;
        sent_buffer& operator=(const sent_buffer&) = delete;
        ~sent_buffer()
        {
            share.reset();
            limit->returned.notify_all();
        }
        std::shared_ptr<shared_limit> limit;
        disk::leaf_pool::buffer buffer;
        credit share;
    };

    awaitable<void> watch()
    {
        for (;;) {
            const std::error_code ec = co_await sleep_for(options_.progress_timeout / 4);
            if (ec) co_return;
            for (active& a : active_) {
                if (a.moved != std::exchange(a.seen, a.moved) || a.starved) a.quiet = 0;
                else if (++a.quiet == 4)
                    a.send->reset(static_cast<std::uint64_t>(wire_code::limit));
            }
        }
    }

    awaitable<void> serve(bidi_stream stream)
    {
        provide_report report;
        const std::error_code error = co_await answer_request(stream, report);
        report.error = error;
        if (error) {
            const wire_code code = to_wire_code(error);
            stream.send->reset(static_cast<std::uint64_t>(code));
            stream.recv->stop(static_cast<std::uint64_t>(code));
        }
        if (options_.finished) options_.finished(report);
    }

    awaitable<std::error_code> answer_request(bidi_stream& stream, provide_report& report)
    {
        auto reading = read_request(*stream.recv);
        auto wanted = co_await with_timeout(std::move(reading), options_.request_timeout);
        if (!wanted) co_return wanted.error();
        report.root = wanted.assume_value().hash;
        answer reply(env_.store, std::move(wanted).assume_value());
        const auto entry = active_.insert(active_.end(), active{});
        entry->send = stream.send.get();
        const std::error_code error = co_await send_answer(reply, *stream.send, *entry);
        report.payload_bytes = reply.payload_bytes();
        report.other_bytes = reply.other_bytes();
        report.blobs = reply.blobs();
        if (!error) {
            stream.send->finish();
            const auto acknowledged = co_await stream.send->acknowledged();
            report.acknowledged = acknowledged.has_value();
            active_.erase(entry);
            if (!acknowledged) co_return acknowledged.error();
            co_return std::error_code{};
        }
        active_.erase(entry);
        co_return error;
    }

    awaitable<result<get_request>> read_request(recv_stream& from)
    {
        std::vector<std::byte> bytes;
        std::vector<std::byte> part(4096);
        for (;;) {
            const auto n = co_await from.read(part);
            if (!n) co_return n.error();
            if (n.assume_value() == 0) break;
            if (bytes.size() + n.assume_value() > 1 + max_request_bytes) {
                co_return blob_errc::request_too_large;
            }
            bytes.insert(bytes.end(), part.begin(),
                         part.begin() + static_cast<std::ptrdiff_t>(n.assume_value()));
        }
        auto decoded = decode_request(bytes);
        if (!decoded) co_return blob_errc::malformed_request;
        auto* const get = std::get_if<get_request>(&decoded.assume_value());
        if (!get) co_return blob_errc::unsupported_request;
        co_return std::move(*get);
    }

    awaitable<std::error_code> send_answer(answer& reply, send_stream& to, active& progress)
    {
        while (!reply.done()) {
            auto share = co_await take_share();
            if (!share) co_return share.error();
            progress.starved = true;
            auto slot = co_await take_buffer();
            progress.starved = false;
            if (!slot) co_return slot.error();
            const auto taken = std::make_shared<sent_buffer>(share_, std::move(slot).assume_value(),
                                                             std::move(share).assume_value());
            const std::uint64_t payload = reply.payload_bytes();
            auto job = [&reply, &taken] { return reply.fill(taken->buffer.bytes()); };
            const auto filled = co_await offload(env_.pool, job);
            if (!filled) co_return filled.error();
            if (filled.assume_value() == 0) continue;
            shared_bytes data;
            data.bytes = taken->buffer.bytes().first(filled.assume_value());
            data.owner = taken;
            const auto sent = co_await to.write(std::move(data));
            if (!sent) co_return sent.error();
            progress.moved += filled.assume_value();
            if (options_.progress) options_.progress(reply.payload_bytes() - payload);
        }
        co_return std::error_code{};
    }

    // A getter that went away keeps its share until the idle timeout, and no more than that.
    awaitable<result<credit>> take_share()
    {
        for (;;) {
            credit share = share_->held.try_take(provide_buffer_bytes);
            if (share) co_return std::move(share);
            const std::error_code ec = co_await share_->returned.wait();
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
    provide_options options_;
    std::shared_ptr<shared_limit> share_;
    scope requests_;
    scope watcher_;
    std::list<active> active_;
};

}  // namespace detail

awaitable<close_reason> provide(std::shared_ptr<connection> c, provide_environment& env,
                                provide_options options)
{
    detail::provider p(std::move(c), env, std::move(options));
    const close_reason why = co_await p.run();
    co_return why;
}

}  // namespace copse::blob
