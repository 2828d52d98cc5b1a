// GetMany, and sequences of which a provider has a part.
#include "tests/blob/pair.hpp"

#include <copse/bao/outboard.hpp>
#include <copse/blob/collection.hpp>

#include <optional>

using namespace copse;
using copse::test::pair;
using copse::test::run_pair;

namespace {

awaitable<result<blob::fetch_report>> get_many(pair& p, std::vector<hash::digest> hashes,
                                               blob::ranges_seq ranges)
{
    blob::get_many_request wanted{std::move(hashes), std::move(ranges)};
    auto report = co_await blob::fetch_many(p.near, std::move(wanted), p.fetch_env, {}, p.where);
    co_return report;
}

}  // namespace

TEST_CASE("many: blobs of a list arrive in one request", "[blob][many]")
{
    run_pair([](pair& p) -> awaitable<void> {
        p.provide();
        std::vector<hash::digest> hashes;
        std::vector<std::vector<std::byte>> files;
        std::uint64_t total = 0;
        for (std::uint64_t i = 0; i < 40; ++i) {
            files.push_back(copse::test::seeded_rng(i).bytes(i % 5 == 0 ? 0 : i * 9000));
            hashes.push_back(p.add(files.back()));
            total += files.back().size();
        }
        const auto report = co_await get_many(p, hashes, blob::ranges_seq::all());
        REQUIRE(report);
        CHECK(report.value().payload_bytes == total);
        CHECK(report.value().blobs == 40);
        for (std::size_t i = 0; i < files.size(); ++i)
            CHECK(pair::stored(p.received, hashes[i]) == files[i]);
        while (p.reports.empty()) co_await copse::test::breathe();
        CHECK(p.reports[0].request.type == blob::request_type::get_many);
        CHECK(p.reports[0].blobs == 40);
    });
}

TEST_CASE("many: ranges apply to the hash of their index, duplicates come twice", "[blob][many]")
{
    run_pair([](pair& p) -> awaitable<void> {
        p.provide();
        const auto data = copse::test::seeded_rng(1).bytes(100000);
        const auto other = copse::test::seeded_rng(2).bytes(50000);
        const auto a = p.add(data);
        const auto b = p.add(other);
        // Nothing of the first, 16 chunks of the second, all of the third, nothing behind the end.
        const std::vector<hash::digest> hashes{b, a, b, a};
        const auto report = co_await get_many(p, hashes,
                                              blob::ranges_seq::builder()
                                                  .from(1, bao::chunk_ranges::range(0, 16))
                                                  .from(2, bao::chunk_ranges::all())
                                                  .from(3, bao::chunk_ranges::range(0, 16))
                                                  .build());
        REQUIRE(report);
        CHECK(report.value().payload_bytes == 2 * 16384 + other.size());
        CHECK(p.received.status(a).value().present == bao::chunk_ranges::range(0, 16));
        CHECK(pair::stored(p.received, b) == other);
        const std::vector<hash::digest> none;
        const auto nothing = co_await get_many(p, none, blob::ranges_seq::all());
        REQUIRE(nothing);
        CHECK(nothing.value().payload_bytes == 0);
    });
}

TEST_CASE("many: an unknown hash ends the answer, what came before stays", "[blob][many]")
{
    run_pair([](pair& p) -> awaitable<void> {
        p.provide();
        const auto a = p.add(copse::test::pattern(1000));
        const std::vector<hash::digest> hashes{hash::blake3_hash(as_bytes("gone")), a};
        const auto report = co_await get_many(p, hashes, blob::ranges_seq::all());
        REQUIRE(!report);
        CHECK(report.error() == blob::blob_errc::not_available);
    });
}

TEST_CASE("many: too many hashes are refused on both sides", "[blob][many]")
{
    run_pair([](pair& p) -> awaitable<void> {
        p.options.max_hashes = 3;
        p.provide();
        const std::vector<hash::digest> four(4, p.add(copse::test::pattern(10)));
        const auto refused = co_await get_many(p, four, blob::ranges_seq::all());
        REQUIRE(!refused);
        CHECK(refused.error() == blob::blob_errc::refused);
        const std::vector<hash::digest> absurd(blob::max_get_many_hashes + 1);
        const auto unsent = co_await get_many(p, absurd, blob::ranges_seq::all());
        REQUIRE(!unsent);
        CHECK(unsent.error() == blob::blob_errc::request_too_large);
    });
}

namespace {

/// Asks for one child and counts the bytes of the raw answer; nothing when it was reset.
awaitable<std::optional<std::size_t>> answer_bytes(pair& p, hash::digest root, std::uint64_t index)
{
    auto s = co_await p.near->open_bi();
    if (!s) co_return std::nullopt;
    blob::get_request wanted{root, blob::ranges_seq::builder()
                                       .from(index, bao::chunk_ranges::all())
                                       .from(index + 1, bao::chunk_ranges::none())
                                       .build()};
    const auto bytes = blob::encode_request(wanted);
    const auto sent = co_await s.value().send->write_copy(bytes);
    if (!sent) co_return std::nullopt;
    s.value().send->finish();
    std::size_t total = 0;
    std::vector<std::byte> buffer(4096);
    for (;;) {
        const auto n = co_await s.value().recv->read(buffer);
        if (!n) co_return std::nullopt;
        if (n.value() == 0) co_return total;
        total += n.value();
    }
}

/// Writes chunks of a blob as a fetch would.
void store_part(store::blob_store& into, std::span<const std::byte> data,
                const bao::chunk_ranges& chunks)
{
    const auto outboard = bao::outboard::build(data);
    auto writer = into.open_partial(outboard.root(), data.size()).value();
    for (std::size_t i = 0; i < chunks.interval_count(); ++i) {
        const auto part = chunks.interval(i);
        const auto first = static_cast<std::size_t>(bao::byte_offset(part.first));
        const auto end = static_cast<std::size_t>(bao::byte_end(part.end, data.size()));
        REQUIRE(writer->write(data.subspan(first, end - first), first));
    }
    const store::pair_run pairs{0, outboard.pairs()};
    writer->commit(chunks, std::span(&pairs, 1));
    REQUIRE(writer->checkpoint()());
}

}  // namespace

TEST_CASE("many: a provider with a part of a sequence serves the children it names", "[blob][many]")
{
    run_pair([](pair& p) -> awaitable<void> {
        p.provide();
        const auto child = p.add(copse::test::pattern(3000));
        const std::vector<hash::digest> hashes(20000, child);
        const auto sequence = blob::encode_hash_sequence(hashes);
        const auto root = hash::blake3_hash(sequence);
        // Chunks 272 to 527 hold the hashes of the children 8704 to 16895.
        store_part(p.provided, sequence, bao::chunk_ranges::range(272, 528));
        for (const std::uint64_t there : {8704U, 10000U, 16895U}) {
            const auto answered = co_await answer_bytes(p, root, there + 1);
            CHECK(answered == 3008U);
        }
        for (const std::uint64_t missing : {0U, 8703U, 16896U, 19999U}) {
            const auto answered = co_await answer_bytes(p, root, missing + 1);
            CHECK(!answered);
        }
        // Numbers that a peer claims cost nothing: behind the end there is nothing.
        const auto beyond = co_await answer_bytes(p, root, ~std::uint64_t{0} - 1);
        CHECK(beyond == 0U);
    });
}

namespace {

// A blob of which one bit has flipped after it was stored.
hash::digest add_rotten(pair& p, std::vector<std::byte> bytes, std::size_t at)
{
    const auto root = hash::blake3_hash(bytes);
    bytes[at] ^= std::byte{1};
    const auto writer = p.provided.open_partial(root, bytes.size()).value();
    REQUIRE(writer->write(bytes, 0));
    writer->commit(bao::chunk_ranges::range(0, bao::chunk_count(bytes.size())), {});
    REQUIRE(writer->finish(false)());
    return root;
}

}  // namespace

TEST_CASE("many: the report names the blob that has rotted", "[blob][many]")
{
    run_pair([](pair& p) -> awaitable<void> {
        p.provide();
        const auto good = p.add(copse::test::seeded_rng(1).bytes(9000));
        // It fails within the first buffer, before anything of the answer was given away.
        const auto rotten = add_rotten(p, copse::test::seeded_rng(2).bytes(12000), 5000);
        const std::vector<hash::digest> hashes{good, rotten, good};
        const auto listed = co_await get_many(p, hashes, blob::ranges_seq::all());
        CHECK_FALSE(listed);

        const auto parent = p.add(blob::encode_hash_sequence(hashes));
        const auto child = co_await p.get(parent, blob::ranges_seq::all());
        CHECK_FALSE(child);

        const std::vector<hash::digest> twice{good, good};
        const auto rotten_parent = add_rotten(p, blob::encode_hash_sequence(twice), 3);
        const auto children = co_await p.get(rotten_parent, blob::ranges_seq::all());
        CHECK_FALSE(children);
        while (p.reports.size() < 3) co_await copse::test::breathe();
        CHECK(p.reports[0].failed_blob == rotten);
        CHECK(p.reports[1].failed_blob == rotten);
        CHECK(p.reports[2].failed_blob == rotten_parent);
        for (const auto& r : p.reports) CHECK(r.error == bao::bao_errc::leaf_mismatch);

        const auto fine = co_await p.get(good, blob::ranges_seq::root(bao::chunk_ranges::all()));
        CHECK(fine);
        while (p.reports.size() < 4) co_await copse::test::breathe();
        CHECK_FALSE(p.reports[3].error);
        CHECK_FALSE(p.reports[3].failed_blob);
    });
}
