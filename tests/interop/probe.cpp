// copse_probe: copse's library behind the command line of the interoperability tests. README.md in
// this folder describes `get` and `provide`; `raw` is as the real peer's. For tests of receivers,
// `provide` can also spoil what it sends: --corrupt N flips a bit of byte N of each answer,
// --truncate N ends each answer after N bytes, --stall N sends N bytes and then nothing more.
#include <copse/codec/key_text.hpp>
#include <copse/core/asio.hpp>

#include <copse/bao/outboard.hpp>
#include <copse/blob/collection.hpp>
#include <copse/blob/fetch.hpp>
#include <copse/blob/provide.hpp>
#include <copse/blob/ticket.hpp>
#include <copse/codec/hex.hpp>
#include <copse/core/event.hpp>
#include <copse/core/file.hpp>
#include <copse/core/offload.hpp>
#include <copse/core/race.hpp>
#include <copse/core/run.hpp>
#include <copse/core/scope.hpp>
#include <copse/disk/leaf_pool.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/quic/endpoint.hpp>
#include <copse/store/folder_store.hpp>
#include <copse/store/memory_store.hpp>

#include <asio/buffer.hpp>
#include <asio/posix/stream_descriptor.hpp>

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace copse;
using namespace std::chrono_literals;

constexpr std::size_t memory_limit = std::size_t{4} << 30;
constexpr std::size_t buffers_bytes = 8U << 20;

/// This program could not do its part: exit code 2.
[[noreturn]] void give_up(const std::string& why)
{
    throw std::runtime_error(why);
}

/// Writes a line at once: the runner reads through a pipe.
void say(const std::string& line)
{
    std::fwrite((line + "\n").data(), 1, line.size() + 1, stdout);
    std::fflush(stdout);
}

// ---- the command line ----

class arguments {
public:
    arguments(const std::vector<std::string>& input, std::initializer_list<std::string_view> valued,
              std::initializer_list<std::string_view> flags)
    {
        const auto known = [](const auto& list, std::string_view name) {
            return std::find(list.begin(), list.end(), name) != list.end();
        };
        for (std::size_t i = 0; i < input.size(); ++i) {
            if (!input[i].starts_with("--")) {
                words.push_back(input[i]);
                continue;
            }
            const std::string name = input[i].substr(2);
            if (known(flags, name)) {
                options_.emplace_back(name, "");
            } else if (!known(valued, name)) {
                give_up("unknown option --" + name);
            } else if (++i == input.size()) {
                give_up("--" + name + " needs a value");
            } else {
                options_.emplace_back(name, input[i]);
            }
        }
    }

    [[nodiscard]] std::optional<std::string> get(std::string_view name) const
    {
        std::optional<std::string> out;
        for (const auto& [known, value] : options_) {
            if (known == name) out = value;
        }
        return out;
    }
    [[nodiscard]] bool has(std::string_view name) const { return get(name).has_value(); }
    [[nodiscard]] std::string need(std::string_view name) const
    {
        const auto found = get(name);
        if (!found) give_up("--" + std::string(name) + " is missing");
        return *found;
    }
    [[nodiscard]] std::vector<std::string> all(std::string_view name) const
    {
        std::vector<std::string> out;
        for (const auto& [known, value] : options_) {
            if (known == name) out.push_back(value);
        }
        return out;
    }

    std::vector<std::string> words;

private:
    std::vector<std::pair<std::string, std::string>> options_;
};

std::uint64_t to_number(std::string_view text)
{
    std::uint64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [rest, ec] = std::from_chars(text.data(), end, value);
    if (ec != std::errc() || rest != end) give_up("no number: " + std::string(text));
    return value;
}

bao::chunk_ranges to_ranges(std::string_view spec)
{
    using bao::chunk_ranges;
    chunk_ranges out;
    for (;;) {
        const std::size_t comma = spec.find(',');
        const std::string_view part = spec.substr(0, comma);
        const std::size_t dash = part.find('-');
        if (part == "all") {
            out |= chunk_ranges::all();
        } else if (part == "last") {
            out |= chunk_ranges::last_chunk();
        } else if (part == "none") {
            // nothing to add
        } else if (dash == part.npos) {
            const std::uint64_t chunk = to_number(part);
            if (chunk == chunk_ranges::max_chunk) give_up("chunk number too large");
            out |= chunk_ranges::range(chunk, chunk + 1);
        } else if (dash + 1 == part.size()) {
            out |= chunk_ranges::from(to_number(part.substr(0, dash)));
        } else {
            const std::uint64_t first = to_number(part.substr(0, dash));
            const std::uint64_t end = to_number(part.substr(dash + 1));
            if (first >= end) give_up("range " + std::string(part) + " is empty");
            out |= chunk_ranges::range(first, end);
        }
        if (comma == spec.npos) return out;
        spec.remove_prefix(comma + 1);
    }
}

hash::digest to_hash(const std::string& text)
{
    hash::digest out;
    if (!codec::decode_hex(text, out.bytes)) give_up("no hash: " + text);
    return out;
}

std::vector<std::byte> to_bytes(const std::string& hex)
{
    std::vector<std::byte> out(hex.size() / 2);
    if (!codec::decode_hex(hex, out)) give_up("no hexadecimal text: " + hex);
    return out;
}

socket_address to_address(const std::string& text)
{
    const auto address = socket_address::parse(text);
    if (!address) give_up("no address: " + text);
    return address.value();
}

template <class T>
T must(result<T> value, const std::string& what)
{
    if (!value) give_up(what + ": " + value.error().message());
    return std::move(value).assume_value();
}
void must(const result<void>& value, const std::string& what)
{
    if (!value) give_up(what + ": " + value.error().message());
}

std::vector<std::byte> read_file(const std::string& path)
{
    std::ifstream in(path, std::ios::binary);
    if (!in) give_up("cannot read " + path);
    std::vector<char> text(std::istreambuf_iterator<char>(in), {});
    const byte_view bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
}

quic::endpoint open_endpoint(const executor& ex, const arguments& args)
{
    quic::endpoint_options options;
    options.bind.push_back(to_address(args.get("bind").value_or("127.0.0.1:0")));
    return must(quic::endpoint::make(ex, std::move(options)), "bind");
}

std::chrono::seconds to_seconds(const arguments& args, std::string_view name,
                                std::uint64_t otherwise)
{
    const auto given = args.get(name);
    return std::chrono::seconds(given ? to_number(*given) : otherwise);
}

// ---- streams that are watched, and streams that are spoilt ----

/// What the receiving half of a stream had seen when it was dropped.
struct receipt {
    std::uint64_t bytes = 0;
    std::optional<std::uint64_t> reset;
    std::vector<std::byte> consumed;  ///< what the sink took
};

class watched_recv final : public recv_stream, private stream_sink {
public:
    watched_recv(std::unique_ptr<recv_stream> inner, std::shared_ptr<receipt> out)
        : inner_(std::move(inner)), out_(std::move(out))
    {}
    ~watched_recv() override
    {
        out_->bytes = inner_->received();
        out_->reset = inner_->reset_code();
    }

    awaitable<result<std::size_t>> read(byte_span into) override { return inner_->read(into); }
    void attach(stream_sink& sink) override
    {
        sink_ = &sink;
        inner_->attach(*this);
    }
    void detach() noexcept override { inner_->detach(); }
    void resume() override { inner_->resume(); }
    void release(std::size_t bytes) noexcept override { inner_->release(bytes); }
    std::size_t request_window(std::size_t bytes) noexcept override
    {
        return inner_->request_window(bytes);
    }
    awaitable<result<void>> drained() override { return inner_->drained(); }
    void stop(std::uint64_t code) noexcept override { inner_->stop(code); }
    std::optional<std::uint64_t> reset_code() const noexcept override
    {
        return inner_->reset_code();
    }
    std::uint64_t received() const noexcept override { return inner_->received(); }

private:
    result<sink_verdict> consume(byte_view data) noexcept override
    {
        auto verdict = sink_->consume(data);
        if (verdict) {
            const byte_view taken = data.first(verdict.assume_value().accepted);
            out_->consumed.insert(out_->consumed.end(), taken.begin(), taken.end());
        }
        return verdict;
    }
    std::uint64_t stop_code() const noexcept override { return sink_->stop_code(); }

    std::unique_ptr<recv_stream> inner_;
    std::shared_ptr<receipt> out_;
    stream_sink* sink_ = nullptr;
};

/// What a provider does to its answers.
struct mischief {
    std::optional<std::uint64_t> corrupt;
    std::optional<std::uint64_t> truncate;
    std::optional<std::uint64_t> stall;
};

class spoilt_send final : public send_stream {
public:
    spoilt_send(std::unique_ptr<send_stream> inner, const mischief& how)
        : inner_(std::move(inner)), how_(how)
    {}

    awaitable<result<void>> write(shared_bytes data) override
    {
        const std::uint64_t first = position_;
        position_ += data.bytes.size();
        if (const auto limit = how_.truncate ? how_.truncate : how_.stall) {
            const std::uint64_t room = *limit - std::min(*limit, first);
            data.bytes = data.bytes.first(
                static_cast<std::size_t>(std::min<std::uint64_t>(room, data.bytes.size())));
        }
        if (how_.corrupt && *how_.corrupt >= first && *how_.corrupt < first + data.bytes.size()) {
            auto copy =
                std::make_shared<std::vector<std::byte>>(data.bytes.begin(), data.bytes.end());
            (*copy)[static_cast<std::size_t>(*how_.corrupt - first)] ^= std::byte{1};
            data = shared_bytes{copy, *copy};
        }
        return inner_->write(std::move(data));
    }
    void finish() override
    {
        const bool hold = how_.stall && position_ > *how_.stall;
        if (!hold) inner_->finish();
    }
    void reset(std::uint64_t code) noexcept override { inner_->reset(code); }
    awaitable<result<void>> acknowledged() override { return inner_->acknowledged(); }
    awaitable<std::error_code> stopped() override { return inner_->stopped(); }
    std::optional<std::uint64_t> stop_code() const noexcept override { return inner_->stop_code(); }

private:
    std::unique_ptr<send_stream> inner_;
    mischief how_;
    std::uint64_t position_ = 0;
};

/// A connection that hands out such streams.
class wrapped_connection final : public connection {
public:
    explicit wrapped_connection(std::shared_ptr<connection> inner, mischief how = {})
        : inner_(std::move(inner)), how_(how)
    {}

    const endpoint_id& peer() const noexcept override { return inner_->peer(); }
    path_address remote_address() const override { return inner_->remote_address(); }
    std::string_view alpn() const noexcept override { return inner_->alpn(); }
    executor get_executor() const override { return inner_->get_executor(); }
    awaitable<result<bidi_stream>> open_bi() override
    {
        auto stream = co_await inner_->open_bi();
        if (!stream) co_return stream.error();
        bidi_stream out = std::move(stream).assume_value();
        last = std::make_shared<receipt>();
        out.recv = std::make_unique<watched_recv>(std::move(out.recv), last);
        co_return out;
    }
    awaitable<result<std::unique_ptr<send_stream>>> open_uni() override
    {
        return inner_->open_uni();
    }
    awaitable<result<bidi_stream>> accept_bi() override
    {
        auto stream = co_await inner_->accept_bi();
        if (!stream) co_return stream.error();
        bidi_stream out = std::move(stream).assume_value();
        out.send = std::make_unique<spoilt_send>(std::move(out.send), how_);
        co_return out;
    }
    awaitable<result<std::unique_ptr<recv_stream>>> accept_uni() override
    {
        return inner_->accept_uni();
    }
    std::size_t max_datagram_payload() const noexcept override
    {
        return inner_->max_datagram_payload();
    }
    result<void> send_datagram(shared_bytes data) override
    {
        return inner_->send_datagram(std::move(data));
    }
    awaitable<result<shared_bytes>> receive_datagram() override
    {
        return inner_->receive_datagram();
    }
    void close(std::uint64_t code, std::string_view reason) noexcept override
    {
        inner_->close(code, reason);
    }
    awaitable<close_reason> closed() override { return inner_->closed(); }
    std::optional<close_reason> why_closed() const override { return inner_->why_closed(); }
    connection_statistics statistics() const override { return inner_->statistics(); }

    std::shared_ptr<receipt> last;  ///< of the stream that was opened last

private:
    std::shared_ptr<connection> inner_;
    mischief how_;
};

awaitable<result<std::shared_ptr<connection>>> dial(quic::endpoint& ep, endpoint_address to,
                                                    std::chrono::seconds limit)
{
    auto dialled = ep.connect(std::move(to), std::string(blob::alpn));
    auto c = co_await with_timeout(std::move(dialled), limit);
    co_return c;
}

endpoint_address provider_address(const arguments& args)
{
    endpoint_address out;
    out.id = must(codec::parse_endpoint_id(args.need("id")), "--id");
    out.paths.emplace_back(to_address(args.need("addr")));
    return out;
}

std::string describe_end(const std::error_code& error, const receipt& seen, const connection& c)
{
    if (!error) return "fin";
    if (seen.reset) return "reset " + std::to_string(*seen.reset);
    if (const auto why = c.why_closed()) {
        if (why->application) return "closed " + std::to_string(why->code);
        return "lost " + why->error.message();
    }
    if (error.category() == transport_category()) return "lost " + error.message();
    const bool ended = error == blob::blob_errc::extra_data ||
                       error == blob::blob_errc::truncated_response ||
                       error == blob::blob_errc::not_available;
    return ended ? "fin" : "open";
}

// ---- get ----

/// One blob of the answer: as it stands in the stream, and the verified bytes of it.
struct blob_content {
    hash::digest hash;
    std::optional<std::uint64_t> size;                       ///< as its header says
    bool complete = false;                                   ///< its whole encoding came
    std::map<std::uint64_t, std::vector<std::byte>> pieces;  ///< by offset

    void report(std::uint64_t index) const
    {
        const std::string number = std::to_string(index);
        say("blob " + number + " " + hash::to_hex(hash) + " " + std::to_string(size.value_or(0)));
        std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
        hash::blake3 payload;
        std::uint64_t bytes = 0;
        for (const auto& [offset, piece] : pieces) {
            if (piece.empty()) continue;
            payload.update(piece);
            bytes += piece.size();
            if (ranges.empty() || ranges.back().second != offset) {
                ranges.emplace_back(offset, offset);
            }
            ranges.back().second = offset + piece.size();
        }
        for (const auto& [start, end] : ranges) {
            say("range " + number + " " + std::to_string(start) + " " + std::to_string(end));
        }
        say("payload " + number + " " + std::to_string(bytes) + " " +
            hash::to_hex(payload.finalize()));
    }

    void save(const std::string& path) const
    {
        std::ofstream file(path, std::ios::binary);
        for (const auto& [offset, piece] : pieces) {
            file.seekp(static_cast<std::streamoff>(offset));
            file.write(reinterpret_cast<const char*>(piece.data()),
                       static_cast<std::streamsize>(piece.size()));
        }
        if (!file.flush()) give_up("cannot write " + path);
    }
};

using answer = std::map<std::uint64_t, blob_content>;  // by index

/// Finds the blobs in the stream: each is a header with its size, then as much as that size and the
/// ranges say. \return bytes behind the last one.
std::uint64_t read_headers(byte_view stream, const blob::ranges_seq& ranges,
                           const std::vector<hash::digest>& hashes, answer& out)
{
    std::uint64_t at = 0;
    std::uint64_t next = 0;
    blob::ranges_seq::cursor wanted(ranges);
    for (;;) {
        const auto index = wanted.next_wanted(next);
        if (!index || *index >= hashes.size()) return stream.size() - at;
        if (stream.size() - at < bao::header_size) return 0;
        const auto header = stream.subspan(static_cast<std::size_t>(at)).first<bao::header_size>();
        blob_content& content = out[*index];
        content.hash = hashes[static_cast<std::size_t>(*index)];
        content.size = bao::decode_header(header);
        const std::uint64_t length = bao::encoded_size(*content.size, wanted.ranges());
        if (length > stream.size() - at) return 0;
        content.complete = true;
        at += length;
        next = *index + 1;
    }
}

blob::ranges_seq wanted_ranges(const arguments& args, bool sequence)
{
    using bao::chunk_ranges;
    using blob::ranges_seq;
    const bool proof = args.has("size-proof");
    const auto spec = args.get("ranges");
    if (spec && proof) give_up("--ranges and --size-proof exclude each other");
    chunk_ranges root = chunk_ranges::all();
    if (spec) root = to_ranges(*spec);
    else if (proof && !sequence) root = chunk_ranges::last_chunk();
    ranges_seq::builder out;
    out.from(0, root);
    if (!sequence) return out.from(1, chunk_ranges::none()).build();
    std::map<std::uint64_t, chunk_ranges> single;
    for (const std::string& text : args.all("child")) {
        const std::size_t equals = text.find('=');
        if (equals == text.npos) give_up("--child is N=RANGES");
        const std::uint64_t number = to_number(std::string_view(text).substr(0, equals));
        if (number >= 1U << 20) give_up("child number too large");
        single[number] = to_ranges(std::string_view(text).substr(equals + 1));
    }
    if (single.empty()) {
        const auto children = args.get("children");
        return out.from(1, to_ranges(children.value_or(proof ? "last" : "all"))).build();
    }
    std::uint64_t next = 1;
    for (const auto& [number, ranges] : single) {
        if (number + 1 > next) out.from(next, chunk_ranges::none());
        out.from(number + 1, ranges);
        next = number + 2;
    }
    return out.from(next, chunk_ranges::none()).build();
}

struct get_plan {
    endpoint_address provider;
    hash::digest hash;
    bool sequence = false;
    blob::ranges_seq ranges;
    bool root_first = false;  ///< the sequence is fetched by a request of its own
    std::chrono::seconds limit{60};
};

get_plan plan_get(const arguments& args)
{
    get_plan out;
    if (const auto text = args.get("ticket")) {
        const auto ticket = must(blob::parse_blob_ticket(*text), "ticket");
        out.provider = ticket.address;
        out.hash = ticket.hash;
        out.sequence = ticket.format == blob::blob_format::hash_seq;
    } else {
        out.provider = provider_address(args);
        out.hash = to_hash(args.need("hash"));
    }
    out.sequence = out.sequence || args.has("hashseq");
    out.ranges = wanted_ranges(args, out.sequence);
    const auto spec = args.get("ranges");
    out.root_first = out.sequence && spec && *spec != "all";
    out.limit = to_seconds(args, "timeout", 60);
    return out;
}

/// The hashes by index: the blob itself, then the children if it is a sequence.
std::vector<hash::digest> known_hashes(const get_plan& plan, store::blob_store& store)
{
    std::vector<hash::digest> out{plan.hash};
    if (!plan.sequence) return out;
    const auto reader = store.open(plan.hash);
    if (!reader) return out;
    std::vector<std::byte> bytes(static_cast<std::size_t>(reader.value()->size()));
    const byte_span part(bytes);
    if (!reader.value()->read(std::span(&part, 1), 0)) return out;
    const auto sequence = blob::hash_sequence::from_bytes(bytes);
    for (std::size_t i = 0; sequence && i < sequence.value().size(); ++i) {
        out.push_back(sequence.value()[i]);
    }
    return out;
}

awaitable<bool> get_over(std::shared_ptr<wrapped_connection> c, const get_plan& plan,
                         const arguments& args)
{
    const auto pool = make_thread_pool(1);
    store::memory_store store(memory_limit);
    disk::leaf_pool buffers("probe buffers", buffers_bytes, 256U << 10);
    blob::fetch_environment env{store, *pool, buffers};
    blob::fetch_diagnostics where;
    if (plan.root_first) {
        blob::get_request first;
        first.hash = plan.hash;
        first.ranges = blob::ranges_seq::root(bao::chunk_ranges::all());
        blob::fetch_options options;
        auto op = blob::fetch(c, std::move(first), env, std::move(options), where);
        const auto done = co_await with_timeout(std::move(op), plan.limit);
        if (!done) give_up("the sequence: " + done.error().message());
    }

    answer got;
    blob::fetch_options options;
    options.data = [&got](std::uint64_t index, std::uint64_t offset, byte_view bytes) {
        got[index].pieces[offset].assign(bytes.begin(), bytes.end());
    };
    blob::get_request wanted;
    wanted.hash = plan.hash;
    wanted.ranges = plan.ranges;
    say("request " + codec::encode_hex(blob::encode_request(wanted)));
    const time_point began = monotonic_clock::now();
    auto op = blob::fetch(c, std::move(wanted), env, std::move(options), where);
    const auto done = co_await with_timeout(std::move(op), plan.limit);
    const auto time = monotonic_clock::now() - began;

    std::error_code error;
    if (!done) error = done.error();
    const receipt seen = c->last ? *c->last : receipt{};
    const auto hashes = known_hashes(plan, store);
    const std::uint64_t unused = read_headers(seen.consumed, plan.ranges, hashes, got);
    // What the sink refused is not in `consumed`, but was received.
    const bool too_much = error == blob::blob_errc::extra_data;
    const std::uint64_t extra = too_much ? unused + seen.bytes - seen.consumed.size() : 0;
    std::uint64_t complete = 0;
    for (const auto& [index, content] : got) {
        content.report(index);
        complete += content.complete ? 1 : 0;
        const auto out = args.get("out");
        if (out) content.save(index == 0 ? *out : *out + "." + std::to_string(index - 1));
    }
    say("blobs " + std::to_string(complete));
    say("stream " + std::to_string(seen.bytes));
    say("extra " + std::to_string(extra));
    say("end " + describe_end(error, seen, *c));
    say("milliseconds " +
        std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(time).count()));
    if (error) say("error " + error.message() + ": " + where.to_string());
    say(error ? "result failed" : "result ok");
    co_return !error;
}

awaitable<bool> get(const arguments& args)
{
    const get_plan plan = plan_get(args);
    quic::endpoint ep = open_endpoint(co_await asio::this_coro::executor, args);
    bool good = false;
    std::exception_ptr failed;
    try {
        auto dialled = co_await dial(ep, plan.provider, plan.limit);
        auto inner = must(std::move(dialled), "no connection");
        const auto c = std::make_shared<wrapped_connection>(std::move(inner));
        say("connected " + codec::to_string(c->peer()));
        good = co_await get_over(c, plan, args);
        c->close(0, "");
    } catch (...) {
        failed = std::current_exception();
    }
    co_await ep.close();
    if (failed) std::rethrow_exception(failed);
    co_return good;
}

// ---- provide ----

/// A hash of which nobody has the blob.
hash::digest absent_hash()
{
    return hash::blake3_hash(as_bytes("copse: nobody has this blob"));
}

class offers {
public:
    offers(store::blob_store& store, endpoint_address address)
        : store_(store), address_(std::move(address))
    {}

    hash::digest file(const std::string& path)
    {
        const auto bytes = read_file(path);
        const hash::digest hash = add(bytes, bao::chunk_ranges::all());
        say("hash " + hash::to_hex(hash) + " " + std::to_string(bytes.size()) + " " + path);
        ticket("raw", hash, blob::blob_format::raw);
        return hash;
    }

    void sequence(const std::string& what, const std::vector<hash::digest>& hashes)
    {
        const auto bytes = blob::encode_hash_sequence(hashes);
        const hash::digest hash = add(bytes, bao::chunk_ranges::all());
        say(what + " " + hash::to_hex(hash) + " " + std::to_string(bytes.size()));
        ticket(what, hash, blob::blob_format::hash_seq);
    }

    void partial(const std::string& text)
    {
        const std::size_t equals = text.rfind('=');
        if (equals == text.npos) give_up("--partial is PATH=RANGES");
        const std::string path = text.substr(0, equals);
        const auto bytes = read_file(path);
        const hash::digest hash = add(bytes, to_ranges(std::string_view(text).substr(equals + 1)));
        say("partial " + hash::to_hex(hash) + " " + std::to_string(bytes.size()) + " " + path);
        ticket("partial", hash, blob::blob_format::raw);
    }

private:
    hash::digest add(byte_view bytes, const bao::chunk_ranges& ranges)
    {
        const bao::outboard tree = bao::outboard::build(bytes);
        const std::uint64_t chunks = bao::chunk_count(bytes.size());
        const bao::chunk_ranges chosen = ranges.effective(chunks);
        if (bytes.empty()) return tree.root();  // every store has it
        const auto writer = must(store_.open_partial(tree.root(), bytes.size()), "store");
        for (std::size_t i = 0; i < chosen.interval_count(); ++i) {
            const auto part = chosen.interval(i);
            const std::uint64_t first = bao::byte_offset(part.first);
            const std::uint64_t end = bao::byte_end(part.end, bytes.size());
            must(writer->write(bytes.subspan(static_cast<std::size_t>(first),
                                             static_cast<std::size_t>(end - first)),
                               first),
                 "store");
        }
        const store::pair_run all{0, tree.pairs()};
        writer->commit(chosen, std::span(&all, 1));
        const bool whole = chosen.covers(0, chunks);
        must(whole ? writer->finish(false)() : writer->checkpoint()(), "store");
        return tree.root();
    }

    void ticket(const std::string& what, const hash::digest& hash, blob::blob_format format) const
    {
        blob::blob_ticket out;
        out.address = address_;
        out.hash = hash;
        out.format = format;
        say("ticket " + what + " " + hash::to_hex(hash) + " " + blob::to_string(out));
    }

    store::blob_store& store_;
    endpoint_address address_;
};

void offer_all(offers& offered, const arguments& args)
{
    std::vector<hash::digest> hashes;
    for (const std::string& path : args.words) hashes.push_back(offered.file(path));
    if (args.has("hashseq")) offered.sequence("hashseq", hashes);
    if (args.has("hashseq-missing")) {
        const auto given = args.get("missing-at");
        const std::uint64_t at = given ? to_number(*given) : hashes.size() / 2;
        if (at > hashes.size()) give_up("--missing-at is beyond the end");
        auto holed = hashes;
        holed.insert(holed.begin() + static_cast<std::ptrdiff_t>(at), absent_hash());
        say("missing " + std::to_string(at) + " " + hash::to_hex(absent_hash()));
        offered.sequence("hashseq-missing", holed);
    }
    for (const std::string& text : args.all("partial")) offered.partial(text);
}

awaitable<void> serve_one(std::shared_ptr<connection> c, blob::provide_environment& env)
{
    const close_reason why = co_await blob::provide(c, env, {});
    static_cast<void>(why);  // getters come and go
    c->close(0, "");
}

awaitable<void> accept_all(quic::listener from, scope& children, blob::provide_environment& env,
                           mischief how)
{
    for (;;) {
        auto next = co_await from.accept();
        if (!next) break;
        auto c = std::make_shared<wrapped_connection>(std::move(next).assume_value(), how);
        children.spawn(serve_one(std::move(c), env));
    }
}

awaitable<void> wait_for_end_of_input()
{
    asio::posix::stream_descriptor input(co_await asio::this_coro::executor, ::dup(STDIN_FILENO));
    std::array<char, 256> ignored;
    for (;;) {
        auto [ec, n] = co_await input.async_read_some(asio::buffer(ignored), as_tuple);
        static_cast<void>(n);
        if (ec) co_return;
    }
}

/// A folder that is removed at the end, unless it was given by --store.
class store_folder {
public:
    explicit store_folder(const arguments& args) : ours_(!args.has("store"))
    {
        path_ = args.get("store").value_or("");
        if (!ours_) {
            std::filesystem::create_directories(path_);
            return;
        }
        path_ = (std::filesystem::temp_directory_path() / "copse-probe-XXXXXX").string();
        if (!::mkdtemp(path_.data())) give_up("cannot make a temporary folder");
    }
    store_folder(const store_folder&) = delete;
    store_folder& operator=(const store_folder&) = delete;
    ~store_folder()
    {
        std::error_code ignored;  // nothing depends on its removal
        if (ours_) std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

private:
    bool ours_;
    std::string path_;
};

awaitable<void> provide_from(quic::endpoint& ep, store::blob_store& store, const arguments& args)
{
    const auto pool = make_thread_pool(1);
    disk::leaf_pool buffers("probe buffers", buffers_bytes, blob::provide_buffer_bytes);
    blob::provide_environment env{store, *pool, buffers};
    say("id " + codec::to_string(ep.id()));
    for (const auto& bound : ep.bound_addresses()) say("addr " + bound.to_string());
    offers offered(store, ep.address());
    offer_all(offered, args);
    mischief how;
    if (const auto at = args.get("corrupt")) how.corrupt = to_number(*at);
    if (const auto at = args.get("truncate")) how.truncate = to_number(*at);
    if (const auto at = args.get("stall")) how.stall = to_number(*at);
    scope children(ep.get_executor());
    children.spawn(accept_all(ep.listen(blob::alpn), children, env, how));
    say("ready");
    co_await wait_for_end_of_input();
    children.request_stop();
    const auto joined = co_await children.join();
    static_cast<void>(joined);  // stopped by ourselves
}

awaitable<bool> provide(const arguments& args)
{
    std::optional<store_folder> folder;
    std::shared_ptr<store::blob_store> store;
    if (args.has("mem")) {
        store = std::make_shared<store::memory_store>(memory_limit);
    } else {
        folder.emplace(args);
        store::folder_options options;
        options.direct = false;  // files are written from where they happen to be in memory
        store = must(store::folder_store::open(real_file_system(), folder->path(), options),
                     folder->path());
    }
    quic::endpoint ep = open_endpoint(co_await asio::this_coro::executor, args);
    std::exception_ptr failed;
    try {
        co_await provide_from(ep, *store, args);
    } catch (...) {
        failed = std::current_exception();
    }
    co_await ep.close();
    store.reset();
    if (failed) std::rethrow_exception(failed);
    co_return true;
}

// ---- raw ----

struct raw_answer {
    std::vector<std::byte> bytes;
    std::string end = "silence";
};

awaitable<result<void>> read_raw(recv_stream& from, const connection& c, std::chrono::seconds wait,
                                 raw_answer& out)
{
    std::vector<std::byte> part(65536);
    for (;;) {
        auto op = from.read(part);
        const auto n = co_await with_timeout(std::move(op), wait);
        if (n && n.value() == 0) {
            out.end = "fin";
            co_return outcome::success();
        }
        if (!n) {
            if (n.error() == std::errc::timed_out) co_return outcome::success();
            receipt seen;
            seen.reset = from.reset_code();
            out.end = describe_end(n.error(), seen, c);
            co_return outcome::success();
        }
        out.bytes.insert(out.bytes.end(), part.begin(),
                         part.begin() + static_cast<std::ptrdiff_t>(n.value()));
    }
}

awaitable<void> raw_over(std::shared_ptr<connection> c, const arguments& args)
{
    auto opened = co_await c->open_bi();
    bidi_stream stream = must(std::move(opened), "stream");
    const auto request = to_bytes(args.need("hex"));
    if (!request.empty()) {
        const auto sent = co_await stream.send->write_copy(request);
        must(sent, "write");
    }
    if (!args.has("no-fin")) stream.send->finish();
    raw_answer got;
    const auto read = co_await read_raw(*stream.recv, *c, to_seconds(args, "wait", 5), got);
    must(read, "read");
    say("bytes " + std::to_string(got.bytes.size()));
    say("blake3 " + hash::to_hex(hash::blake3_hash(got.bytes)));
    say("head " +
        codec::encode_hex(byte_view(got.bytes).first(std::min<std::size_t>(got.bytes.size(), 64))));
    const auto stop = stream.send->stop_code();
    say("stop " + (stop ? std::to_string(*stop) : "none"));
    say("end " + got.end);
    if (const auto out = args.get("out")) {
        std::ofstream file(*out, std::ios::binary);
        file.write(reinterpret_cast<const char*>(got.bytes.data()),
                   static_cast<std::streamsize>(got.bytes.size()));
        if (!file.flush()) give_up("cannot write " + *out);
    }
}

awaitable<bool> raw(const arguments& args)
{
    quic::endpoint ep = open_endpoint(co_await asio::this_coro::executor, args);
    std::exception_ptr failed;
    try {
        auto dialled = co_await dial(ep, provider_address(args), 60s);
        const auto c = must(std::move(dialled), "no connection");
        co_await raw_over(c, args);
        c->close(0, "");
    } catch (...) {
        failed = std::current_exception();
    }
    co_await ep.close();
    if (failed) std::rethrow_exception(failed);
    co_return true;
}

// ---- the program ----

awaitable<result<void>> run(std::string command, std::vector<std::string> rest, bool& good)
{
    if (command == "get") {
        const arguments args(rest,
                             {"ticket", "id", "addr", "hash", "ranges", "children", "child", "out",
                              "bind", "timeout"},
                             {"size-proof", "hashseq"});
        good = co_await get(args);
    } else if (command == "provide") {
        const arguments args(
            rest, {"bind", "store", "partial", "missing-at", "corrupt", "truncate", "stall"},
            {"mem", "hashseq", "hashseq-missing"});
        good = co_await provide(args);
    } else if (command == "raw") {
        const arguments args(rest, {"id", "addr", "hex", "wait", "out", "bind"}, {"no-fin"});
        good = co_await raw(args);
    } else {
        give_up("usage: copse_probe get|provide|raw ..., see tests/interop/README.md");
    }
    co_return outcome::success();
}

}  // namespace

int main(int argc, char** argv)
{
    const std::vector<std::string> input(argv + std::min(argc, 1), argv + argc);
    try {
        bool good = false;
        const std::string command = input.empty() ? "" : input.front();
        const std::vector<std::string> rest(input.begin() + (input.empty() ? 0 : 1), input.end());
        must(run_until_complete(run(command, rest, good)), "probe");
        return good ? 0 : 1;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "copse_probe: %s\n", e.what());
        return 2;
    }
}
