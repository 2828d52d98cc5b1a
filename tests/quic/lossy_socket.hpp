// A datagram socket that loses, repeats, reorders, flips and shows what goes through it, by a seed.
#pragma once

#include "tests/support.hpp"

#include <copse/core/datagram.hpp>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace copse::test {

/// What happens to outgoing datagrams, in thousandths; shared with the test, which may change it.
struct link_faults {
    explicit link_faults(std::uint64_t seed) : rng(seed) {}

    seeded_rng rng;
    unsigned drop = 0;
    unsigned repeat = 0;
    unsigned delay = 0;    ///< sent behind one of the next ten datagrams
    unsigned flip = 0;     ///< a copy with one wrong bit goes ahead of the datagram
    bool blocked = false;  ///< try_send() answers operation_would_block
    std::size_t sent = 0;  ///< datagrams the endpoint wanted to send
    /// Sees every datagram; false drops it.
    std::function<bool(const outgoing_datagrams&)> keep;
    std::function<std::uint8_t(std::uint8_t)> ecn;  ///< what becomes of the ECN mark
};

/// Wraps a real socket. Sends one datagram at a time; receiving is untouched.
class lossy_socket final : public datagram_socket {
public:
    lossy_socket(std::unique_ptr<datagram_socket> inner, std::shared_ptr<link_faults> faults)
        : inner_(std::move(inner)), faults_(std::move(faults))
    {}

    socket_address local_address() const noexcept override { return inner_->local_address(); }
    result<received_datagrams> try_receive(byte_span buffer) override
    {
        return inner_->try_receive(buffer);
    }

    result<void> try_send(const outgoing_datagrams& out) override
    {
        if (faults_->blocked) return make_error_code(std::errc::operation_would_block);
        for (byte_view rest = out.bytes; !rest.empty();) {
            outgoing_datagrams one = out;
            one.bytes = rest.first(std::min(rest.size(), out.segment_size));
            one.segment_size = one.bytes.size();
            if (faults_->ecn) one.ecn = faults_->ecn(one.ecn);
            rest = rest.subspan(one.bytes.size());
            send_one(one);
        }
        return outcome::success();
    }

    awaitable<std::error_code> wait_readable() override { return inner_->wait_readable(); }
    awaitable<std::error_code> wait_writable() override { return inner_->wait_writable(); }
    std::size_t max_send_segments() const noexcept override { return 10; }
    std::size_t send_buffer_size() const noexcept override { return inner_->send_buffer_size(); }
    std::size_t receive_buffer_size() const noexcept override
    {
        return inner_->receive_buffer_size();
    }
    void close() noexcept override { inner_->close(); }

private:
    struct held_back {
        std::vector<std::byte> bytes;
        outgoing_datagrams meta;
        unsigned wait = 0;
    };

    bool happens(unsigned thousandths) { return faults_->rng.between(0U, 999U) < thousandths; }

    void pass(const outgoing_datagrams& one)
    {
        const auto ignored = inner_->try_send(one);
        static_cast<void>(ignored);  // a full buffer is one more loss
    }

    void pass_copy(outgoing_datagrams meta, const std::vector<std::byte>& bytes)
    {
        meta.bytes = bytes;
        pass(meta);
    }

    void send_one(const outgoing_datagrams& one)
    {
        ++faults_->sent;
        if (faults_->keep && !faults_->keep(one)) return;
        if (happens(faults_->drop)) return;
        if (happens(faults_->flip)) {
            std::vector<std::byte> bad(one.bytes.begin(), one.bytes.end());
            const auto at = faults_->rng.between(std::size_t{0}, bad.size() - 1);
            bad[at] ^= static_cast<std::byte>(1U << faults_->rng.between(0U, 7U));
            pass_copy(one, bad);
        }
        if (happens(faults_->delay)) {
            held_back later;
            later.bytes.assign(one.bytes.begin(), one.bytes.end());
            later.meta = one;
            later.wait = faults_->rng.between(1U, 10U);
            held_.push_back(std::move(later));
            return;
        }
        pass(one);
        if (happens(faults_->repeat)) pass(one);
        for (auto& h : held_) {
            if (--h.wait == 0) pass_copy(h.meta, h.bytes);
        }
        std::erase_if(held_, [](const held_back& h) { return h.wait == 0; });
    }

    std::unique_ptr<datagram_socket> inner_;
    std::shared_ptr<link_faults> faults_;
    std::vector<held_back> held_;
};

}  // namespace copse::test
