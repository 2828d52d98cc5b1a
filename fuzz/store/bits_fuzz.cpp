// Any bytes as a `.bits` file: no crash, nothing believed that encode() would not write, and nothing
// present beyond the end of the blob.
#include <copse/store/bits_core.hpp>

#include <cstdlib>
#include <cstring>

using namespace copse;
using namespace copse::store;

namespace {

void require(bool good)
{
    if (!good) std::abort();
}

void check(const presence_record& record)
{
    require(record.size > 0);
    const std::uint64_t chunks = bao::chunk_count(record.size);
    require(!record.present.open_ended());
    require(record.present.clipped(0, chunks) == record.present);
    require(record.present.full_groups(chunks) == record.present);
    require(record.size_proven || !record.present.contains(chunks - 1));
    require(record.present.interval_count() <= bits_core::max_runs);
    const auto bytes = bits_core::encode(record);
    require(bytes.size() <= bits_core::slot_size);
    const auto again = bits_core::decode(bytes, record.root);
    require(again && again.value() == record);
}

// Sets the checksum that these bytes would need, so that what is behind it is reached.
void seal(std::vector<std::byte>& slot)
{
    constexpr std::size_t count_at = bits_core::header_size - 8;
    if (slot.size() < bits_core::header_size) return;
    std::uint64_t runs = 0;
    for (std::size_t i = 8; i-- > 0;) {
        runs = runs << 8 | std::to_integer<std::uint64_t>(slot[count_at + i]);
    }
    if (runs > bits_core::max_runs) return;
    const auto length = bits_core::header_size + 16 * static_cast<std::size_t>(runs);
    if (slot.size() < length) slot.resize(length);
    const auto sum = hash::blake3_hash(byte_view(slot).first(length));
    slot.resize(std::max(slot.size(), length + bits_core::checksum_size));
    std::copy(sum.bytes.begin(), sum.bytes.end(), slot.begin() + static_cast<long>(length));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const byte_view bytes = std::as_bytes(std::span(data, size));
    hash::digest root;  // zeros, which an input can name
    if (const auto record = bits_core::newest(bytes, root)) check(*record);

    // The same as the fields of a slot with the right beginning and end.
    const auto start = as_bytes("copsebit\1\0\0\0");
    std::vector<std::byte> slot(start.begin(), start.end());
    slot.resize(12);
    const auto fields = bytes.first(std::min(bytes.size(), bits_core::slot_size - 12));
    slot.insert(slot.end(), fields.begin(), fields.end());
    seal(slot);
    if (slot.size() <= bits_core::slot_size) {
        if (const auto record = bits_core::decode(slot, root)) check(record.value());
    }
    return 0;
}
