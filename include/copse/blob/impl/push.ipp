// The pusher: an answer without a question, and the question whether it arrived.
#pragma once

#include <copse/blob/impl/observe.ipp>
#include <copse/blob/impl/send.ipp>
#include <copse/blob/push.hpp>
#include <copse/core/race.hpp>
#include <copse/core/scope.hpp>

#include <optional>
#include <utility>

namespace copse::blob {

namespace detail {

class push_session final {
public:
    push_session(std::shared_ptr<connection> c, get_request what, provide_environment& env,
                 push_options options)
        : connection_(std::move(c)),
          what_(std::move(what)),
          options_(std::move(options)),
          env_(env),
          sender_(connection_, env_, limits_of(options_)),
          children_(connection_->get_executor()),
          replied_(connection_->get_executor()),
          answer_(env_.store, selection(what_), options_.confirm)
    {}

    awaitable<result<push_report>> run()
    {
        auto opened = co_await connection_->open_bi();
        if (!opened) co_return opened.error();
        bidi_stream stream = std::move(opened).assume_value();
        const auto bytes = encode_request(push_request{what_});
        const auto asked = co_await stream.send->write_copy(bytes);
        if (!asked) co_return asked.error();
        children_.spawn(watch_reply(stream));
        children_.spawn(sender_.watch());
        sending progress(*stream.send);
        const answer_sender::sent_function sent = [this](answer& of, std::uint64_t payload) {
            for (const provided_blob& b : of.take_started()) pushed_.push_back(b);
            if (options_.progress) options_.progress(payload);
        };
        std::error_code error = co_await sender_.send(answer_, progress, sent);
        const bool stopped = error == transport_errc::stream_stopped;
        if (!error || stopped) {
            // A small push may be on the other side before it is refused: the reply half tells.
            auto reply = reply_over();
            const auto over = co_await with_timeout(std::move(reply), options_.progress_timeout);
            if (stopped) error = meaning(stream.send->stop_code());
            else if (!over) error = over.error();
        }
        if (refused_) error = refused_;
        if (error) stream.send->reset(static_cast<std::uint64_t>(wire_code::dropped));
        children_.request_stop();
        const auto joined = co_await children_.join();
        static_cast<void>(joined);  // the watchers report through members
        if (error) co_return error;
        push_report report;
        report.payload_bytes = answer_.payload_bytes();
        report.other_bytes = answer_.other_bytes();
        report.blobs = answer_.blobs();
        if (options_.confirm) {
            const auto confirmed = co_await confirm_all();
            if (!confirmed) co_return confirmed.error();
            report.confirmed = true;
        }
        co_return report;
    }

private:
    // Observers that wait for their answer at the same time; receivers allow this many.
    static constexpr std::size_t confirmations = 8;

    static answer_sender::limits limits_of(const push_options& o)
    {
        return {o.connection_bytes, o.upload_bytes_per_s, o.progress_timeout, o.progress_timeout};
    }

    // What a receiver's code says, unlike that of a provider: 3 is about what it was given. A stop may
    // be known before its code is; whoever accepted the push and stops it then has no other reason.
    static std::error_code meaning(std::optional<std::uint64_t> code)
    {
        const auto failed = static_cast<std::uint64_t>(wire_code::internal);
        const std::error_code error = from_wire_code(code.value_or(failed));
        return error == blob_errc::not_available ? make_error_code(blob_errc::push_failed) : error;
    }

    // Nothing comes but the end, at once, or a reset instead of it: then sending is pointless.
    awaitable<void> watch_reply(bidi_stream& stream)
    {
        std::vector<std::byte> none(64);
        for (;;) {
            const auto n = co_await stream.recv->read(none);
            if (n && n.assume_value() > 0) continue;
            if (!n && n.error() == transport_errc::stream_reset) {
                refused_ = meaning(stream.recv->reset_code());
                stream.send->reset(static_cast<std::uint64_t>(wire_code::dropped));
            }
            reply_ended_ = true;
            replied_.notify_all();
            co_return;
        }
    }

    awaitable<result<void>> reply_over()
    {
        while (!reply_ended_) {
            const std::error_code ec = co_await replied_.wait();
            if (ec) co_return ec;
        }
        co_return outcome::success();
    }

    awaitable<result<void>> confirm_all()
    {
        scope asking(connection_->get_executor());
        std::error_code stopped;
        ranges_seq::cursor wanted(what_.ranges);
        for (const provided_blob& b : pushed_) {
            stopped = co_await asking.wait_below(confirmations);
            if (stopped || asking.stopping()) break;
            const auto index = wanted.next_wanted(b.index);
            assert(index == b.index);
            static_cast<void>(index);  // only checked where assert is
            asking.spawn(confirm_one(b, wanted.ranges()));
        }
        auto all = co_await asking.join();
        if (stopped) co_return stopped;
        // Asked to stop while it waited for the answers: join() is content, but they did not come.
        if (all && asking.stopping()) co_return make_error_code(std::errc::operation_canceled);
        co_return all;
    }

    awaitable<result<void>> confirm_one(provided_blob b, bao::chunk_ranges asked)
    {
        const std::uint64_t chunks = bao::chunk_count(b.size);
        auto waiting = wait_for(b.hash, asked.effective(chunks).full_groups(chunks));
        const auto shown = co_await with_timeout(std::move(waiting), options_.confirm_timeout);
        if (!shown && shown.error() == std::errc::timed_out) co_return blob_errc::not_confirmed;
        co_return shown;
    }

    // Receivers keep whole groups only.
    awaitable<result<void>> wait_for(hash::digest blob, bao::chunk_ranges wanted)
    {
        auto opened = co_await observer::open(connection_, blob);
        if (!opened) co_return opened.error();
        observer seen = std::move(opened).assume_value();
        for (;;) {
            const auto there = co_await seen.next();
            if (!there) co_return there.error();
            if ((wanted - there.assume_value().present).empty()) co_return outcome::success();
        }
    }

    std::shared_ptr<connection> connection_;
    get_request what_;
    push_options options_;
    provide_environment& env_;
    answer_sender sender_;
    scope children_;
    event replied_;
    answer answer_;
    std::vector<provided_blob> pushed_;
    std::error_code refused_;  ///< by a reset of the reply half
    bool reply_ended_ = false;
};

}  // namespace detail

awaitable<result<push_report>> push(std::shared_ptr<connection> c, get_request what,
                                    provide_environment& env, push_options options)
{
    detail::push_session session(std::move(c), std::move(what), env, std::move(options));
    auto pushed = co_await session.run();
    co_return pushed;
}

}  // namespace copse::blob
