#include "catch.hpp"
#include "reference.hpp"

#include <copse/bao/decode_core.hpp>
#include <copse/bao/encode_core.hpp>
#include <copse/bao/outboard.hpp>

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

using namespace copse;
using namespace copse::bao;
using namespace copse::test;

namespace {

constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();

struct blob {
    byte_vector data;
    digest root;

    explicit blob(byte_vector from) : data(std::move(from)), root(hash::blake3_hash(data)) {}
    byte_vector encode(const chunk_ranges& request) const
    {
        return reference::encode(data, request.boundaries());
    }
};

// Everything handed out must be the blob's own bytes, whatever came in.
bool only_true_bytes(const reference::outcome_of& got, byte_view data)
{
    for (const auto& [at, bytes] : got.leaves) {
        if (at > data.size() || bytes.size() > data.size() - at) return false;
        if (!std::equal(bytes.begin(), bytes.end(), data.begin() + static_cast<std::ptrdiff_t>(at)))
            return false;
    }
    return true;
}

}  // namespace

TEST_CASE("decode_core: agrees with the specification on random requests, extents and splits",
          "[bao]")
{
    const std::uint64_t seed = seed_or(21);
    INFO("seed " << seed);
    seeded_rng rng{seed};
    const byte_vector all = rng.bytes((1 << 20) + 20000);
    for (int round = 0; round < 3000; ++round) {
        const std::size_t size =
            rng.between<std::size_t>(0, (std::size_t{1} << rng.between(0, 20)) + 20000);
        const byte_view data = byte_view(all).first(size);
        const std::uint64_t chunks = chunk_count(size);
        std::vector<std::uint64_t> boundaries(rng.between<std::size_t>(0, round % 9 == 0 ? 60 : 5));
        for (auto& b : boundaries) b = rng.between<std::uint64_t>(0, chunks + 3);
        if (round % 5 == 0) boundaries = {0};
        const chunk_ranges request = ranges_of(std::move(boundaries));
        const std::size_t extent = group_size << rng.between(0, 6);
        INFO("round " << round << ", size " << size << ", extent " << extent);

        const digest root = hash::blake3_hash(data);
        byte_vector wire = reference::encode(data, request.boundaries());
        const auto expected = reference::decode(wire, size, root, request.boundaries());
        REQUIRE_FALSE(expected.error);
        const std::size_t length = wire.size();
        reference::put(wire, pattern(100));  // the next blob on the stream

        decode_core core{root, request, {.extent_bytes = extent}};
        const std::size_t step = rng.between<std::size_t>(1, 5000);
        const auto got = run_decoder(core, wire, [&] { return rng.between<std::size_t>(1, step); });
        REQUIRE_FALSE(got.error);
        REQUIRE(got.used == length);
        REQUIRE(core.consumed() == length);
        REQUIRE(joined(got.leaves) == joined(expected.leaves));
        REQUIRE(got.pairs == expected.pairs);
        REQUIRE(core.end_of_input());
        REQUIRE(core.selected() == request.effective(chunks));
        std::uint64_t leaf_bytes = 0;
        for (const auto& [at, bytes] : expected.leaves) leaf_bytes += bytes.size();
        REQUIRE(core.leaf_bytes() == leaf_bytes);
    }
}

TEST_CASE("decode_core: a flipped bit anywhere gives the error and place of the specification",
          "[bao]")
{
    const auto flip_all = [](std::size_t size, const chunk_ranges& request, std::size_t extent,
                             std::size_t stride) {
        const blob of{pattern(size)};
        byte_vector wire = of.encode(request);
        for (std::size_t at = 0; at < wire.size(); at += stride) {
            INFO("size " << size << ", extent " << extent << ", byte " << at);
            const auto bit = std::byte{1} << (at % 8);
            wire[at] ^= bit;
            const std::uint64_t claimed =
                decode_header(std::span<const std::byte>(wire).first<header_size>());
            decode_core core{of.root, request, {.extent_bytes = extent, .max_size = most}};
            const auto got = run_decoder(core, wire);
            REQUIRE(only_true_bytes(got, of.data));
            if (claimed < 1 << 22) {
                const auto want = reference::decode(wire, claimed, of.root, request.boundaries());
                REQUIRE(got.error == want.error);
                REQUIRE(got.where == want.where);
            }
            // A size of the same shape cannot be told from the true one without the last chunk.
            if (at < header_size && !got.error) REQUIRE_FALSE(core.size_proven());
            else REQUIRE(got.error);
            wire[at] ^= bit;
        }
        decode_core core{of.root, request, {.extent_bytes = extent}};
        REQUIRE_FALSE(run_decoder(core, wire).error);
    };
    flip_all(1, chunk_ranges::all(), 16384, 1);
    flip_all(1025, chunk_ranges::all(), 16384, 1);
    flip_all(3000, chunk_ranges::range(1, 2), 65536, 1);
    flip_all(40000, chunk_ranges::range(17, 19), 16384, 1);
    flip_all(40000, chunk_ranges::range(17, 19), 65536, 1);
    flip_all(70000, chunk_ranges::last_chunk(), 32768, 1);
    flip_all(200000, ranges_of({3, 4, 40, 41}), 32768, 1);
    flip_all(70000, chunk_ranges::all(), 32768, 97);
    flip_all(400000, chunk_ranges::all(), 131072, 1999);
    flip_all(400000, ranges_of({5, 70, 100, 101, 300}), 65536, 1999);
}

TEST_CASE("decode_core: a wrong pair above right data is refused", "[bao]")
{
    // Both children swapped in name only: the data hash to the expected root, the pair does not.
    const blob of{pattern(64 * 1024)};
    byte_vector wire = of.encode(chunk_ranges::all());
    wire[8 + 64] ^= std::byte{1};  // the second pair, inside the extent
    mismatch where;
    decode_core core{of.root, chunk_ranges::all(), {.extent_bytes = 65536}};
    byte_vector buffer(65536);
    REQUIRE(core.push(byte_view(wire).first(8)).value() == 8);
    core.provide_buffer(buffer);
    REQUIRE(core.push(byte_view(wire).subspan(8)).value() == wire.size() - 8);
    auto filled = core.take_extent();
    REQUIRE(filled);
    CHECK(filled->whole());
    CHECK(verify(std::move(*filled), where).error() == bao_errc::parent_mismatch);
    CHECK(where == mismatch{0, 32});
}

TEST_CASE("decode_core: a stream cut at any byte is truncated and keeps what is good", "[bao]")
{
    const auto cut_all = [](std::size_t size, const chunk_ranges& request, std::size_t extent,
                            std::size_t stride) {
        const blob of{pattern(size)};
        const byte_vector wire = of.encode(request);
        for (std::size_t length = 0; length < wire.size(); length += stride) {
            INFO("size " << size << ", extent " << extent << ", cut at " << length);
            const byte_view in = byte_view(wire).first(length);
            decode_core core{of.root, request, {.extent_bytes = extent}};
            const auto got = run_decoder(core, in);
            REQUIRE(got.error == (length == 0 ? bao_errc::absent : bao_errc::truncated));
            REQUIRE(core.consumed() == length);
            REQUIRE_FALSE(core.finished());
            if (length < header_size) continue;
            // Not a byte less than the strict decoder verified.
            const auto want = reference::decode(in, size, of.root, request.boundaries());
            REQUIRE(joined(got.leaves) == joined(want.leaves));
            // It is over: the buffer went back with what was saved.
            REQUIRE(core.push(byte_view(wire).subspan(length)).error() == bao_errc::truncated);
            REQUIRE(core.end_of_input().error() == bao_errc::truncated);
        }
    };
    cut_all(0, chunk_ranges::all(), 16384, 1);
    cut_all(3000, chunk_ranges::all(), 16384, 1);
    cut_all(40000, chunk_ranges::range(17, 19), 65536, 1);
    cut_all(200000, ranges_of({3, 4, 40, 41}), 32768, 1);
    cut_all(400000, chunk_ranges::all(), 131072, 1021);
    cut_all(400000, ranges_of({5, 70, 100, 101, 300}), 65536, 1021);
}

TEST_CASE("decode_core: an interrupted extent gives the pairs and leaves that were there", "[bao]")
{
    const blob of{pattern(200000)};
    const byte_vector wire = of.encode(chunk_ranges::all());
    for (std::size_t length = 8; length < wire.size(); length += 500) {
        INFO("cut at " << length);
        const byte_view in = byte_view(wire).first(length);
        decode_core core{of.root, chunk_ranges::all(), {.extent_bytes = 65536}};
        const auto got = run_decoder(core, in);
        const auto want = reference::decode(in, 200000, of.root, chunk_ranges::all().boundaries());
        CHECK(got.error == bao_errc::truncated);
        CHECK(joined(got.leaves) == joined(want.leaves));
        for (const auto& [index, pair] : got.pairs) {
            const auto found = want.pairs.find(index);
            REQUIRE(found != want.pairs.end());
            CHECK(found->second == pair);
        }
    }
}

TEST_CASE("decode_core: an extent that was cut off says so, and holds what was there", "[bao]")
{
    const blob of{pattern(70000)};
    const byte_vector wire = of.encode(chunk_ranges::all());
    decode_core core{of.root, chunk_ranges::all(), {.extent_bytes = 32768}};
    byte_vector buffer(32768);
    const std::size_t before = core.push(wire).value();
    core.provide_buffer(buffer);
    CHECK(core.push(byte_view(wire).subspan(before, 20000)).value() == 20000);
    CHECK(core.end_of_input().error() == bao_errc::truncated);
    auto filled = core.take_interrupted();
    REQUIRE(filled);
    CHECK(filled->interrupted());
    CHECK_FALSE(filled->whole());
    mismatch where;
    const auto extent = verify(std::move(*filled), where);
    REQUIRE(extent);
    CHECK(extent.value().chunks() == chunk_ranges::range(0, 16));
    CHECK_FALSE(extent.value().proves_size());
}

TEST_CASE("decode_core: wrong size headers never verify", "[bao]")
{
    for (const std::size_t size : {0ul, 1ul, 1024ul, 16384ul, 16385ul, 65537ul, 200000ul}) {
        const blob of{pattern(size)};
        for (const auto& request :
             {chunk_ranges::all(), chunk_ranges::last_chunk(), chunk_ranges::range(0, 1)}) {
            const byte_vector good = of.encode(request);
            for (const std::uint64_t claim :
                 {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{size} - 1,
                  std::uint64_t{size} + 1, std::uint64_t{size} * 2, std::uint64_t{16384},
                  std::uint64_t{16385}, most, std::uint64_t{1} << 63}) {
                if (claim == size) continue;
                INFO("size " << size << ", claimed " << claim << ", wire " << good.size());
                byte_vector wire = good;
                const auto header = encode_header(claim);
                std::copy(header.begin(), header.end(), wire.begin());
                reference::put(wire,
                               byte_vector(300000));  // so that nothing ends for lack of bytes
                decode_core core{of.root, request, {.max_size = most}};
                const auto got = run_decoder(core, wire);
                REQUIRE(only_true_bytes(got, of.data));
                REQUIRE_FALSE(core.size_proven());
                // One chunk in front of the end is the same in every blob that begins alike: there a
                // wrong size can pass, as long as the pairs above it fit, but it proves nothing.
                if (!got.error) REQUIRE(request == chunk_ranges::range(0, 1));
            }
        }
    }
}

TEST_CASE("decode_core: only the last chunk proves the size", "[bao]")
{
    const blob of{pattern(100000)};
    const auto proven = [&](const chunk_ranges& request) {
        decode_core core{of.root, request, {.extent_bytes = 16384}};
        const byte_vector wire = of.encode(request);
        const auto got = run_decoder(core, wire);
        CHECK_FALSE(got.error);
        CHECK(core.size() == 100000u);
        return core.size_proven();
    };
    CHECK(proven(chunk_ranges::all()));
    CHECK(proven(chunk_ranges::last_chunk()));
    CHECK(proven(chunk_ranges::range(97, 98)));
    CHECK(proven(chunk_ranges::range(1000, 1001)));
    CHECK_FALSE(proven(chunk_ranges::range(0, 97)));
    CHECK_FALSE(proven(chunk_ranges::none()));
}

TEST_CASE("decode_core: sizes above the limit are refused at the header", "[bao]")
{
    const blob of{pattern(5000)};
    decode_core core{of.root, chunk_ranges::all(), {.max_size = 4999}};
    CHECK(core.push(of.encode(chunk_ranges::all())).error() == bao_errc::size_limit);
    CHECK(core.push(pattern(1)).error() == bao_errc::size_limit);
    CHECK(core.end_of_input().error() == bao_errc::size_limit);
    CHECK_FALSE(core.size());
    decode_core signed_sizes{of.root, chunk_ranges::all()};
    CHECK(signed_sizes.push(encode_header(std::uint64_t{1} << 63)).error() == bao_errc::size_limit);
}

TEST_CASE("bao: one chunk of a blob of 2^64-1 bytes is encoded and decoded in small memory",
          "[bao]")
{
    // A tree that nobody can fill: one true chunk, everything beside its path invented.
    const std::uint64_t chunks = chunk_count(most);
    for (const bool last : {false, true}) {
        const std::uint64_t target = last ? chunks - 1 : 0;
        const byte_vector chunk = pattern(last ? 1023 : 1024);
        std::vector<std::array<std::byte, 64>> path;
        digest cv = hash::subtree_cv(chunk, target, false);
        for (std::uint64_t span = 2; span <= chunks; span *= 2) {
            std::array<std::byte, 64> pair;
            pair.fill(static_cast<std::byte>(span % 251));
            std::ranges::copy(cv.bytes, pair.begin() + (last ? 32 : 0));
            cv = hash::parent_cv(left_of(pair), right_of(pair), span == chunks);
            path.insert(path.begin(), pair);
        }
        const chunk_ranges request = last ? chunk_ranges::last_chunk() : chunk_ranges::range(0, 1);

        encode_core encoder{cv, most, request, 64};
        byte_vector wire;
        mismatch where;
        std::size_t depth = 0;
        auto job =
            encoder.next([&](const upper_pair&) { return pair_view(path[depth++]); }, wire, where);
        REQUIRE(job);
        REQUIRE(job.value());
        CHECK(job.value()->selected == chunk_ranges::range(target, target + 1));
        CHECK(encoder.total_bytes() == 8 + 54 * 64 + chunk.size());
        CHECK(encoder.total_bytes() == wire.size() + job.value()->wire_bytes);
        for (; depth < path.size(); ++depth) reference::put(wire, path[depth]);
        reference::put(wire, chunk);

        decode_core core{cv, request, {.max_size = most}};
        const auto got = run_decoder(core, wire, [] { return std::size_t{100}; });
        REQUIRE_FALSE(got.error);
        REQUIRE(got.leaves.size() == 1);
        CHECK(got.leaves.begin()->first == target * 1024);
        CHECK(got.leaves.begin()->second == chunk);
        CHECK(core.size_proven() == last);
    }
}

TEST_CASE("decode_core: takes nothing without a buffer or while an extent waits", "[bao]")
{
    const blob of{pattern(70000)};
    const byte_vector wire = of.encode(chunk_ranges::all());
    decode_core core{of.root, chunk_ranges::all(), {.extent_bytes = 32768}};
    byte_view in = wire;
    const auto push = [&] {
        const std::size_t used = core.push(in).value();
        in = in.subspan(used);
        return used;
    };
    CHECK(push() == 8 + 64 + 64);  // the root, and the left one over two extents
    CHECK(core.needs_buffer());
    CHECK(core.buffer_bytes() == 32768);
    CHECK(core.buffer_offset() == 0);
    CHECK(push() == 0);
    byte_vector first(40000);
    core.provide_buffer(first);
    CHECK(push() == 32768 + 64);
    CHECK(core.extent_ready());
    CHECK(core.needs_buffer());
    byte_vector second(32768);
    core.provide_buffer(second);
    CHECK(push() == 0);  // not before the first is taken
    mismatch where;
    auto filled = core.take_extent();
    REQUIRE(filled);
    CHECK(filled->node() == subtree{0, 32});
    CHECK(filled->length() == 32768);
    CHECK_FALSE(filled->interrupted());
    const auto one = verify(std::move(*filled), where);
    REQUIRE(one);
    CHECK(one.value().node() == subtree{0, 32});
    CHECK(one.value().size() == 70000);
    CHECK(one.value().bytes().data() == first.data());
    CHECK(one.value().bytes().size() == 32768);
    CHECK(one.value().whole());
    CHECK(one.value().chunks() == chunk_ranges::range(0, 32));
    CHECK(one.value().pair_run_count() == 1);
    CHECK(one.value().pairs(0).index == 0);
    CHECK(one.value().pairs(0).bytes.size() == 3 * 64);
    CHECK(push() == 32768 + 64);
    const auto two = verify(*core.take_extent(), where);
    REQUIRE(two);
    CHECK(two.value().offset() == 32768);
    CHECK(core.needs_buffer());
    CHECK(core.buffer_bytes() == 70000 - 65536);
    core.provide_buffer(second);
    CHECK(push() == 70000 - 65536);
    CHECK(in.empty());
    CHECK(core.end_of_input());
    CHECK_FALSE(core.finished());
    const auto three = verify(*core.take_extent(), where);
    REQUIRE(three);
    CHECK(three.value().proves_size());
    CHECK(core.finished());
}

TEST_CASE("decode_core: the empty blob is an extent without bytes", "[bao]")
{
    const blob of{{}};
    const byte_vector wire = of.encode(chunk_ranges::all());
    decode_core core{of.root, chunk_ranges::all()};
    CHECK(core.push(wire).value() == 8);
    REQUIRE(core.needs_buffer());
    CHECK(core.buffer_bytes() == 0);
    core.provide_buffer({});
    auto filled = core.take_extent();
    REQUIRE(filled);
    mismatch where;
    const auto extent = verify(std::move(*filled), where);
    REQUIRE(extent);
    CHECK(extent.value().proves_size());
    CHECK(extent.value().bytes().empty());
    CHECK(core.finished());

    // The same header under another root.
    CHECK(decode_all(wire, hash::blake3_hash(pattern(1)), chunk_ranges::all()).error() ==
          bao_errc::leaf_mismatch);
}

TEST_CASE("decode_all: gives the pieces of a small blob", "[bao]")
{
    const blob of{pattern(5000)};
    const auto whole = decode_all(of.encode(chunk_ranges::all()), of.root, chunk_ranges::all());
    REQUIRE(whole);
    CHECK(whole.value() == std::vector<decoded_piece>{{0, of.data}});
    const chunk_ranges some = ranges_of({0, 1, 3});
    const auto parts = decode_all(of.encode(some), of.root, some);
    REQUIRE(parts);
    const byte_vector head{of.data.begin(), of.data.begin() + 1024};
    const byte_vector tail{of.data.begin() + 3072, of.data.end()};
    CHECK(parts.value() == std::vector<decoded_piece>{{0, head}, {3072, tail}});
    CHECK(decode_all({}, of.root, some).error() == bao_errc::absent);
    CHECK(decode_all(byte_view(of.encode(some)).first(200), of.root, some).error() ==
          bao_errc::truncated);
    CHECK(
        decode_all(of.encode(chunk_ranges::none()), of.root, chunk_ranges::none()).value().empty());
}
