// The requests of one connection: who is let in, what is asked, and how it ends.
#pragma once

#include <copse/blob/impl/observe_serve.ipp>
#include <copse/blob/impl/receive.ipp>
#include <copse/blob/impl/send.ipp>
#include <copse/blob/provide.hpp>
#include <copse/codec/varint.hpp>
#include <copse/core/event.hpp>
#include <copse/core/race.hpp>
#include <copse/core/scope.hpp>

#include <algorithm>
#include <optional>
#include <utility>

namespace copse::blob {

namespace detail {

inline std::error_code to_error(verdict v) noexcept
{
    switch (v) {
    case verdict::allow: break;
    case verdict::refuse: return blob_errc::refused;
    case verdict::limit: return blob_errc::rate_limited;
    case verdict::unavailable: return blob_errc::not_available;
    }
    return {};
}

inline bool is_malformed(const std::error_code& e) noexcept
{
    return e == blob_errc::malformed_request || e == blob_errc::unknown_request ||
           e == blob_errc::request_too_large;
}

/// What one request takes of the memory that all have together.
struct request_charge {
    budget* of = nullptr;  ///< null: not counted
    credit held;

    /// Bytes of the request.
    std::error_code add(std::size_t bytes) noexcept { return take(bytes * request_cost); }
    /// Bytes of anything else.
    std::error_code take(std::size_t bytes) noexcept
    {
        if (!of) return {};
        credit more = of->try_take(bytes);
        if (!more) return blob_errc::rate_limited;
        held.absorb(std::move(more));
        return {};
    }
};

/// Reads requests, no byte more than belongs to them.
class request_reader {
public:
    /// The first byte.
    static awaitable<result<request_type>> read_type(recv_stream& from)
    {
        std::byte byte{};
        const auto n = co_await from.read(byte_span(&byte, 1));
        if (!n) co_return n.error();
        if (n.assume_value() == 0) co_return blob_errc::malformed_request;
        auto type = decode_request_type(byte);
        co_return type;
    }

    /// What follows it.
    static awaitable<result<request>> read_rest(recv_stream& from, request_type type,
                                                request_charge& charge)
    {
        std::vector<std::byte> bytes(1, static_cast<std::byte>(type));
        std::error_code error;
        if (type == request_type::push) error = co_await read_prefixed(from, bytes, charge);
        else error = co_await read_to_end(from, bytes, charge);
        if (error) co_return error;
        auto decoded = decode_request(bytes);
        co_return decoded;
    }

private:
    static awaitable<std::error_code> read_to_end(recv_stream& from, std::vector<std::byte>& bytes,
                                                  request_charge& charge)
    {
        std::vector<std::byte> part(4096);
        for (;;) {
            const auto n = co_await from.read(part);
            if (!n) co_return n.error();
            if (n.assume_value() == 0) co_return std::error_code{};
            if (bytes.size() + n.assume_value() > 1 + max_request_bytes) {
                co_return blob_errc::request_too_large;
            }
            const std::error_code full = charge.add(n.assume_value());
            if (full) co_return full;
            bytes.insert(bytes.end(), part.begin(),
                         part.begin() + static_cast<std::ptrdiff_t>(n.assume_value()));
        }
    }

    // What follows the request of a push is its data.
    static awaitable<std::error_code> read_prefixed(recv_stream& from,
                                                    std::vector<std::byte>& bytes,
                                                    request_charge& charge)
    {
        for (;;) {
            const std::error_code ec = co_await read_exactly(from, bytes, 1, charge);
            if (ec) co_return ec;
            const auto length = codec::decode_varint<std::uint64_t>(byte_view(bytes).subspan(1));
            if (length) {
                if (length.assume_value().value > max_request_bytes) {
                    co_return blob_errc::request_too_large;
                }
                const auto n = static_cast<std::size_t>(length.assume_value().value);
                const std::error_code body = co_await read_exactly(from, bytes, n, charge);
                co_return body;
            }
            if (length.error() != codec::codec_errc::truncated) {
                co_return blob_errc::malformed_request;
            }
        }
    }

    // Memory follows what has arrived, not what was announced.
    static awaitable<std::error_code> read_exactly(recv_stream& from, std::vector<std::byte>& bytes,
                                                   std::size_t count, request_charge& charge)
    {
        while (count > 0) {
            const std::size_t had = bytes.size();
            const std::size_t part = std::min<std::size_t>(count, 4096);
            bytes.resize(had + part);
            const auto n = co_await from.read(byte_span(bytes).subspan(had));
            bytes.resize(had + (n ? n.assume_value() : 0));
            if (!n) co_return n.error();
            if (n.assume_value() == 0) co_return blob_errc::malformed_request;
            const std::error_code full = charge.add(n.assume_value());
            if (full) co_return full;
            count -= n.assume_value();
        }
        co_return std::error_code{};
    }
};

/// The requests of one connection.
class provider final {
public:
    provider(std::shared_ptr<connection> c, provide_environment& env, provide_options options)
        : connection_(std::move(c)),
          env_(env),
          options_(std::move(options)),
          sender_(connection_, env_, sender_limits(options_)),
          requests_(connection_->get_executor()),
          watchers_(connection_->get_executor()),
          freed_(connection_->get_executor()),
          streams_("provide: streams of a connection", options_.max_streams, limit_unit::count),
          answering_("provide: requests of a connection", options_.max_requests, limit_unit::count),
          observing_("provide: observers of a connection", options_.max_observers,
                     limit_unit::count),
          pushing_("provide: pushes of a connection", options_.max_pushes, limit_unit::count)
    {}

    awaitable<close_reason> run()
    {
        close_reason why;
        credit place;
        if (env_.share) place = env_.share->connections.try_take(1);
        const verdict admitted = admit(place);
        if (admitted != verdict::allow) {
            if (env_.share) ++env_.share->counters.connections_refused;
            turn_away(admitted);
            why.error = to_error(admitted);
            co_return why;
        }
        if (options_.hooks.opened) options_.hooks.opened(*connection_);
        watchers_.spawn(sender_.watch());
        if (options_.hooks.confirmed) watchers_.spawn(sender_.confirm(options_.hooks.confirmed));
        why.error = co_await accept();
        requests_.request_stop();
        const auto joined = co_await requests_.join();
        static_cast<void>(joined);  // requests report through options_.finished
        watchers_.request_stop();
        const auto watched = co_await watchers_.join();
        static_cast<void>(watched);
        // What is still under way holds buffers of the environment, which may end now too.
        if (sender_.held() > 0)
            connection_->close(static_cast<std::uint64_t>(wire_code::dropped), {});
        if (const auto closed = connection_->why_closed()) why = *closed;
        if (options_.hooks.closed) options_.hooks.closed(*connection_, why);
        co_return why;
    }

private:
    /// A place that others may wait for.
    class held_place {
    public:
        held_place(credit c, event& freed) : credit_(std::move(c)), freed_(freed) {}
        held_place(const held_place&) = delete;
        held_place& operator=(const held_place&) = delete;
        ~held_place()
        {
            credit_.reset();
            freed_.notify_all();
        }

    private:
        credit credit_;
        event& freed_;
    };

    static answer_sender::limits sender_limits(const provide_options& o)
    {
        return {o.connection_bytes, o.upload_bytes_per_s, o.progress_timeout, o.reclaim_timeout};
    }

    verdict admit(const credit& place) const
    {
        if (env_.share && !place) return verdict::limit;
        return options_.hooks.admit ? options_.hooks.admit(*connection_) : verdict::allow;
    }

    void turn_away(verdict v)
    {
        const wire_code code = to_wire_code(to_error(v));
        const char* reason = "internal";
        if (code == wire_code::permission) reason = "permission";
        else if (code == wire_code::limit) reason = "limit";
        connection_->close(static_cast<std::uint64_t>(code), reason);
    }

    awaitable<std::error_code> accept()
    {
        // Every stream that the transport lets the peer open, since those that come first are not
        // always those whose requests do: places that wait for these would never be free.
        for (std::uint64_t number = 0;; ++number) {
            const std::error_code ec = co_await wait_for_room(streams_);
            if (ec) co_return ec;
            auto next = co_await connection_->accept_bi();
            if (!next) co_return next.error();
            credit place = streams_.try_take(1);  // nobody else takes any
            requests_.spawn(serve(std::move(next).assume_value(), std::move(place), number));
        }
    }

    awaitable<std::error_code> wait_for_room(budget& among)
    {
        if (among.available() == 0) among.count_refusal();
        while (among.available() == 0) {
            const std::error_code ec = co_await freed_.wait();
            if (ec) co_return ec;
        }
        co_return std::error_code{};
    }

    awaitable<void> serve(bidi_stream stream, credit among_streams, std::uint64_t number)
    {
        const held_place place(std::move(among_streams), freed_);
        const time_point began = monotonic_clock::now();
        provide_report report;
        report.request.number = number;
        report.request.peer = connection_->peer();
        if (env_.share) ++env_.share->counters.requests;
        report.error = co_await answer_request(stream, report);
        report.duration = monotonic_clock::now() - began;
        if (report.error) {
            const auto code = static_cast<std::uint64_t>(to_wire_code(report.error));
            stream.send->reset(code);
            stream.recv->stop(code);
            count(report.error);
        }
        if (options_.finished) options_.finished(report);
    }

    void count(const std::error_code& error)
    {
        const bool malformed = is_malformed(error);
        if (env_.share) {
            provide_counters& c = env_.share->counters;
            if (malformed) ++c.malformed;
            else if (error == blob_errc::refused || error == blob_errc::unsupported_request)
                ++c.refused;
            else if (error == blob_errc::rate_limited) ++c.limited;
        }
        if (malformed && ++malformed_ > options_.max_malformed)
            connection_->close(static_cast<std::uint64_t>(wire_code::permission), "permission");
    }

    // By the first byte: a kind that is not served is refused before its body arrives.
    [[nodiscard]] std::error_code refuses(request_type type) const
    {
        const bool served = type == request_type::get        ? options_.serve_get
                            : type == request_type::get_many ? options_.serve_get_many
                            : type == request_type::observe
                                ? options_.serve_observe
                                : static_cast<bool>(options_.hooks.authorise_push);
        return served ? std::error_code{} : blob_errc::unsupported_request;
    }

    [[nodiscard]] std::error_code decide(const request_info& info, const request& what) const
    {
        if (const auto* const push = std::get_if<push_request>(&what))
            return to_error(options_.hooks.authorise_push(info, *push));
        if (const auto* const many = std::get_if<get_many_request>(&what)) {
            if (many->hashes.size() > options_.max_hashes) return blob_errc::refused;
        }
        return options_.hooks.authorise ? to_error(options_.hooks.authorise(info, what))
                                        : std::error_code{};
    }

    awaitable<std::error_code> answer_request(bidi_stream& stream, provide_report& report)
    {
        auto beginning = request_reader::read_type(*stream.recv);
        const auto type = co_await with_timeout(std::move(beginning), options_.request_timeout);
        if (!type) co_return type.error();
        report.request.type = type.assume_value();
        const std::error_code unserved = refuses(report.request.type);
        if (unserved) co_return unserved;
        credit pushing;
        if (report.request.type == request_type::push) {
            // Left unread, its data would fill the window that the others need.
            pushing = pushing_.try_take(1);
            if (!pushing) co_return blob_errc::rate_limited;
        }
        credit answering;
        while (!answering) {
            const std::error_code ec = co_await wait_for_room(answering_);
            if (ec) co_return ec;
            answering = answering_.try_take(1);
        }
        std::optional<held_place> place(std::in_place, std::move(answering), freed_);
        request_charge charge;
        if (env_.share) charge.of = &env_.share->request_memory;
        auto reading = request_reader::read_rest(*stream.recv, report.request.type, charge);
        auto wanted = co_await with_timeout(std::move(reading), options_.request_timeout);
        if (!wanted) co_return wanted.error();
        request what = std::move(wanted).assume_value();
        const std::error_code refused = decide(report.request, what);
        if (refused) co_return refused;
        if (options_.hooks.received) options_.hooks.received(report.request, what);

        std::error_code error;
        if (auto* const observe = std::get_if<observe_request>(&what)) {
            report.root = observe->hash;
            place.reset();
            error = co_await observe_blob(stream, observe->hash);
            co_return error;
        }
        credit shared;
        if (env_.share) {
            shared = env_.share->requests.try_take(1);
            if (!shared) co_return blob_errc::rate_limited;
        }
        if (auto* const push = std::get_if<push_request>(&what)) {
            selection pushed(std::move(push->content));
            error = co_await take_push(stream, std::move(pushed), charge.of, report);
            co_return error;
        }
        auto* const many = std::get_if<get_many_request>(&what);
        selection wanted_blobs =
            many ? selection(std::move(*many)) : selection(std::move(std::get<get_request>(what)));
        error = charge.take(working_bytes(wanted_blobs));
        if (error) co_return error;
        error = co_await send_answer(stream, std::move(wanted_blobs), report);
        co_return error;
    }

    // What an answer keeps besides its buffers: a part of the sequence, an extent that is sent in parts.
    static std::size_t working_bytes(const selection& s)
    {
        const bool whole =
            s.ranges == ranges_seq::all() || s.ranges == ranges_seq::root(bao::chunk_ranges::all());
        return (s.wants_children() ? answer_extent_bytes : 0) + (whole ? 0 : answer_extent_bytes);
    }

    awaitable<std::error_code> send_answer(bidi_stream& stream, selection wanted,
                                           provide_report& report)
    {
        const provide_hooks& hooks = options_.hooks;
        report.root = wanted.root;
        answer reply(env_.store, std::move(wanted), static_cast<bool>(hooks.blob_started));
        sending progress(*stream.send);
        progress.request = report.request;
        progress.confirms = static_cast<bool>(hooks.confirmed);
        const answer_sender::sent_function sent = [this, &report](answer& of,
                                                                  std::uint64_t payload) {
            tell_progress(report.request, of, payload);
        };
        const std::error_code error = co_await sender_.send(reply, progress, sent);
        report.payload_bytes = reply.payload_bytes();
        report.other_bytes = reply.other_bytes();
        report.blobs = reply.blobs();
        report.acknowledged = !error;
        report.failed_blob = reply.failed();
        if (!error && hooks.confirmed && progress.confirmed < report.payload_bytes)
            hooks.confirmed(report.request, report.payload_bytes);
        co_return error;
    }

    void tell_progress(const request_info& info, answer& of, std::uint64_t payload)
    {
        const provide_hooks& hooks = options_.hooks;
        if (hooks.blob_started) {
            for (const provided_blob& b : of.take_started()) hooks.blob_started(info, b);
        }
        if (hooks.progressed) hooks.progressed(info, of.position());
        if (options_.progress) options_.progress(payload);
    }

    awaitable<std::error_code> observe_blob(bidi_stream& stream, hash::digest root)
    {
        const credit place = observing_.try_take(1);
        if (!place) co_return blob_errc::rate_limited;
        credit shared;
        if (env_.share) {
            shared = env_.share->observers.try_take(1);
            if (!shared) co_return blob_errc::rate_limited;
        }
        const std::error_code error =
            co_await serve_observer(*stream.send, root, env_.store, env_.pool);
        co_return error;
    }

    // There is no answer to a push: its end is given at once, and failure stops the data.
    awaitable<std::error_code> take_push(bidi_stream& stream, selection pushed, budget* sequences,
                                         provide_report& report)
    {
        report.root = pushed.root;
        stream.send->finish();
        fetch_environment into{env_.store, env_.pool, env_.buffers};
        fetch_options options;
        options.progress_timeout = options_.progress_timeout;
        options.max_blob_size = options_.max_pushed_blob;
        fetch_diagnostics where;
        receive_session session(connection_->get_executor(), std::move(pushed), into,
                                std::move(options), where, wire_code::internal, sequences);
        const auto ready = co_await session.prepare();
        if (!ready) co_return ready.error();
        const auto received = co_await session.run(*stream.recv);
        report.payload_bytes = session.report().payload_bytes;
        report.other_bytes = session.report().other_bytes;
        report.blobs = session.report().blobs;
        if (!received) co_return received.error();
        co_return std::error_code{};
    }

    std::shared_ptr<connection> connection_;
    provide_environment& env_;
    provide_options options_;
    answer_sender sender_;
    scope requests_;
    scope watchers_;
    event freed_;  ///< a stream or a request gave its place back
    budget streams_;
    budget answering_;
    budget observing_;
    budget pushing_;
    std::size_t malformed_ = 0;
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
