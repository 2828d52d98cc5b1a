// BLAKE3 by size and by instruction set. `copse_bench_hash --benchmark_filter=avx512` and the like.
#include "copse/hash/blake3.hpp"
#include "copse/hash/parallel.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace {

using namespace copse::hash;

std::vector<std::byte> input(std::size_t size)
{
    std::vector<std::byte> out(size);
    for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>(i % 251);
    return out;
}

/// Bytes a second of `body(data)` over as many bytes as the argument says.
template <class Body>
void measure(benchmark::State& state, instruction_set set, Body body)
{
    if (!set_instruction_set(set)) {
        state.SkipWithError("not supported by this processor");
        return;
    }
    const auto data = input(static_cast<std::size_t>(state.range(0)));
    for (auto _ : state) body(std::span(data));
    state.SetBytesProcessed(state.iterations() * state.range(0));
}

void whole(benchmark::State& state, instruction_set set)
{
    measure(state, set, [](auto data) { benchmark::DoNotOptimize(blake3_hash(data)); });
}

/// As a reader of files uses it: pieces of 64 KiB.
void pieces(benchmark::State& state, instruction_set set)
{
    measure(state, set, [](auto data) {
        blake3 hasher;
        for (constexpr std::size_t piece = 65'536; !data.empty();) {
            hasher.update(data.first(std::min(piece, data.size())));
            data = data.subspan(std::min(piece, data.size()));
        }
        benchmark::DoNotOptimize(hasher.finalize());
    });
}

/// As a verifying receiver uses it: one value a 16 KiB group.
void groups(benchmark::State& state, instruction_set set)
{
    std::vector<digest> out(static_cast<std::size_t>(state.range(0)) / group_size);
    measure(state, set, [&](auto data) {
        group_cvs(data, 0, out);
        benchmark::DoNotOptimize(out.data());
    });
}

/// Parents alone: 64 bytes each.
void parents(benchmark::State& state, instruction_set set)
{
    std::vector<digest> out(static_cast<std::size_t>(state.range(0)) / 64);
    measure(state, set, [&](auto data) {
        parent_cvs(data, out);
        benchmark::DoNotOptimize(out.data());
    });
}

const bool registered = [] {
    for (const auto set : {instruction_set::portable, instruction_set::neon, instruction_set::sse41,
                           instruction_set::avx2, instruction_set::avx512}) {
        if (!is_supported(set)) continue;
        const auto add = [set](const std::string& name,
                               void (*body)(benchmark::State&, instruction_set),
                               std::initializer_list<std::int64_t> sizes) {
            const std::string full = name + "/" + std::string(to_string(set));
            auto* const made = benchmark::RegisterBenchmark(
                full.c_str(), [body, set](benchmark::State& state) { body(state, set); });
            for (const std::int64_t size : sizes) made->Arg(size);
        };
        add("hash", whole,
            {64, 1024, 2048, 4096, 8192, 16'384, 65'536, 262'144, 1 << 20, 16 << 20});
        add("update_64k", pieces, {1 << 20});
        add("group_cvs", groups, {16'384, 262'144});
        add("parent_cvs", parents, {64 * 2, 64 * 8, 64 * 16, 64 * 32, 64 * 1024});
    }
    return true;
}();

}  // namespace
