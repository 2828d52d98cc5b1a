// Any text as a hash or an endpoint id: what is accepted is one of its three texts.
#include <copse/blob/ticket.hpp>
#include <copse/codec/base32.hpp>
#include <copse/codec/hex.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

using namespace copse;

namespace {

void require(bool good)
{
    if (!good) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const byte_view input = std::as_bytes(std::span(data, size));
    const std::string_view text = as_text(input);
    const auto digest = blob::parse_digest(text);
    const auto id = blob::parse_endpoint_id(text);
    require(digest.has_value() == id.has_value());
    if (digest) {
        const auto& bytes = digest.value().bytes;
        require(bytes == id.value().bytes);
        std::string lower(text);
        std::ranges::transform(lower, lower.begin(), [](char c) {
            return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        });
        const bool hex = text == hash::to_hex(digest.value());
        require(hex || lower == codec::encode_base32(bytes, codec::base32_lower));
        require(blob::to_string(id.value()) == hash::to_hex(digest.value()));
    }
    // Any 32 bytes come back from their text.
    hash::digest whole;
    std::copy_n(input.begin(), std::min(size, whole.bytes.size()), whole.bytes.begin());
    require(blob::parse_digest(hash::to_hex(whole)).value() == whole);
    require(blob::parse_digest(codec::encode_base32(whole.bytes, codec::base32_upper)).value() ==
            whole);
    return 0;
}
