// Any bytes as the text, or as the content, of a ticket: what is accepted survives being written.
#include <copse/blob/ticket.hpp>
#include <copse/codec/base32.hpp>
#include <copse/core/bytes.hpp>

#include <cstdlib>

using namespace copse;
using namespace copse::blob;

namespace {

void require(bool good)
{
    if (!good) std::abort();
}

void check_blob(std::string_view text)
{
    const auto ticket = parse_blob_ticket(text);
    if (!ticket) return;
    require(ticket.value().address.paths.size() <= max_ticket_addresses);
    // Writing sorts the addresses and drops repeated ones; after that nothing changes any more.
    const std::string written = to_string(ticket.value());
    const auto again = parse_blob_ticket(written);
    require(again && to_string(again.value()) == written);
    require(again.value().address.id == ticket.value().address.id);
    require(again.value().hash == ticket.value().hash);
    require(again.value().format == ticket.value().format);
}

void check_endpoint(std::string_view text)
{
    const auto address = parse_endpoint_ticket(text);
    if (!address) return;
    require(address.value().paths.size() <= max_ticket_addresses);
    const std::string written = to_endpoint_ticket(address.value());
    if (written.size() > max_ticket_characters) return;  // upper limits of all its parts at once
    const auto again = parse_endpoint_ticket(written);
    require(again && to_endpoint_ticket(again.value()) == written);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const byte_view input = std::as_bytes(std::span(data, size));
    check_blob(as_text(input));
    check_endpoint(as_text(input));
    check_blob("blob" + codec::encode_base32(input, codec::base32_lower));
    check_endpoint("endpoint" + codec::encode_base32(input, codec::base32_lower));
    return 0;
}
