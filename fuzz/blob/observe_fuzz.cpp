// Any bytes as an item of an answer to Observe: what is accepted is written and read the same, and a
// change that is applied twice leaves the state as it was.
#include <copse/blob/observe.hpp>

#include <cstdlib>

using namespace copse;
using namespace copse::blob;

namespace {

void require(bool good)
{
    if (!good) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const byte_view input = std::as_bytes(std::span(data, size));
    const auto item = decode_observation(input);
    if (!item) return 0;
    const auto bytes = encode_observation(item.value());
    std::size_t length_bytes = 1;
    while (length_bytes < bytes.size() &&
           (bytes[length_bytes - 1] & std::byte{0x80}) != std::byte{0})
        ++length_bytes;
    const auto again = decode_observation(byte_view(bytes).subspan(length_bytes));
    require(again && again.value() == item.value());
    observation state;
    apply_change(state, item.value());
    apply_change(state, item.value());
    require(state.ranges.empty());
    return 0;
}
