#include <copse/store/bits_core.hpp>

#include "catch.hpp"
#include "support.hpp"

using namespace copse;
using namespace copse::store;

namespace {

const hash::digest root = hash::blake3_hash(as_bytes("root"));

presence_record sample(std::uint64_t sequence = 7)
{
    presence_record record;
    record.sequence = sequence;
    record.size = 1'000'000;  // 977 chunks, 62 groups, the last of one chunk
    record.size_proven = true;
    record.root = root;
    record.boot = hash::blake3_hash(as_bytes("boot"));
    record.present = bao::chunk_ranges::range(0, 32) | bao::chunk_ranges::range(64, 80) |
                     bao::chunk_ranges::range(976, 977);
    return record;
}

// A slot with these runs and a right checksum, whatever the runs are.
std::vector<std::byte> slot_with(std::vector<std::uint64_t> runs, bool proven = true)
{
    auto record = sample();
    record.present = {};
    record.size_proven = proven;
    auto bytes = bits_core::encode(record);
    bytes.resize(bits_core::header_size);
    const std::uint64_t count = runs.size() / 2;
    for (std::size_t i = 0; i < 8; ++i) {
        bytes[bits_core::header_size - 8 + i] = static_cast<std::byte>(count >> 8 * i);
    }
    for (const auto value : runs) {
        for (std::size_t i = 0; i < 8; ++i) bytes.push_back(static_cast<std::byte>(value >> 8 * i));
    }
    const auto sum = hash::blake3_hash(bytes);
    bytes.insert(bytes.end(), sum.bytes.begin(), sum.bytes.end());
    return bytes;
}

}  // namespace

TEST_CASE("bits_core: a record comes back as it was", "[store]")
{
    const auto record = sample();
    auto bytes = bits_core::encode(record);
    CHECK(bytes.size() == bits_core::header_size + 3 * 16 + bits_core::checksum_size);
    CHECK(bits_core::decode(bytes, root).value() == record);
    // What an older, longer record left behind it does not matter.
    bytes.resize(bits_core::slot_size, std::byte{0xab});
    CHECK(bits_core::decode(bytes, root).value() == record);
    bytes.push_back({});
    CHECK(bits_core::decode(bytes, root).error() == store_errc::corrupt_state);

    auto empty = sample();
    empty.present = {};
    empty.size_proven = false;
    CHECK(bits_core::decode(bits_core::encode(empty), root).value() == empty);
}

TEST_CASE("bits_core: no flipped bit and no cut is believed", "[store]")
{
    const auto good = bits_core::encode(sample());
    for (std::size_t i = 0; i < good.size(); ++i) {
        for (const unsigned bit : {0u, 3u, 7u}) {
            auto bad = good;
            bad[i] ^= static_cast<std::byte>(1u << bit);
            REQUIRE(bits_core::decode(bad, root).error() == store_errc::corrupt_state);
        }
    }
    for (std::size_t n = 0; n < good.size(); ++n) {
        REQUIRE(bits_core::decode(byte_view(good).first(n), root).error() ==
                store_errc::corrupt_state);
    }
    CHECK(bits_core::decode(good, hash::blake3_hash(as_bytes("other"))).error() ==
          store_errc::corrupt_state);
}

TEST_CASE("bits_core: contradictions with a right checksum are refused", "[store]")
{
    const auto refused = [](const std::vector<std::byte>& slot) {
        return bits_core::decode(slot, root).error() == store_errc::corrupt_state;
    };
    CHECK(bits_core::decode(slot_with({0, 1, 2, 62}), root));
    CHECK(refused(slot_with({0, 0})));
    CHECK(refused(slot_with({2, 1})));
    CHECK(refused(slot_with({0, 1, 1, 2})));  // touching
    CHECK(refused(slot_with({4, 5, 2, 3})));
    CHECK(refused(slot_with({0, 63})));  // beyond the end
    CHECK(refused(slot_with({0, ~std::uint64_t{0}})));
    CHECK(refused(slot_with({0, 62}, false)));  // the last group proves the size
    CHECK(bits_core::decode(slot_with({0, 61}, false), root));
}

TEST_CASE("bits_core: the newest good slot wins", "[store]")
{
    const auto put = [](std::vector<std::byte>& file, const presence_record& record) {
        const auto bytes = bits_core::encode(record);
        const auto offset = static_cast<std::ptrdiff_t>(bits_core::slot_offset(record.sequence));
        std::copy(bytes.begin(), bytes.end(), file.begin() + offset);
    };
    std::vector<std::byte> file(bits_core::file_size);
    CHECK_FALSE(bits_core::newest(file, root));
    CHECK_FALSE(bits_core::newest({}, root));
    put(file, sample(7));
    CHECK(bits_core::newest(file, root)->sequence == 7);
    put(file, sample(8));
    CHECK(bits_core::newest(file, root)->sequence == 8);
    put(file, sample(9));
    CHECK(bits_core::newest(file, root)->sequence == 9);

    // Any damage to the newest leaves the older one.
    const auto length = bits_core::encode(sample(9)).size();
    for (std::size_t i = 0; i < length; ++i) {
        auto torn = file;
        torn[bits_core::slot_size + i] ^= std::byte{0x10};
        REQUIRE(bits_core::newest(torn, root)->sequence == 8);
    }
    auto cut = file;
    cut.resize(bits_core::slot_size + 40);
    CHECK(bits_core::newest(cut, root)->sequence == 8);
    // A record in the wrong slot was not written by us.
    std::copy_n(file.begin(), length, file.begin() + bits_core::slot_size);
    CHECK(bits_core::newest(file, root)->sequence == 8);
    file.push_back({});
    CHECK_FALSE(bits_core::newest(file, root));
}

TEST_CASE("bits_core: more runs than fit lose the shortest", "[store]")
{
    auto record = sample();
    record.size = std::uint64_t{1} << 40;
    record.size_proven = false;
    record.present = {};
    for (std::uint64_t i = 0; i < bits_core::max_runs + 100; ++i) {
        const std::uint64_t length = i % 50 == 0 ? 1 : 2;  // in groups
        record.present.insert(64 * i, 64 * i + 16 * length);
    }
    const auto bytes = bits_core::encode(record);
    CHECK(bytes.size() <= bits_core::slot_size);
    const auto back = bits_core::decode(bytes, root).value();
    CHECK(back.present.interval_count() == bits_core::max_runs);
    CHECK((back.present - record.present).empty());
    CHECK(back.present.contains(64));
    CHECK((record.present - back.present).chunk_total() < 100 * 32);
}
