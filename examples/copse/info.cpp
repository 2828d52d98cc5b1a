// copse id and copse ticket: who this node is, and what a ticket says.
#include "arguments.hpp"
#include "commands.hpp"
#include "console.hpp"
#include "key_file.hpp"
#include "qr.hpp"
#include "records.hpp"
#include "transfer.hpp"

#include <copse/blob/collection.hpp>
#include <copse/blob/ticket.hpp>
#include <copse/codec/key_text.hpp>

namespace app {

namespace {

void print_address(const endpoint_address& address)
{
    print("id       " + codec::to_string(address.id));
    for (const path_address& path : address.paths) {
        if (std::holds_alternative<relay_address>(path)) {
            print("relay    " + blob::escape_name(std::get<relay_address>(path).url) +
                  " (not used by this version)");
        } else if (std::holds_alternative<socket_address>(path)) {
            print("address  " + to_text(path));
        } else {
            print("address  of " + to_text(path) + " (not used)");
        }
    }
    if (udp_addresses(address).empty()) {
        print("note     no direct address: this version of copse cannot dial it");
    }
}

exit_code print_record(std::string_view kind, std::string_view format, std::string_view hash,
                       const endpoint_address& address)
{
    std::vector<std::string> direct;
    std::vector<std::string> relays;
    for (const path_address& path : address.paths) {
        if (const auto* relay = std::get_if<relay_address>(&path)) relays.push_back(relay->url);
        else if (std::holds_alternative<socket_address>(path)) direct.push_back(to_text(path));
    }
    record out("ticket");
    out.text("kind", kind);
    if (!format.empty()) out.text("format", format).text("hash", hash);
    out.text("id", codec::to_string(address.id)).list("addresses", direct).list("relays", relays);
    out.print();
    return exit_code::ok;
}

step<void> check_ticket(const std::string& text)
{
    if (blob::parse_endpoint_ticket(text)) return outcome::success();
    const auto ticket = blob::parse_blob_ticket(text);
    if (!ticket) return fail(ticket.error(), "ticket");
    return outcome::success();
}

}  // namespace

step<exit_code> run_id(const arguments& given)
{
    if (!given.plain().empty()) return fail(exit_code::usage, "id takes no further words");
    auto path = given.get("key");
    if (!path) path = default_key_path();
    if (!path) {
        return fail(exit_code::files, "no place for a key file: set HOME or COPSE_HOME, or give "
                                      "--key FILE");
    }
    COPSE_TRY(const auto key, load_or_create_key(*path));
    if (prints_records()) record("id").text("id", codec::to_string(key.id())).print();
    else print(codec::to_string(key.id()));
    return exit_code::ok;
}

step<exit_code> run_ticket(const arguments& given)
{
    if (given.plain().size() != 1) return fail(exit_code::usage, "one ticket is needed");
    const std::string& text = given.plain().front();
    if (given.has("qr")) {
        if (prints_records()) return fail(exit_code::usage, "--qr is for people: not with --json");
        COPSE_TRYV(check_ticket(text));
        COPSE_TRY(const std::string code, qr_text(text));
        print(code);
        return exit_code::ok;
    }
    if (const auto endpoint = blob::parse_endpoint_ticket(text)) {
        if (prints_records()) return print_record("endpoint", "", "", endpoint.assume_value());
        print("kind     endpoint");
        print_address(endpoint.assume_value());
        return exit_code::ok;
    }
    const auto ticket = blob::parse_blob_ticket(text);
    if (!ticket) return fail(ticket.error(), "ticket");
    const bool sequence = ticket.assume_value().format == blob::blob_format::hash_seq;
    const std::string hash = hash::to_hex(ticket.assume_value().hash);
    if (prints_records()) {
        return print_record("blob", sequence ? "hash_seq" : "raw", hash,
                            ticket.assume_value().address);
    }
    print("kind     blob");
    print(sequence ? "format   hash sequence: a collection of files" : "format   raw: one blob");
    print("hash     " + hash);
    print_address(ticket.assume_value().address);
    return exit_code::ok;
}

}  // namespace app
