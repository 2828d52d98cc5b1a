// Verified decoding and encoding of 1 GiB in memory, in packets and extents as a node does it.
#include <copse/bao/decode_core.hpp>
#include <copse/bao/encode_core.hpp>
#include <copse/bao/outboard.hpp>

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

using namespace copse;
using namespace copse::bao;

constexpr std::uint64_t blob_bytes = std::uint64_t{1} << 30;

// 1 GiB whose extents are one of 64 MiB repeated: the bytes cost memory bandwidth as real ones do,
// and neither data nor encoding needs to be there whole.
const std::vector<std::byte>& repeated()
{
    static const std::vector<std::byte> data = [] {
        std::vector<std::byte> out(std::size_t{64} << 20);
        std::uint64_t state = 1;
        for (std::size_t i = 0; i < out.size(); i += 8) {
            state = state * 6364136223846793005 + 1442695040888963407;
            std::memcpy(out.data() + i, &state, 8);
        }
        return out;
    }();
    return data;
}

byte_view extent_of(std::uint64_t offset, std::size_t length)
{
    return byte_view(repeated())
        .subspan(static_cast<std::size_t>(offset % repeated().size()), length);
}

outboard index_of(std::size_t extent_groups)
{
    outboard_builder builder{blob_bytes, extent_groups};
    while (!builder.complete())
        builder.push_data(extent_of(byte_offset(builder.next_chunk()), builder.next_length()));
    return builder.finish();
}

void check(bool good)
{
    if (!good) std::abort();
}

// Reads (here: copies) to the place on the wire, verifies, fills in the pairs.
void encode(benchmark::State& state)
{
    const auto groups = static_cast<std::size_t>(state.range(0)) / group_size;
    const outboard index = index_of(groups);
    std::vector<std::byte> out(max_extent_bytes + max_extent_groups * pair_size);
    std::vector<std::byte> head;
    mismatch where;
    for (auto _ : state) {
        encode_core core{index.root(), blob_bytes, chunk_ranges::all(), groups};
        for (;;) {
            head.clear();
            auto next = core.next([&](const upper_pair& at) { return index.pair(at.extent_index); },
                                  head, where);
            check(next.has_value());
            if (!next.value()) break;
            const extent_job& job = *next.value();
            const extent_layout plan = layout(job);
            for (const leaf_placement& leaf : plan.leaves())
                std::memcpy(out.data() + leaf.out_offset,
                            extent_of(leaf.file_offset, leaf.length).data(), leaf.length);
            check(finish_extent(job, byte_span(out).first(job.wire_bytes), where).has_value());
            benchmark::DoNotOptimize(out.data());
        }
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * blob_bytes));
}
BENCHMARK(encode)->Arg(256 << 10)->Arg(1 << 20)->Unit(benchmark::kMillisecond);

// Pushes packets of 1200 bytes; each extent is verified where it arrives.
void decode(benchmark::State& state)
{
    const auto extent_bytes = static_cast<std::size_t>(state.range(0));
    const bool verified = state.range(1) != 0;
    const outboard index = index_of(extent_bytes / group_size);
    std::vector<std::byte> buffer(extent_bytes);
    std::vector<std::byte> wire;
    mismatch where;
    for (auto _ : state) {
        encode_core source{index.root(), blob_bytes, chunk_ranges::all(),
                           extent_bytes / group_size};
        decode_core core{index.root(), chunk_ranges::all(), {.extent_bytes = extent_bytes}};
        while (!core.finished()) {
            state.PauseTiming();
            wire.clear();
            auto next = source.next(
                [&](const upper_pair& at) { return index.pair(at.extent_index); }, wire, where);
            check(next.has_value() && next.value());
            const extent_job& job = *next.value();
            const std::size_t head = wire.size();
            wire.resize(head + job.wire_bytes);
            check(encode_extent(job, extent_of(job.offset(), job.length()), {},
                                byte_span(wire).subspan(head), where)
                      .has_value());
            state.ResumeTiming();
            for (std::size_t at = 0; at < wire.size();) {
                const auto used = core.push(
                    byte_view(wire).subspan(at, std::min<std::size_t>(1200, wire.size() - at)));
                check(used.has_value());
                at += used.value();
                if (core.needs_buffer() && !core.extent_ready()) core.provide_buffer(buffer);
            }
            auto filled = core.take_extent();
            check(filled.has_value());
            if (verified) check(verify(std::move(*filled), where).has_value());
        }
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * blob_bytes));
}
BENCHMARK(decode)
    ->ArgNames({"extent", "verify"})
    ->Args({256 << 10, 1})
    ->Args({1 << 20, 1})
    ->Args({256 << 10, 0})
    ->Unit(benchmark::kMillisecond);

}  // namespace
