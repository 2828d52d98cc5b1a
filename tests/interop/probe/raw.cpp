// `raw`: bytes of the caller's choice on a stream.
#include "modes.hpp"
#include "network.hpp"

#include <copse/blob/wire.hpp>
#include <copse/codec/hex.hpp>
#include <copse/core/race.hpp>
#include <copse/hash/blake3.hpp>

#include <algorithm>
#include <fstream>

namespace probe {
namespace {

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

awaitable<bool> raw_over(std::shared_ptr<wrapped_connection> c, const arguments& args)
{
    auto opened = co_await c->open_bi();
    bidi_stream stream = must(std::move(opened), "stream");
    auto request = to_bytes(args.need("hex"));
    if (const auto path = args.get("file")) {
        const auto more = read_file(*path);
        request.insert(request.end(), more.begin(), more.end());
    }
    if (!request.empty()) {
        const auto sent = co_await stream.send->write_copy(request);
        static_cast<void>(sent);  // refused before everything was read: that shows as `stop`
    }
    if (!args.has("no-fin")) stream.send->finish();
    raw_answer got;
    const auto read = co_await read_raw(*stream.recv, *c, args.seconds("wait", 5), got);
    must(read, "read");
    if (!args.has("no-fin")) {
        // An answer may end before the request has arrived, which closing would drop.
        auto arriving = stream.send->acknowledged();
        const auto arrived = co_await with_timeout(std::move(arriving), std::chrono::seconds(1));
        static_cast<void>(arrived);
    }
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
    co_return true;
}

}  // namespace

awaitable<bool> raw(std::vector<std::string> input)
{
    const arguments args(input, {"id", "addr", "hex", "file", "wait", "out", "bind", "timeout"},
                         {"no-fin"});
    const endpoint_address provider = provider_address(args);
    const bool good = co_await talk(provider, std::string(blob::alpn), raw_over, args);
    co_return good;
}

}  // namespace probe
