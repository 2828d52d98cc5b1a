// Any input, any split, any position: every implementation agrees with the portable one.
//
// The first bytes of the fuzzer's input choose: a seed for the splits, a position and how often the rest
// is repeated, since interesting sizes (several groups) are far beyond what a fuzzer likes to grow.
#include "copse/hash/blake3.hpp"
#include "copse/hash/parallel.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

namespace {

using namespace copse::hash;

constexpr std::size_t max_input = 600 * 1024;  // beyond the largest batch of the tree code

void expect(bool condition)
{
    if (!condition) std::abort();
}

/// Sizes of pieces, from the seed.
struct splitter {
    std::uint64_t state;

    std::size_t next(std::size_t limit)
    {
        state = state * 6364136223846793005u + 1442695040888963407u;
        const std::size_t scale = std::size_t{1} << (state >> 59) % 19;
        return std::min<std::size_t>(limit, static_cast<std::size_t>(state >> 33) % (2 * scale));
    }
};

struct outcome_of_all {
    digest whole;
    digest pieces;
    digest keyed;
    digest part;
    digest merged;
    std::array<std::byte, 200> extended;
    std::vector<digest> groups;
    std::vector<digest> parents;

    bool operator==(const outcome_of_all&) const = default;
};

outcome_of_all run(std::span<const std::byte> data, std::uint64_t seed, std::uint64_t position)
{
    outcome_of_all out;
    out.whole = blake3_hash(data);
    splitter split{seed};
    blake3 hasher;
    blake3 keyed = blake3::keyed(out.whole.span());
    for (auto rest = data; !rest.empty();) {
        const std::size_t size = split.next(rest.size());
        hasher.update(rest.first(size));
        keyed.update(rest.first(size));
        rest = rest.subspan(size);
        if (size == 0) expect(hasher.finalize() != out.whole);  // a look in between changes nothing
    }
    out.pieces = hasher.finalize();
    expect(out.pieces == out.whole);
    hasher.finalize(std::span(out.extended));
    expect(std::memcmp(out.extended.data(), out.whole.bytes.data(), 32) == 0);
    out.keyed = keyed.finalize();

    // Group values at some position, both ways, and the tree above them.
    const std::uint64_t first =
        position % (std::uint64_t{1} << 40) * 1024;  // a multiple of any span here
    out.part = subtree_cv(data, first, false);
    out.groups.resize((data.size() + group_size - 1) / group_size);
    group_cvs(data, first, out.groups);
    std::vector<std::span<const std::byte>> spans;
    for (auto rest = data; !rest.empty(); rest = rest.subspan(spans.back().size())) {
        spans.push_back(rest.first(std::min(group_size, rest.size())));
    }
    std::vector<digest> again(out.groups.size());
    group_cvs(spans, first, again);
    expect(again == out.groups);
    if (!spans.empty()) {
        subtree_merger merger;
        for (std::size_t i = 0; i < spans.size(); ++i) {
            merger.push(out.groups[i], chunk_count(spans[i].size()));
        }
        out.merged = merger.subtree();
        expect(out.merged == out.part);
    }
    out.parents.resize(data.size() / 64);
    parent_cvs(data.first(out.parents.size() * 64), out.parents);
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size)
{
    const auto input = std::as_bytes(std::span(bytes, size));
    if (input.size() < 18) return 0;
    std::uint64_t seed = 0;
    std::uint64_t position = 0;
    std::uint16_t repeat = 0;
    std::memcpy(&seed, input.data(), 8);
    std::memcpy(&position, input.data() + 8, 8);
    std::memcpy(&repeat, input.data() + 16, 2);
    const auto unit = input.subspan(18);
    std::vector<std::byte> data;
    for (std::size_t i = 0; i <= repeat % 1024u && data.size() + unit.size() <= max_input; ++i) {
        data.insert(data.end(), unit.begin(), unit.end());
        if (unit.empty()) break;
    }
    set_instruction_set(instruction_set::portable);
    const auto expected = run(data, seed, position);
    for (const auto set : {instruction_set::neon, instruction_set::sse41, instruction_set::avx2,
                           instruction_set::avx512}) {
        if (set_instruction_set(set)) expect(run(data, seed, position) == expected);
    }
    return 0;
}
