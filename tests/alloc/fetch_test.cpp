// A whole fetch over a stream that is fed from memory: what is verified stays, and it ends with an error.
#include "stores.hpp"

#include <copse/bao/encode_core.hpp>
#include <copse/blob/fetch.hpp>
#include <copse/core/event.hpp>
#include <copse/store/memory_store.hpp>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>

#include <optional>

using namespace copse;
using namespace copse::test;

namespace {

std::error_code unused()
{
    return make_error_code(std::errc::not_supported);
}

/// Takes a request and forgets it.
class deaf_stream final : public send_stream {
public:
    awaitable<result<void>> write(shared_bytes) override { co_return outcome::success(); }
    void finish() override {}
    void reset(std::uint64_t) noexcept override {}
    awaitable<result<void>> acknowledged() override { co_return outcome::success(); }
    awaitable<std::error_code> stopped() override { co_return unused(); }
    std::optional<std::uint64_t> stop_code() const noexcept override { return std::nullopt; }
};

/// Gives a sink an answer that lies in memory, in packets.
class fed_stream final : public recv_stream {
public:
    fed_stream(executor ex, byte_view answer) : changed_(std::move(ex)), answer_(answer) {}

    awaitable<result<std::size_t>> read(byte_span) override { co_return unused(); }
    void attach(stream_sink& sink) override
    {
        sink_ = &sink;
        resume();
    }
    void detach() noexcept override { sink_ = nullptr; }
    void resume() override
    {
        while (sink_ && !error_ && at_ < answer_.size()) {
            const auto packet = answer_.subspan(at_, std::min(answer_.size() - at_, packet_bytes));
            const auto verdict = show(packet);
            if (!verdict) error_ = verdict.error();
            else at_ += verdict.assume_value().accepted;
            if (!verdict || verdict.assume_value().accepted == 0) break;
        }
        changed_.notify_all();
    }
    void release(std::size_t) noexcept override {}
    std::size_t request_window(std::size_t bytes) noexcept override { return bytes; }
    awaitable<result<void>> drained() override
    {
        while (!error_ && at_ < answer_.size()) {
            const std::error_code ec = co_await changed_.wait();
            if (ec) co_return ec;
        }
        if (error_) co_return error_;
        co_return outcome::success();
    }
    void stop(std::uint64_t) noexcept override {}
    std::optional<std::uint64_t> reset_code() const noexcept override { return std::nullopt; }
    std::uint64_t received() const noexcept override { return at_; }

private:
    static constexpr std::size_t packet_bytes = 1200;

    result<sink_verdict> show(byte_view packet)
    {
        const marked_again getter;
        return sink_->consume(packet);
    }

    event changed_;
    byte_view answer_;
    std::size_t at_ = 0;
    std::error_code error_;
    stream_sink* sink_ = nullptr;
};

/// Its streams give always the same answer.
class fed_connection final : public connection {
public:
    fed_connection(executor ex, byte_view answer) : ex_(std::move(ex)), answer_(answer) {}

    const endpoint_id& peer() const noexcept override { return id_; }
    path_address remote_address() const override { return socket_address(); }
    std::string_view alpn() const noexcept override { return blob::alpn; }
    executor get_executor() const override { return ex_; }
    awaitable<result<bidi_stream>> open_bi() override
    {
        bidi_stream out;
        {
            const unmarked transport;
            out.send = std::make_unique<deaf_stream>();
            out.recv = std::make_unique<fed_stream>(ex_, answer_);
        }
        co_return out;
    }
    awaitable<result<std::unique_ptr<send_stream>>> open_uni() override { co_return unused(); }
    awaitable<result<bidi_stream>> accept_bi() override { co_return unused(); }
    awaitable<result<std::unique_ptr<recv_stream>>> accept_uni() override { co_return unused(); }
    std::size_t max_datagram_payload() const noexcept override { return 0; }
    result<void> send_datagram(shared_bytes) override { return unused(); }
    awaitable<result<shared_bytes>> receive_datagram() override { co_return unused(); }
    void close(std::uint64_t, std::string_view) noexcept override {}
    awaitable<close_reason> closed() override { co_return close_reason(); }
    std::optional<close_reason> why_closed() const override { return std::nullopt; }
    connection_statistics statistics() const override { return {}; }

private:
    endpoint_id id_;
    executor ex_;
    byte_view answer_;
};

/// Jobs are marked.
class marked_pool final : public offload_pool {
public:
    void submit(offload_job& job) override
    {
        const marked_again work;
        job.run();
    }
    unsigned concurrency() const noexcept override { return 1; }
};

/// What is called on the executor is marked too.
class marked_writer final : public store::blob_writer {
public:
    explicit marked_writer(std::shared_ptr<blob_writer> inner) : inner_(std::move(inner)) {}

    const hash::digest& root() const noexcept override { return inner_->root(); }
    std::uint64_t size() const noexcept override { return inner_->size(); }
    bao::chunk_ranges present() const override
    {
        const marked_again here;
        return inner_->present();
    }
    bool direct() const noexcept override { return inner_->direct(); }
    result<void> write(byte_view data, std::uint64_t offset) override
    {
        return inner_->write(data, offset);
    }
    void commit(const bao::chunk_ranges& chunks, std::span<const store::pair_run> pairs) override
    {
        const marked_again here;
        inner_->commit(chunks, pairs);
    }
    bool checkpoint_due() const noexcept override { return true; }
    std::function<result<void>()> checkpoint() override
    {
        const marked_again here;
        return inner_->checkpoint();
    }
    std::function<result<void>()> finish(bool durable) override
    {
        const marked_again here;
        return inner_->finish(durable);
    }

private:
    std::shared_ptr<blob_writer> inner_;
};

class marked_store final : public store::blob_store {
public:
    explicit marked_store(store::memory_store& inner) : inner_(inner) {}

    result<store::availability> status(const hash::digest& root) override
    {
        return inner_.status(root);
    }
    result<std::shared_ptr<store::blob_reader>> open(const hash::digest& root) override
    {
        return inner_.open(root);
    }
    result<std::shared_ptr<store::blob_writer>> open_partial(const hash::digest& root,
                                                             std::uint64_t size) override
    {
        COPSE_TRY(auto writer, inner_.open_partial(root, size));
        return std::shared_ptr<store::blob_writer>(
            std::make_shared<marked_writer>(std::move(writer)));
    }

private:
    store::memory_store& inner_;
};

// A fetch whose decoder, jobs and store find no memory. Coroutines and what Asio keeps for them are not
// marked: Asio ends the program when it finds none.
struct fetching {
    fetching() : store(4U << 20), watched(store), buffers("test", 128U << 10, 64U << 10) {}

    /// \param nth which allocation fails; none when empty.
    std::error_code run(const known_blob& blob, byte_view answer, std::optional<std::size_t> nth,
                        bool& failed)
    {
        asio::io_context io(1);
        blob::fetch_environment env{watched, pool, buffers};
        blob::fetch_diagnostics where;
        std::error_code out;
        std::exception_ptr thrown;
        auto body = [](std::shared_ptr<connection> c, blob::get_request wanted,
                       blob::fetch_environment& with, blob::fetch_diagnostics& why,
                       std::error_code& to) -> awaitable<void> {
            blob::fetch_options options;
            options.window = 256U << 10;
            const auto done =
                co_await blob::fetch(std::move(c), std::move(wanted), with, options, why);
            if (!done) to = done.error();
        };
        blob::get_request request{blob.root, blob::ranges_seq::root(bao::chunk_ranges::all())};
        auto c = std::make_shared<fed_connection>(io.get_executor(), answer);
        asio::co_spawn(io, body(std::move(c), std::move(request), env, where, out),
                       [&](std::exception_ptr e) { thrown = e; });
        if (nth) {
            const failing_allocation marked(*nth);
            const unmarked executor;
            io.run();
            failed = marked.failed();
        } else {
            io.run();
        }
        try {
            if (thrown) std::rethrow_exception(thrown);
        } catch (const std::bad_alloc&) {
            return make_error_code(std::errc::not_enough_memory);
        }
        return out;
    }

    marked_pool pool;
    store::memory_store store;
    marked_store watched;
    disk::leaf_pool buffers;
};

}  // namespace

TEST_CASE("alloc: copse::blob::fetch (in the transport's receive path too)", "[alloc]")
{
    const known_blob blob = random_blob(150'000, 5);
    const auto answer = bao::encode_all(blob.data, blob.outboard, bao::chunk_ranges::all()).value();
    std::size_t nth = 0;
    std::size_t failures = 0;
    for (bool failed = true; failed; ++nth) {
        REQUIRE(nth < most_allocations);
        INFO("allocation " << nth);
        fetching f;
        failed = false;
        const std::error_code ended = f.run(blob, answer, nth, failed);
        REQUIRE(f.buffers.limits().used() == 0);
        check_stored(f.store, blob);
        if (ended) {
            REQUIRE(failed);
            REQUIRE(ended == std::errc::not_enough_memory);
            ++failures;
        } else {
            check_complete(f.store, blob);
        }
        bool none = false;
        REQUIRE_FALSE(f.run(blob, answer, std::nullopt, none));
        check_complete(f.store, blob);
    }
    CHECK(failures > 20);
}
