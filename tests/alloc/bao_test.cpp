// Sets of chunks, outboards, the decoder and the encoder.
#include "failing.hpp"

#include <copse/bao/chunk_ranges.hpp>
#include <copse/bao/decode_core.hpp>
#include <copse/bao/encode_core.hpp>
#include <copse/bao/outboard.hpp>

using namespace copse;
using namespace copse::bao;
using namespace copse::test;

namespace {

const std::vector<std::byte> data = pattern(600'000);

chunk_ranges scattered()
{
    chunk_ranges out;
    for (std::uint64_t at = 0; at < 580; at += 40) out.insert(at, at + 9);
    return out;
}

using sets = std::pair<chunk_ranges, chunk_ranges>;

}  // namespace

TEST_CASE("alloc: copse::bao::chunk_ranges (a set that could not change is as it was)", "[alloc]")
{
    const chunk_ranges one = scattered();
    const chunk_ranges other = chunk_ranges::range(20, 333);
    const auto make = [&] { return sets(one, other); };
    const auto intact = [&](sets& s) { REQUIRE((s.first == one && s.second == other)); };
    const auto check = [&](auto change) {
        const auto run = [&](sets& s) {
            change(s.first, s.second);
            return std::make_pair(s.first.chunk_total(10'000), s.first.interval_count());
        };
        CHECK(fail_each_allocation(make, run, intact) > 0);
    };
    check([](chunk_ranges& a, chunk_ranges& b) { a |= b; });
    check([](chunk_ranges& a, chunk_ranges& b) { a &= b; });
    check([](chunk_ranges& a, chunk_ranges& b) { a -= b; });
    check([](chunk_ranges& a, chunk_ranges&) { a.insert(20, 22); });
    check([](chunk_ranges& a, chunk_ranges&) { a.erase(1, 2); });
    check([](chunk_ranges& a, chunk_ranges&) { a = a.effective(300); });
    check([](chunk_ranges& a, chunk_ranges&) { a = a.clipped(3, 300); });
    check([](chunk_ranges& a, chunk_ranges&) { a = a.round_up_to_groups(); });
    check([](chunk_ranges&, chunk_ranges& b) { static_cast<void>(b.full_groups(600)); });
    check([](chunk_ranges& a, chunk_ranges& b) { a = a ^ b; });
    // Many inserts in a row, so that growing comes at every place.
    const auto grow = [] {
        chunk_ranges set;
        for (std::uint64_t at = 100; at-- > 0;) set.insert(5 * at, 5 * at + 2);
        for (std::uint64_t at = 0; at < 100; at += 2) set.insert(5 * at, 5 * at + 7);
        return set;
    };
    CHECK(fail_each_allocation_of(grow) > 3);
    const auto bounds = [] { return chunk_ranges::from_boundaries({1, 5, 9}).value(); };
    CHECK(fail_each_allocation_of(bounds) > 0);
}

TEST_CASE("alloc: copse::bao::outboard::build, copse::bao::outboard::from_pairs, "
          "copse::bao::outboard::coarsened, copse::bao::outboard::check, "
          "copse::bao::outboard_builder",
          "[alloc]")
{
    const auto same = [](const outboard& index) {
        return std::vector<std::byte>(index.pairs().begin(), index.pairs().end());
    };
    CHECK(fail_each_allocation_of([&] { return same(outboard::build(data)); }) > 0);
    const outboard whole = outboard::build(data);
    CHECK(fail_each_allocation_of([&] { return same(whole.coarsened(16)); }) > 0);
    const auto from = [&] {
        return same(outboard::from_pairs(data.size(), whole.root(), same(whole)).value());
    };
    CHECK(fail_each_allocation_of(from) > 0);
    const auto check = [&] {
        mismatch where;
        return whole.check(where).has_value();
    };
    CHECK(fail_each_allocation_of(check) == 0);
    const auto build = [&](outboard_builder& builder) {
        while (!builder.complete()) {
            builder.push_data(std::span(data).subspan(
                static_cast<std::size_t>(builder.next_chunk()) * 1024, builder.next_length()));
        }
        return builder.finish().root();
    };
    // Only its constructor allocates.
    CHECK(fail_each_allocation([&] { return outboard_builder(data.size()); }, build) == 0);
}

TEST_CASE("alloc: copse::bao::encode_core, copse::bao::encode_all, copse::bao::encode_extent, "
          "copse::bao::finish_extent",
          "[alloc]")
{
    const outboard index = outboard::build(data, 4);
    for (const auto& request : {chunk_ranges::all(), scattered(), chunk_ranges::last_chunk()}) {
        CHECK(fail_each_allocation_of([&] { return encode_all(data, index, request).value(); }) >
              0);
    }
    // The walk itself: a take_extent() that could not is repeated.
    const chunk_ranges request = scattered();
    const auto make = [&] { return encode_core(index.root(), data.size(), request, 4); };
    const auto pairs = [&](encode_core& core) {
        const unmarked catch2;
        mismatch where;
        while (core.step() == encode_core::step_kind::pair) {
            REQUIRE(core.supply(index.pair(core.pair().extent_index), where));
        }
    };
    const auto first = [&](encode_core& core) {
        pairs(core);
        return core.take_extent().node.first;
    };
    CHECK(fail_each_allocation(make, first) > 0);
    struct walk {
        encode_core core;
        std::vector<std::byte> out;
    };
    const auto start = [&] { return walk{make(), {}}; };
    const auto next = [&](walk& w) {
        mismatch where;
        const auto job = w.core.next(
            [&](const upper_pair& at) { return index.pair(at.extent_index); }, w.out, where);
        return std::make_pair(hash::blake3_hash(w.out), job.value()->node.first);
    };
    CHECK(fail_each_allocation(start, next) > 2);
    // A whole extent is made in place, without an allocation.
    encode_core core(index.root(), data.size(), chunk_ranges::all(), 4);
    mismatch where;
    while (core.step() == encode_core::step_kind::pair) {
        REQUIRE(core.supply(index.pair(core.pair().extent_index), where));
    }
    const extent_job job = core.take_extent();
    std::vector<std::byte> out(job.wire_bytes);
    const auto finish = [&] {
        const auto plan = layout(job);
        for (const auto& leaf : plan.leaves()) {
            std::copy_n(data.begin() + static_cast<std::ptrdiff_t>(leaf.file_offset), leaf.length,
                        out.begin() + static_cast<std::ptrdiff_t>(leaf.out_offset));
        }
        mismatch at;
        return finish_extent(job, out, at).has_value();
    };
    REQUIRE(finish());
    CHECK(fail_each_allocation_of(finish) == 0);
}

TEST_CASE("alloc: copse::bao::decode_core, copse::bao::decode_all, copse::bao::verify", "[alloc]")
{
    const outboard index = outboard::build(data);
    for (const auto& request : {chunk_ranges::all(), scattered(), chunk_ranges::last_chunk()}) {
        const auto wire = encode_all(data, index, request).value();
        const auto decode = [&] {
            return decode_all(wire, index.root(), request, {.extent_bytes = 65536}).value();
        };
        CHECK(fail_each_allocation_of(decode) > 0);
    }
}

TEST_CASE("alloc: copse::bao::decode_core::push (a decoder that could not go on says so for good)",
          "[alloc]")
{
    const outboard index = outboard::build(data);
    const chunk_ranges request = scattered();
    const auto wire = encode_all(data, index, request).value();
    std::vector<std::byte> buffer(65536);
    std::size_t failures = 0;
    for (std::size_t nth = 0; nth < most_allocations; ++nth) {
        decode_core core(index.root(), request, {.extent_bytes = buffer.size()});
        std::span<const std::byte> in = wire;
        bool threw = false;
        const failing_allocation marked(nth);
        mismatch where;
        while (!threw && !core.finished()) {
            try {
                const auto used = core.push(in.first(std::min<std::size_t>(in.size(), 777)));
                if (!used) break;
                in = in.subspan(used.value());
                if (auto extent = core.take_extent()) {
                    if (!verify(std::move(*extent), where)) break;
                } else if (core.needs_buffer()) {
                    core.provide_buffer(buffer);
                }
            } catch (const std::bad_alloc&) {
                threw = true;
            }
        }
        const unmarked from_here;
        if (!marked.failed()) {
            REQUIRE(core.finished());
            break;
        }
        REQUIRE(threw);
        ++failures;
        INFO("allocation " << nth);
        const auto again = core.push(in);
        REQUIRE_FALSE(again);
        REQUIRE(again.error() == std::errc::not_enough_memory);
        REQUIRE_FALSE(core.finished());
        REQUIRE(core.end_of_input().error() == std::errc::not_enough_memory);
    }
    CHECK(failures > 10);
}
