// What the pages of the pure components show: no I/O, no threads, no Asio.
#include <copse/bao/decode_core.hpp>
#include <copse/bao/encode_core.hpp>
#include <copse/bao/outboard.hpp>
#include <copse/codec/postcard.hpp>
#include <copse/copse.hpp>

#include <iostream>

using namespace copse;

namespace {

// [hash]
bool hash_in_pieces(byte_view data)
{
    hash::blake3 hasher;
    for (byte_view rest = data; !rest.empty();) {
        const byte_view part = rest.first(std::min<std::size_t>(rest.size(), 256 << 10));
        hasher.update(part);
        rest = rest.subspan(part.size());
    }
    return hasher.finalize() == hash::blake3_hash(data);
}
// [hash]

// [codec]
std::vector<std::byte> write_greeting(std::string_view name, std::uint32_t age)
{
    std::vector<std::byte> out;
    codec::postcard_writer to(out);
    to.string(name);
    to.unsigned_integer(age);
    return out;
}

result<std::string> read_greeting(byte_view from)
{
    codec::postcard_reader in(from);
    COPSE_TRY(const std::string_view name, in.string(64));  // 64: the most we want to hold
    COPSE_TRY(const std::uint32_t age, in.u32());
    COPSE_TRYV(in.finish());
    return std::string(name) + " is " + std::to_string(age);
}
// [codec]

// [bao]
result<std::vector<std::byte>> decode(byte_view wire, const hash::digest& root,
                                      const bao::chunk_ranges& wanted)
{
    bao::decode_core decoder(root, wanted);
    std::vector<std::byte> extent;
    std::vector<std::byte> out;
    while (!decoder.finished()) {
        if (decoder.needs_buffer()) {
            extent.resize(decoder.buffer_bytes());
            decoder.provide_buffer(extent);
        }
        COPSE_TRY(const std::size_t used, decoder.push(wire));
        wire = wire.subspan(used);
        if (auto filled = decoder.take_extent()) {
            bao::mismatch where;
            COPSE_TRY(const auto good, bao::verify(std::move(*filled), where));
            for (std::size_t i = 0; i < good.piece_count(); ++i) {
                out.insert(out.end(), good[i].bytes.begin(), good[i].bytes.end());
            }
        } else if (wire.empty() && !decoder.needs_buffer()) {
            COPSE_TRYV(decoder.end_of_input());
        }
    }
    return out;
}

result<std::vector<std::byte>> last_chunk_of(byte_view data)
{
    const bao::outboard index = bao::outboard::build(data);
    const auto wanted = bao::chunk_ranges::last_chunk();
    COPSE_TRY(const auto wire, bao::encode_all(data, index, wanted));
    return decode(wire, index.root(), wanted);  // as a receiver who knows nothing but the root
}
// [bao]

bool show(const char* what, bool good)
{
    std::cout << what << (good ? ": good\n" : ": WRONG\n");
    return good;
}

}  // namespace

int main()
{
    const std::vector<std::byte> data(100'000, std::byte{7});
    bool good = show("hash", hash_in_pieces(data));
    const auto greeting = read_greeting(write_greeting("Ada", 36));
    good &= show("codec", greeting && greeting.value() == "Ada is 36");
    const auto last = last_chunk_of(data);
    good &= show("bao", last && last.value().size() == 100'000 % 1024);
    return good ? 0 : 1;
}
