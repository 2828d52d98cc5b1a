// Any bytes as a request: what is accepted is written in no more bytes and reads the same, and a
// cursor over its ranges agrees with asking for single indices.
#include <copse/blob/wire.hpp>

#include <cstdlib>

using namespace copse;
using namespace copse::blob;

namespace {

void require(bool good)
{
    if (!good) std::abort();
}

void check_ranges(const ranges_seq& seq)
{
    ranges_seq::cursor cursor(seq);
    std::uint64_t from = 0;
    for (int steps = 0; steps < 20; ++steps) {
        const auto index = cursor.next_wanted(from);
        if (!index) break;
        require(*index >= from && !cursor.ranges().empty());
        require(seq.at(*index) == cursor.ranges());
        if (*index > from) require(seq.at(*index - 1).empty());
        if (*index == bao::chunk_ranges::max_chunk) break;
        from = *index + 1;
    }
    if (seq.is_single_blob()) require(seq == ranges_seq::root(seq.at(0)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const byte_view input = std::as_bytes(std::span(data, size));
    const auto read = decode_request(input);
    if (!read) {
        require(to_wire_code(read.error()) == wire_code::permission);
        return 0;
    }
    std::visit(
        [&](const auto& value) {
            const auto bytes = encode_request(value);
            require(bytes.size() <= size);
            const auto again = decode_request(bytes);
            require(again && again.value() == read.value());
        },
        read.value());
    if (const auto* get = std::get_if<get_request>(&read.value())) check_ranges(get->ranges);
    if (const auto* many = std::get_if<get_many_request>(&read.value())) check_ranges(many->ranges);
    return 0;
}
