// Any text as an address: what is accepted is written in a form that reads the same.
#include <copse/core/address.hpp>
#include <copse/core/bytes.hpp>

#include <cstdint>
#include <cstdlib>

using namespace copse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const auto text = as_text(std::as_bytes(std::span(data, size)));
    const auto address = socket_address::parse(text);
    if (!address) return 0;
    const auto again = socket_address::parse(address.value().to_string());
    if (!again || again.value() != address.value()) std::abort();
    return 0;
}
