// Observe: the items, and the observer.
#pragma once

#include <copse/bao/geometry.hpp>
#include <copse/blob/error.hpp>
#include <copse/blob/observe.hpp>
#include <copse/blob/wire.hpp>
#include <copse/codec/postcard.hpp>
#include <copse/core/race.hpp>
#include <copse/hash/blake3.hpp>

#include <algorithm>
#include <optional>
#include <utility>

namespace copse::blob {

namespace detail {

inline std::uint64_t reach(const bao::chunk_ranges& ranges) noexcept
{
    if (ranges.empty()) return 0;
    return ranges.open_ended() ? bao::chunk_ranges::max_chunk : ranges.boundaries().back();
}

// The size that holds for the union of both.
inline std::uint64_t size_of(const observation& a, const observation& b) noexcept
{
    const std::uint64_t reach_a = reach(a.ranges);
    const std::uint64_t reach_b = reach(b.ranges);
    if (reach_a == reach_b) return std::max(a.size, b.size);
    return reach_a > reach_b ? a.size : b.size;
}

}  // namespace detail

observation to_observation(const store::availability& from)
{
    observation out;
    out.size = from.size;
    out.ranges = from.present;
    if (out.ranges.interval_count() > max_observed_runs)
        out.ranges = out.ranges.clipped(0, out.ranges.interval(max_observed_runs).first);
    const std::uint64_t last = bao::chunk_count(from.size) - 1;
    if (from.size_proven && from.present.contains(last))
        out.ranges |= bao::chunk_ranges::from(last);
    return out;
}

observation change_between(const observation& before, const observation& now)
{
    return {detail::size_of(before, now), before.ranges ^ now.ranges};
}

void apply_change(observation& state, const observation& change)
{
    bao::chunk_ranges ranges = state.ranges ^ change.ranges;  // first: it may throw
    state.size = detail::size_of(state, change);
    state.ranges = std::move(ranges);
}

std::vector<std::byte> encode_observation(const observation& from)
{
    std::vector<std::byte> item;
    codec::postcard_writer to(item);
    to.unsigned_integer(from.size);
    to.count(from.ranges.boundaries().size());
    for (const std::uint64_t boundary : from.ranges.boundaries()) to.unsigned_integer(boundary);
    std::vector<std::byte> out;
    codec::postcard_writer framed(out);
    framed.bytes(item);
    return out;
}

result<observation> decode_observation(byte_view item)
{
    codec::postcard_reader from(item);
    const auto size = from.u64();
    if (!size) return blob_errc::bad_observation;
    const auto count = from.count(item.size(), 1);
    if (!count) return blob_errc::bad_observation;
    std::vector<std::uint64_t> boundaries;
    boundaries.reserve(count.assume_value());
    for (std::size_t i = 0; i < count.assume_value(); ++i) {
        const auto boundary = from.u64();
        if (!boundary) return blob_errc::bad_observation;
        boundaries.push_back(boundary.assume_value());
    }
    auto ranges = bao::chunk_ranges::from_boundaries(std::move(boundaries));
    if (!ranges || !from.finish()) return blob_errc::bad_observation;
    return observation{size.assume_value(), std::move(ranges).assume_value()};
}

class observer::state {
public:
    state(std::shared_ptr<connection> c, observe_options options)
        : connection_(std::move(c)), options_(options)
    {}

    awaitable<result<void>> ask(hash::digest blob)
    {
        if (blob == hash::blake3_hash({})) co_return outcome::success();
        auto opened = co_await connection_->open_bi();
        if (!opened) co_return opened.error();
        bidi_stream stream = std::move(opened).assume_value();
        const auto bytes = encode_request(observe_request{blob, bao::chunk_ranges::all()});
        const auto sent = co_await stream.send->write_copy(bytes);
        if (!sent) co_return sent.error();
        stream.send->finish();
        send_ = std::move(stream.send);
        recv_ = std::move(stream.recv);
        co_return outcome::success();
    }

    awaitable<result<store::availability>> next()
    {
        if (!recv_) {
            auto whole = co_await empty_blob();
            co_return whole;
        }
        if (!shown_) {
            auto reading = read_item();
            auto first = co_await with_timeout(std::move(reading), options_.first_item_timeout);
            if (!first && first.error() == std::errc::timed_out) co_return blob_errc::stalled;
            if (!first) co_return first.error();
            shown_ = std::move(first).assume_value();
        } else {
            const auto change = co_await read_item();
            if (!change) co_return change.error();
            apply_change(*shown_, change.assume_value());
        }
        // The state of a peer that never repeats itself must not grow with every item.
        if (shown_->ranges.boundaries().size() > options_.max_item_bytes)
            co_return blob_errc::bad_observation;
        co_return told();
    }

private:
    awaitable<result<store::availability>> empty_blob()
    {
        if (!shown_) {
            shown_ = observation{0, bao::chunk_ranges::all()};
            co_return told();
        }
        const close_reason why = co_await connection_->closed();
        co_return why.error;
    }

    [[nodiscard]] store::availability told() const
    {
        const std::uint64_t chunks = bao::chunk_count(shown_->size);
        store::availability out;
        out.size = shown_->size;
        out.present = shown_->ranges.clipped(0, chunks);
        out.size_proven = out.present.contains(chunks - 1);
        return out;
    }

    awaitable<result<observation>> read_item()
    {
        std::vector<std::byte> part(4096);
        for (;;) {
            const auto length = codec::decode_varint<std::uint64_t>(received_);
            if (length) {
                const std::uint64_t size = length.assume_value().value;
                if (size > options_.max_item_bytes) co_return blob_errc::bad_observation;
                const std::size_t head = length.assume_value().size;
                if (received_.size() - head >= size) {
                    const auto end = head + static_cast<std::size_t>(size);
                    auto item = decode_observation(byte_view(received_).subspan(head, end - head));
                    received_.erase(received_.begin(),
                                    received_.begin() + static_cast<std::ptrdiff_t>(end));
                    co_return item;
                }
            } else if (length.error() != codec::codec_errc::truncated) {
                co_return blob_errc::bad_observation;
            }
            const auto n = co_await recv_->read(part);
            if (!n) co_return why(n.error());
            if (n.assume_value() == 0) {
                if (received_.empty()) co_return blob_errc::aborted_by_peer;
                co_return blob_errc::truncated_response;
            }
            received_.insert(received_.end(), part.begin(),
                             part.begin() + static_cast<std::ptrdiff_t>(n.assume_value()));
        }
    }

    [[nodiscard]] std::error_code why(const std::error_code& error) const
    {
        if (error != transport_errc::stream_reset) return error;
        return from_wire_code(recv_->reset_code().value_or(0));
    }

    std::shared_ptr<connection> connection_;
    observe_options options_;
    std::unique_ptr<send_stream> send_;
    std::unique_ptr<recv_stream> recv_;  // null for the empty blob
    std::vector<std::byte> received_;    // not yet a whole item
    std::optional<observation> shown_;
};

observer::observer(std::unique_ptr<state> s) : state_(std::move(s)) {}
observer::observer(observer&&) noexcept = default;
observer& observer::operator=(observer&&) noexcept = default;
observer::~observer() = default;

awaitable<result<observer>> observer::open(std::shared_ptr<connection> c, hash::digest blob,
                                           observe_options options)
{
    auto made = std::make_unique<state>(std::move(c), options);
    const auto asked = co_await made->ask(blob);
    if (!asked) co_return asked.error();
    co_return observer(std::move(made));
}

awaitable<result<store::availability>> observer::next()
{
    return state_->next();
}

}  // namespace copse::blob
