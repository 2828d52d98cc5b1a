// Any bytes as a list of hashes: what is accepted lists exactly these bytes.
#include <copse/blob/collection.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

using namespace copse;

namespace {

void require(bool good)
{
    if (!good) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const byte_view input = std::as_bytes(std::span(data, size));
    const auto list = blob::hash_sequence::from_bytes(input);
    require(list.has_value() == blob::hash_sequence::is_valid_size(size));
    if (!list) return 0;
    require(list.value().empty() == (list.value().size() == 0));
    std::vector<hash::digest> hashes;
    for (std::size_t i = 0; i < list.value().size(); ++i) hashes.push_back(list.value()[i]);
    const auto written = blob::encode_hash_sequence(hashes);
    require(std::ranges::equal(written, input));
    return 0;
}
