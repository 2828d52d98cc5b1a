// Decoders of the blob protocol, of tickets, collections and stored records against input of every kind.
#include "tests/hostile/decoder.hpp"

#include "tests/json.hpp"

#include <copse/bao/decode_core.hpp>
#include <copse/bao/encode_core.hpp>
#include <copse/bao/outboard.hpp>
#include <copse/blob/collection.hpp>
#include <copse/blob/observe.hpp>
#include <copse/blob/ticket.hpp>
#include <copse/blob/wire.hpp>
#include <copse/codec/postcard.hpp>
#include <copse/hash/blake3.hpp>
#include <copse/sim/faults.hpp>
#include <copse/store/bits_core.hpp>

#include <set>

using namespace copse;
using namespace copse::hostile;

namespace {

const test::json::value& vectors()
{
    static const auto loaded = test::load_vectors("iroh-blobs.json");
    return loaded;
}

// Every string of the vectors below `name` that has this key.
std::vector<encoding> hex_vectors(std::string_view name, std::string_view key)
{
    std::vector<encoding> out;
    for (const auto& v : vectors()[name]) out.push_back(test::from_hex(v[key].as_string()));
    return out;
}

bao::chunk_ranges scattered(std::uint64_t runs)
{
    bao::chunk_ranges out;
    for (std::uint64_t i = 0; i < runs; ++i) out.insert(5 * i, 5 * i + 2);
    return out;
}

}  // namespace

TEST_CASE("hostile: copse::blob::decode_range_spec", "[hostile][decoders]")
{
    decoder d{"range spec", hex_vectors("range_specs", "range_spec"), {}};
    d.decode = [](byte_view in) -> std::optional<encoding> {
        codec::postcard_reader from(in);
        const auto out = blob::decode_range_spec(from);
        if (!out) return std::nullopt;
        encoding again;
        codec::postcard_writer to(again);
        blob::encode_range_spec(to, out.value());
        return again;
    };
    torment(d);
}

TEST_CASE("hostile: copse::blob::ranges_seq::decode", "[hostile][decoders]")
{
    decoder d{"ranges seq", hex_vectors("requests", "chunk_ranges_seq"), {}};
    d.decode = [](byte_view in) -> std::optional<encoding> {
        codec::postcard_reader from(in);
        const auto out = blob::ranges_seq::decode(from);
        if (!out) return std::nullopt;
        // Whatever it claims, a walk over it is short.
        blob::ranges_seq::cursor at(out.value());
        std::uint64_t next = 0;
        for (int i = 0; i < 20; ++i) {
            const auto wanted = at.next_wanted(next);
            if (!wanted || *wanted == ~std::uint64_t{0}) break;
            must(*wanted >= next && !at.ranges().empty(), "a walk goes on");
            next = *wanted + 1;
        }
        encoding again;
        codec::postcard_writer to(again);
        out.value().encode(to);
        return again;
    };
    torment(d);
}

TEST_CASE("hostile: copse::blob::decode_request", "[hostile][decoders]")
{
    decoder d{"request", hex_vectors("requests", "get"), {}};
    for (const auto* const name : {"observe_request", "get_many_from_iterator_sorted"})
        d.examples.push_back(test::from_hex(vectors()[name].as_string()));
    d.examples.push_back(
        blob::encode_request(blob::push_request{{{}, blob::ranges_seq::root(scattered(20))}}));
    d.longest = blob::max_request_bytes + 1;
    d.decode = [](byte_view in) -> std::optional<encoding> {
        const auto out = blob::decode_request(in);
        if (!out) return std::nullopt;
        CHECK(blob::decode_request_type(in[0]).has_value());
        const auto encode = [](const auto& request) { return blob::encode_request(request); };
        return std::visit(encode, out.value());
    };
    torment(d);
}

TEST_CASE("hostile: copse::blob::decode_observation", "[hostile][decoders]")
{
    decoder d{"observation", hex_vectors("observe_items", "item"), {}};
    d.decode = [](byte_view in) -> std::optional<encoding> {
        const auto out = blob::decode_observation(in);
        if (!out) return std::nullopt;
        const auto framed = blob::encode_observation(out.value());
        const auto length = codec::decode_varint<std::uint64_t>(framed);
        return encoding_of(byte_view(framed).subspan(length.value().size));
    };
    torment(d);
}

TEST_CASE("hostile: copse::blob::hash_sequence::from_bytes", "[hostile][decoders]")
{
    decoder d{"hash sequence", {{}, test::pattern(32), test::pattern(320)}, {}, true};
    d.decode = [](byte_view in) -> std::optional<encoding> {
        const auto out = blob::hash_sequence::from_bytes(in);
        if (!out) return std::nullopt;
        std::vector<hash::digest> hashes;
        for (std::size_t i = 0; i < out.value().size(); ++i) hashes.push_back(out.value()[i]);
        return blob::encode_hash_sequence(hashes);
    };
    torment(d);
}

TEST_CASE("hostile: copse::blob::decode_collection_meta", "[hostile][decoders]")
{
    const std::vector<std::string> names{"dir/a.txt", "dir/empty", "x"};
    decoder d{"collection", {blob::encode_collection_meta(names).value()}, {}};
    // A name takes 32 bytes and more as a std::string, of which the shortest took one.
    d.memory_per_byte = 140;
    d.longest = 1U << 20;
    d.decode = [](byte_view in) -> std::optional<encoding> {
        // As a collection does, it is told how many there are.
        const auto out = blob::decode_collection_meta(in, 4);
        if (in.size() > 15) {
            // And a liar may tell anything.
            const auto claimed = std::to_integer<std::uint64_t>(in[13]) * 1000;
            const auto other = blob::decode_collection_meta(in, claimed + 1);
            if (other) CHECK(other.value().size() == claimed);
        }
        if (!out) return std::nullopt;
        return blob::encode_collection_meta(out.value()).value();
    };
    torment(d);
}

TEST_CASE("hostile: copse::blob::check_name, copse::blob::check_names", "[hostile][decoders]")
{
    // Names are what lies between zeros.
    decoder d{"names",
              {encoding_of("dir/a.txt"), encoding_of(std::string_view("a\0b\0c/d", 7))},
              {},
              true};
    d.memory_per_byte = 220;
    d.longest = 64U << 10;
    d.decode = [](byte_view in) -> std::optional<encoding> {
        std::vector<std::string> names(1);
        bool each = true;
        for (const char c : as_text(in)) {
            if (c == '\0') names.emplace_back();
            else names.back() += c;
        }
        for (const auto& n : names) {
            each = blob::check_name(n).has_value() && each;
            must(blob::escape_name(n).size() <= 900, "escaped names are short");
        }
        std::size_t refused = 0;
        const auto all = blob::check_names(names, &refused);
        if (!all) {
            CHECK(refused < names.size());
            return std::nullopt;
        }
        CHECK(each);
        CHECK(std::set<std::string>(names.begin(), names.end()).size() == names.size());
        return encoding_of(in);
    };
    torment(d);
}

TEST_CASE("hostile: copse::blob::parse_blob_ticket", "[hostile][decoders]")
{
    blob::blob_ticket t;
    t.address.id.bytes[0] = std::byte{7};
    t.address.paths.push_back(relay_address{"https://relay.example.org/"});
    for (std::uint16_t port = 1; port < 5; ++port)
        t.address.paths.push_back(socket_address::loopback_v4(port));
    t.format = blob::blob_format::hash_seq;
    decoder d{"blob ticket", {encoding_of(blob::to_string(t))}, {}};
    d.decode = [](byte_view in) -> std::optional<encoding> {
        const auto out = blob::parse_blob_ticket(as_text(in));
        if (!out) return std::nullopt;
        CHECK(in.size() <= blob::max_ticket_characters);
        return encoding_of(blob::to_string(out.value()));
    };
    torment(d);
}

TEST_CASE("hostile: copse::blob::parse_endpoint_ticket", "[hostile][decoders]")
{
    endpoint_address a;
    a.paths.push_back(custom_address{9, test::pattern(30)});
    a.paths.push_back(socket_address::loopback_v4(80));
    decoder d{"endpoint ticket", {encoding_of(blob::to_endpoint_ticket(a))}, {}};
    d.decode = [](byte_view in) -> std::optional<encoding> {
        const auto out = blob::parse_endpoint_ticket(as_text(in));
        if (!out) return std::nullopt;
        return encoding_of(blob::to_endpoint_ticket(out.value()));
    };
    torment(d);
}

TEST_CASE("hostile: copse::blob::parse_digest, copse::blob::parse_endpoint_id",
          "[hostile][decoders]")
{
    decoder d{"digest", {encoding_of(test::hex(test::pattern(32)))}, {}};
    d.decode = [](byte_view in) -> std::optional<encoding> {
        const auto out = blob::parse_digest(as_text(in));
        const auto id = blob::parse_endpoint_id(as_text(in));
        CHECK(out.has_value() == id.has_value());
        if (!out) return std::nullopt;
        CHECK(id.value().bytes == out.value().bytes);
        return encoding_of(hash::to_hex(out.value()));
    };
    torment(d);
}

TEST_CASE("hostile: copse::bao::decode_all, copse::bao::decode_core, copse::bao::decode_header",
          "[hostile][decoders]")
{
    const auto data = test::pattern(50'000);
    const auto full = bao::outboard::build(data);
    const auto request = bao::chunk_ranges::from(30);  // the last chunk proves the size
    decoder d{"bao", {bao::encode_all(data, full, request).value()}, {}};
    // An extent waits in a buffer, whatever comes.
    d.memory = 2U << 20;
    d.longest = 128U << 10;
    d.decode = [&](byte_view in) -> std::optional<encoding> {
        bao::decode_core core{full.root(), request, {}};
        const auto used = core.push(in);
        if (used) CHECK(used.value() <= in.size());
        if (core.needs_buffer()) CHECK(core.buffer_bytes() <= 256U << 10);
        const auto out = bao::decode_all(in, full.root(), request);
        if (!out) return std::nullopt;
        const std::uint64_t size =
            bao::decode_header(std::span<const std::byte>(in).first<bao::header_size>());
        CHECK(size == data.size());
        for (const auto& piece : out.value()) {
            CHECK(std::equal(piece.bytes.begin(), piece.bytes.end(),
                             data.begin() + static_cast<std::ptrdiff_t>(piece.offset)));
        }
        return bao::encode_all(data, full, request).value();
    };
    torment(d);
}

TEST_CASE("hostile: copse::bao::outboard::from_pairs", "[hostile][decoders]")
{
    const auto data = test::pattern(100'000);
    const auto full = bao::outboard::build(data);
    decoder d{"outboard", {encoding_of(full.pairs())}, {}};
    d.canonical = true;
    d.decode = [&](byte_view in) -> std::optional<encoding> {
        // Any size may be claimed for any pairs: only its own length fits.
        for (const std::uint64_t size :
             {std::uint64_t{0}, std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
            const auto lie = bao::outboard::from_pairs(size, full.root(), encoding_of(in));
            if (lie) CHECK(lie.value().pairs().size() == in.size());
        }
        const auto out = bao::outboard::from_pairs(data.size(), full.root(), encoding_of(in));
        if (!out) return std::nullopt;
        return encoding_of(out.value().pairs());
    };
    torment(d);
}

TEST_CASE("hostile: copse::store::bits_core::decode, copse::store::bits_core::newest",
          "[hostile][decoders]")
{
    store::presence_record record;
    record.root = hash::blake3_hash(test::pattern(5));
    record.sequence = 2;  // of the first slot
    record.size = 1U << 20;
    record.present = bao::chunk_ranges::range(0, 64);
    record.present.insert(128, 256);
    decoder d{"record of a partial blob", {store::bits_core::encode(record)}, {}};
    d.longest = store::bits_core::file_size;
    d.decode = [&](byte_view in) -> std::optional<encoding> {
        const auto newest = store::bits_core::newest(in, record.root);
        const auto out = store::bits_core::decode(
            in.first(std::min(in.size(), store::bits_core::slot_size)), record.root);
        if (newest) CHECK(!newest->present.open_ended());
        if (!out) return std::nullopt;
        CHECK(newest.has_value());
        return store::bits_core::encode(out.value());
    };
    torment(d);
}

TEST_CASE("hostile: copse::sim::parse_fault_plan", "[hostile][decoders]")
{
    decoder d{"fault plan",
              {encoding_of("none"),
               encoding_of("1500000:crash:1+300000 2000000:partition:0-1+500000"),
               encoding_of("1:slow:0+9=12000")},
              {}};
    d.memory_per_byte = 200;
    d.decode = [](byte_view in) -> std::optional<encoding> {
        const auto out = sim::parse_fault_plan(as_text(in));
        if (!out) return std::nullopt;
        return encoding_of(sim::to_text(out.value()));
    };
    torment(d);
}
