// Any bytes as the metadata of a collection: accepted names survive being written, checked names
// stay below the destination, and any name can be shown.
#include <copse/blob/collection.hpp>
#include <copse/codec/postcard.hpp>
#include <copse/codec/utf8.hpp>

#include <cstdlib>

using namespace copse;
using namespace copse::blob;

namespace {

void require(bool good)
{
    if (!good) std::abort();
}

void check_one(std::string_view name)
{
    const std::string shown = escape_name(name);
    require(codec::is_utf8(shown) && shown.size() <= 6 * 200 + 3);
    for (const char c : shown) require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
    if (!check_name(name)) return;
    require(!name.empty() && name.size() <= max_name_bytes && name.front() != '/');
    const std::string inside = "/" + std::string(name) + "/";
    for (const char* bad : {"//", "/./", "/../", "\\"}) require(inside.find(bad) == inside.npos);
    require(inside.find('\0') == inside.npos && !inside.starts_with("/.copse-partial/"));
}

void check_meta(byte_view meta)
{
    // The number of hashes comes from another blob: take the one that fits, if any.
    codec::postcard_reader count(meta);
    if (!count.raw(collection_header.size())) return;
    const auto claimed = count.u64();
    if (!claimed) return;
    const auto names = decode_collection_meta(meta, claimed.value() + 1);
    if (!names) return;
    for (const auto& name : names.value()) check_one(name);
    const auto written = encode_collection_meta(names.value());
    require(written && written.value().size() <= meta.size());
    require(decode_collection_meta(written.value(), claimed.value() + 1).value() == names.value());
    std::size_t refused = names.value().size();
    if (!check_names(names.value(), &refused)) require(refused < names.value().size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const byte_view input = std::as_bytes(std::span(data, size));
    check_one(as_text(input));
    check_meta(input);
    std::vector<std::byte> meta;
    codec::postcard_writer to(meta);
    to.raw(as_bytes(collection_header));
    to.raw(input);
    check_meta(meta);
    return 0;
}
