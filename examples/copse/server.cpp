#include "server.hpp"

#include "console.hpp"
#include "records.hpp"
#include "transfer.hpp"

#include <copse/blob/collection.hpp>
#include <copse/codec/key_text.hpp>
#include <copse/core/clock.hpp>
#include <copse/hash/blake3.hpp>

#include <map>
#include <set>
#include <utility>

namespace app {

namespace {

std::uint64_t last_chunk_bytes(std::uint64_t size) noexcept
{
    return size == 0 ? 0 : (size - 1) % hash::chunk_size + 1;
}

blob::provide_limits limits_of(const serve_options& options)
{
    blob::provide_limits limits;
    limits.upload_bytes_per_s = options.limit_up;
    return limits;
}

record& add_getter(record& out, const connection& c)
{
    return out.text("id", codec::to_string(c.peer())).text("address", to_text(c.remote_address()));
}

std::string describe(const close_reason& why)
{
    if (why.application && why.code == 0) return {};
    if (!why.by_peer && why.error == std::errc::operation_canceled) return {};
    std::string text = "; " + why.error.message();
    if (why.application) text += " with code " + std::to_string(why.code);
    if (!why.reason.empty()) text += " '" + blob::escape_name(why.reason) + "'";
    return text;
}

}  // namespace

step<offer> make_offer(const source_list& list, const std::vector<hash::digest>& hashes,
                       store::reference_store& into)
{
    std::vector<std::string> names;
    names.reserve(list.files.size());
    for (const source_file& file : list.files) names.push_back(file.name);
    const auto meta = blob::encode_collection_meta(names);
    if (!meta) return fail(meta.error(), "the list of names");
    std::vector<hash::digest> sequence{into.add_bytes(shared_bytes::copy(meta.assume_value()))};
    sequence.insert(sequence.end(), hashes.begin(), hashes.end());
    const auto encoded = blob::encode_hash_sequence(sequence);

    offer out;
    out.root = into.add_bytes(shared_bytes::copy(encoded));
    out.sizes_payload = encoded.size() + last_chunk_bytes(meta.assume_value().size());
    std::set<hash::digest> seen;
    for (std::size_t i = 0; i < hashes.size(); ++i) {
        const std::uint64_t size = list.files[i].size;
        const std::uint64_t last = last_chunk_bytes(size);
        out.sizes_payload += last;
        if (seen.insert(hashes[i]).second) out.beyond_sizes += size - last;
    }
    out.sizes_and_names_payload = out.sizes_payload + meta.assume_value().size() -
                                  last_chunk_bytes(meta.assume_value().size());
    return out;
}

/// One getter's requests so far.
struct server::visit {
    bool asked = false;           ///< a request was answered
    bool acknowledged = false;    ///< so was the last one for data, by the getter's transport
    std::uint64_t payload = 0;    ///< of requests for data
    std::uint64_t sent = 0;       ///< of all requests
    std::uint64_t confirmed = 0;  ///< of these, acknowledged by the getter's transport
    std::map<std::uint64_t, std::uint64_t> by_request;  ///< confirmed of those under way
};

server::server(quic::endpoint& ep, store::reference_store& store, offload_pool& pool, offer what,
               serve_options options, progress& shown)
    : buffers_("send buffers", send_buffer_bytes, blob::provide_buffer_bytes),
      share_(limits_of(options)),
      env_{store, pool, buffers_, &share_},
      offer_(what),
      once_(options.once),
      shown_(shown),
      children_(ep.get_executor()),
      listener_(ep.listen(blob::alpn))
{}

awaitable<bool> server::run()
{
    shown_.begin("serve", std::nullopt);
    show_getters();
    children_.spawn(accept());
    const auto joined = co_await children_.join();
    // Children report what concerns people themselves; cancellation is how serving ends.
    static_cast<void>(joined);
    shown_.end();
    co_return complete_;
}

awaitable<void> server::accept()
{
    for (;;) {
        auto next = co_await listener_.accept();
        if (!next) break;
        children_.spawn(serve(std::move(next).assume_value()));
    }
}

awaitable<void> server::serve(std::shared_ptr<connection> c)
{
    const std::string who = short_id(c->peer()) + " at " + to_text(c->remote_address());
    if (prints_records()) {
        record out("getter");
        add_getter(out, *c).print();
    } else {
        shown_.note("getter " + who);
    }
    const time_point began = monotonic_clock::now();
    visit v;
    ++getters_;
    show_getters();
    blob::provide_options options;
    options.progress = [&v](std::uint64_t bytes) { v.sent += bytes; };
    // What is shown is what arrived: much more may wait in buffers on the way.
    options.hooks.confirmed = [this, &v](const blob::request_info& about, std::uint64_t bytes) {
        std::uint64_t& before = v.by_request[about.number];
        v.confirmed += bytes - before;
        shown_.add(bytes - std::exchange(before, bytes));
    };
    options.finished = [this, &v](const blob::provide_report& report) {
        v.by_request.erase(report.request.number);
        judge(v, report);
    };
    const close_reason why = co_await blob::provide(c, env_, std::move(options));
    c->close(0, "");
    --getters_;
    show_getters();
    const bool complete = is_complete(v, why);
    report_end(*c, v, why, complete, monotonic_clock::now() - began);
    if (complete && once_) {
        complete_ = true;
        children_.request_stop();
    }
}

void server::report_end(const connection& c, const visit& v, const close_reason& why, bool complete,
                        std::chrono::nanoseconds time)
{
    if (prints_records()) {
        record out("getter-end");
        add_getter(out, c)
            .flag("complete", complete)
            .number("sent", v.sent)
            .number("confirmed", v.confirmed);
        const std::string reason = describe(why);
        if (!reason.empty()) out.text("reason", reason.substr(2));
        out.print();
        return;
    }
    // Who closes content has all of it, also what it had no time to acknowledge.
    const std::uint64_t received = complete ? v.sent : v.confirmed;
    const std::string who = short_id(c.peer()) + " at " + to_text(c.remote_address());
    shown_.note("getter " + who + (complete ? " has everything: " : " left: ") + to_size(received) +
                " received in " + to_duration(time) + ", " + to_rate(received, time) +
                describe(why));
}

void server::judge(visit& v, const blob::provide_report& report) const
{
    if (report.root != offer_.root) return;
    v.asked = true;
    // With nothing but files of one chunk the question for sizes brings all there is.
    const bool for_sizes = report.payload_bytes == offer_.sizes_payload ||
                           report.payload_bytes == offer_.sizes_and_names_payload;
    if (for_sizes && offer_.beyond_sizes > 0) return;
    v.payload += report.payload_bytes;
    v.acknowledged = report.acknowledged;
}

// A getter that is content closes with code 0, as every program that is told to stop may. So
// the last answer must have been acknowledged, or all data was sent: the close can overtake the
// acknowledgement of a small answer.
bool server::is_complete(const visit& v, const close_reason& why) const noexcept
{
    const bool content = why.by_peer && why.application && why.code == 0;
    const bool all_sent = v.asked && v.payload >= offer_.beyond_sizes;
    return content ? v.acknowledged || all_sent : v.acknowledged && all_sent;
}

void server::show_getters()
{
    shown_.detail(to_count(getters_, "getter"));
}

}  // namespace app
