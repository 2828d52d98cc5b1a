// Any text as base32, hexadecimal, key and UTF-8: what is accepted has exactly that text.
#include <copse/codec/key_text.hpp>
#include <copse/codec/utf8.hpp>

#include <cstdint>
#include <cstdlib>

using namespace copse;
using namespace copse::codec;

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
    for (const auto* alphabet : {&base32_lower, &base32_upper, &base32_z, &base32_hex_lower}) {
        if (const auto bytes = decode_base32(text, *alphabet, 100)) {
            require(bytes.value().size() <= 100);
            require(encode_base32(bytes.value(), *alphabet) == text);
        }
        const auto again = decode_base32(encode_base32(input, *alphabet), *alphabet, size);
        require(again && as_text(again.value()) == text);
    }
    std::vector<std::byte> hex(size / 2);
    if (decode_hex(text, hex)) require(encode_hex(hex) == text);
    if (const auto id = parse_endpoint_id(text)) {
        require(parse_endpoint_id(to_string(id.value())).value() == id.value());
    }
    static_cast<void>(is_utf8(text));  // only that it does not read past the end
    return 0;
}
