// The published vectors of bao-tree 0.17.0: roots, outboards, encodings, node numbers.
#include "catch.hpp"
#include "json.hpp"
#include "reference.hpp"

#include <copse/bao/decode_core.hpp>
#include <copse/bao/encode_core.hpp>
#include <copse/bao/outboard.hpp>

#include <cstdint>
#include <string>
#include <vector>

using namespace copse;
using namespace copse::bao;
using namespace copse::test;

namespace {

chunk_ranges ranges_from(const json::value& boundaries)
{
    std::vector<std::uint64_t> out;
    for (const auto& b : boundaries) out.push_back(b.as_u64());
    return chunk_ranges::from_boundaries(out).value();
}

void check_bytes(byte_view got, const json::value& want)
{
    CHECK(got.size() == want["len"].as_u64());
    CHECK(to_hex(hash::blake3_hash(got)) == want["blake3"].as_string());
    if (want.contains("hex")) CHECK(hex(got) == want["hex"].as_string());
}

byte_vector post_order(const outboard& from)
{
    byte_vector out(from.pairs().size());
    for_each_upper_pair(from.size(), 1, [&](subtree node, std::uint64_t index) {
        const auto pair = from.pair(index);
        const std::uint64_t at = 64 * post_order_index(chunk_count(from.size()), node);
        std::copy(pair.begin(), pair.end(), out.begin() + static_cast<std::ptrdiff_t>(at));
    });
    return out;
}

}  // namespace

TEST_CASE("bao vectors: roots and outboards", "[bao]")
{
    const auto vectors = load_vectors("bao.json");
    for (const auto& one : vectors["cases"]) {
        const std::uint64_t size = one["size"].as_u64();
        INFO("size " << size);
        const byte_vector data = pattern(static_cast<std::size_t>(size));
        const outboard full = outboard::build(data);
        CHECK(to_hex(full.root()) == one["root"].as_string());
        CHECK(outboard_size(size) == one["outboard_size"].as_u64());
        check_bytes(full.pairs(), one["outboard_pre_order"]);
        check_bytes(post_order(full), one["outboard_post_order"]);
    }
}

TEST_CASE("bao vectors: encodings of all range sets, by the encoder and back by the decoder",
          "[bao]")
{
    const auto vectors = load_vectors("bao.json");
    seeded_rng rng{7};
    for (const auto& one : vectors["cases"]) {
        const std::uint64_t size = one["size"].as_u64();
        const byte_vector data = pattern(static_cast<std::size_t>(size));
        for (const std::size_t unit : {1u, 4u, 64u}) {
            const outboard index = outboard::build(data, unit);
            for (const auto& set : one["range_sets"]) {
                INFO("size " << size << ", extents of " << unit << " groups, "
                             << set["name"].as_string());
                const chunk_ranges request = ranges_from(set["boundaries"]);
                CHECK(request.effective(chunk_count(size)).chunk_total() ==
                      set["effective_chunks"].as_u64());
                CHECK(encoded_size(size, request) == set["encoded"]["len"].as_u64());
                const auto encoded = encode_all(data, index, request);
                REQUIRE(encoded);
                check_bytes(encoded.value(), set["encoded"]);

                const auto expected =
                    reference::decode(encoded.value(), size, index.root(), request.boundaries());
                REQUIRE_FALSE(expected.error);
                const auto leaves = joined(expected.leaves);
                const auto check = [&](auto&& next_length) {
                    decode_core core{index.root(), request, {.extent_bytes = unit * group_size}};
                    const auto got = run_decoder(core, encoded.value(), next_length);
                    const bool same = !got.error && got.used == encoded.value().size() &&
                                      joined(got.leaves) == leaves && got.pairs == expected.pairs;
                    REQUIRE(same);
                    REQUIRE(core.size() == size);
                    REQUIRE(core.size_proven() == core.selected().contains(chunk_count(size) - 1));
                };
                check([&] { return encoded.value().size(); });
                check([&] { return rng.between<std::size_t>(1, 3000); });
                if (encoded.value().size() > 3000) continue;
                check([] { return std::size_t{1}; });
                if (unit != 4) continue;
                for (std::size_t cut = 0; cut < encoded.value().size(); ++cut) {
                    bool first = true;
                    check(
                        [&] { return std::exchange(first, false) ? cut : encoded.value().size(); });
                }
            }
        }
    }
}

TEST_CASE("bao vectors: the walk visits the listed pairs and leaves", "[bao]")
{
    const auto vectors = load_vectors("bao.json");
    for (const auto& one : vectors["cases"]) {
        const std::uint64_t size = one["size"].as_u64();
        const byte_vector data = pattern(static_cast<std::size_t>(size));
        const outboard index = outboard::build(data);
        for (const auto& set : one["range_sets"]) {
            if (!set.contains("items")) continue;
            INFO("size " << size << ", " << set["name"].as_string());
            encode_core core{index.root(), size, ranges_from(set["boundaries"]), 1};
            // Extents of one group: parents above them are steps, what is inside is counted by length.
            std::vector<std::string> got{"S 8"};
            mismatch where;
            std::size_t inside = 0;
            while (core.step() != encode_core::step_kind::done) {
                if (core.step() == encode_core::step_kind::pair) {
                    const upper_pair at = core.pair();
                    got.push_back("P " + std::to_string(at.node.first) + " " +
                                  std::to_string(at.node.count));
                    REQUIRE(core.supply(index.pair(at.group_index), where));
                    continue;
                }
                const extent_job job = core.take_extent();
                if (job.whole)
                    got.push_back("L " + std::to_string(job.offset()) + " " +
                                  std::to_string(job.length()));
                else inside += job.wire_bytes;
            }
            // The listed items without those of opened groups, whose bytes must add up.
            std::vector<std::string> want;
            for (const auto& item : set["items"]) {
                const std::string& text = item.as_string();
                const std::uint64_t count = std::stoull(text.substr(text.rfind(' ') + 1));
                const std::uint64_t first = text[0] == 'S' ? 0 : std::stoull(text.substr(2));
                const std::uint64_t chunk = text[0] == 'L' ? first / 1024 : first;
                const std::uint64_t group_bytes =
                    std::min<std::uint64_t>(size, (chunk / 16 + 1) * 16384) - chunk / 16 * 16384;
                if (text[0] == 'P' && count <= 16) {
                    inside -= 64;
                } else if (text[0] == 'L' && count != group_bytes) {
                    inside -= count;
                } else {
                    want.push_back(text);
                }
            }
            CHECK(got == want);
            CHECK(inside == 0);
        }
    }
}

TEST_CASE("bao vectors: node numbers and outboard positions", "[bao]")
{
    const auto vectors = load_vectors("bao.json");
    for (const auto& one : vectors["geometry"]) {
        const std::uint64_t size = one["size"].as_u64();
        const std::uint64_t chunks = chunk_count(size);
        INFO("size " << size);
        std::vector<std::uint64_t> numbers;
        for_each_upper_pair(size, 1, [&](subtree node, std::uint64_t index) {
            CHECK(pre_order_index(chunks, node) == index);
            CHECK(index == numbers.size());
            numbers.push_back(node_number(node));
        });
        std::size_t stored = 0;
        for (const auto& node : one["nodes_pre_order"]) {
            if (node["pre_order_offset"].is_null()) continue;  // a last group alone has no pair
            const std::uint64_t at = node["pre_order_offset"].as_u64();
            REQUIRE(at < numbers.size());
            CHECK(numbers[at] == node["node"].as_u64());
            ++stored;
            for_each_upper_pair(size, 1, [&](subtree tree, std::uint64_t index) {
                if (index != at) return;
                CHECK(tree.first == node["first_chunk"].as_u64());
                CHECK(left_child(tree).end() == node["mid_chunk"].as_u64());
                CHECK(post_order_index(chunks, tree) == node["post_order_offset"].as_u64());
            });
        }
        CHECK(stored == numbers.size());
    }
    const byte_vector data = pattern(65537);
    for (const auto& one : vectors["chaining_values_of_pattern_65537"]) {
        const std::uint64_t first = one["start_chunk"].as_u64();
        const auto part = byte_view(data).subspan(static_cast<std::size_t>(byte_offset(first)),
                                                  static_cast<std::size_t>(one["len"].as_u64()));
        CHECK(to_hex(hash::subtree_cv(part, first, false)) == one["non_root_cv"].as_string());
    }
}
