// Any bytes as an integer of each width: what is read fits, its shortest encoding reads the same, and cutting
// the input short is told apart from what no further byte could mend.
#include <copse/codec/varint.hpp>

#include <cstdlib>
#include <span>

using namespace copse;
using namespace copse::codec;

namespace {

void require(bool good)
{
    if (!good) std::abort();
}

template <class T>
void check(byte_view input)
{
    const auto got = decode_varint<T>(input);
    if (!got) {
        const bool cut = input.size() < max_varint_size<T>;
        require(got.error() == codec_errc::overflow || cut);
        if (got.error() != codec_errc::truncated) return;
        // Nothing but "more" so far: a last byte of zero bits completes it.
        std::vector<std::byte> more(input.begin(), input.end());
        more.push_back(std::byte{0});
        const auto whole = decode_varint<T>(more);
        require(whole && whole.value().size == more.size());
        return;
    }
    const auto [value, size] = got.value();
    require(size > 0 && size <= max_varint_size<T> && size <= input.size());
    std::vector<std::byte> shortest;
    append_varint(shortest, value);
    require(shortest.size() == varint_size(value) && shortest.size() <= size);
    const auto again = decode_varint<T>(shortest);
    require(again && again.value().value == value && again.value().size == shortest.size());
    for (std::size_t n = 0; n < size; ++n) {
        const auto part = decode_varint<T>(input.first(n));
        require(!part && part.error() == codec_errc::truncated);
    }
    require(zigzag(unzigzag(value)) == value);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const byte_view input = std::as_bytes(std::span(data, size));
    check<std::uint8_t>(input);
    check<std::uint16_t>(input);
    check<std::uint32_t>(input);
    check<std::uint64_t>(input);
    return 0;
}
