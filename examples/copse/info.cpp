// copse id and copse ticket: who this node is, and what a ticket says.
#include "arguments.hpp"
#include "commands.hpp"
#include "console.hpp"
#include "key_file.hpp"
#include "transfer.hpp"

#include <copse/blob/collection.hpp>
#include <copse/blob/ticket.hpp>
#include <copse/codec/key_text.hpp>

namespace app {

const char id_help[] =
    R"(usage: copse id [--key FILE]

Prints the id under which `copse send` of this user is known. The key file is made when there is
none.

  --key FILE   another key file than ${COPSE_HOME:-${XDG_CONFIG_HOME:-~/.config}/copse}/key)";

const char ticket_help[] =
    R"(usage: copse ticket TICKET

Explains a ticket of copse, sendme or iroh: what it names, who has it, and where.)";

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

}  // namespace

step<exit_code> run_id(const words& input)
{
    COPSE_TRY(const auto given, arguments::parse(input, {{"key", true}}));
    if (!given.words().empty()) return fail(exit_code::usage, "id takes no further words");
    auto path = given.get("key");
    if (!path) path = default_key_path();
    if (!path) {
        return fail(exit_code::files, "no place for a key file: set HOME or COPSE_HOME, or give "
                                      "--key FILE");
    }
    COPSE_TRY(const auto key, load_or_create_key(*path));
    print(codec::to_string(key.id()));
    return exit_code::ok;
}

step<exit_code> run_ticket(const words& input)
{
    COPSE_TRY(const auto given, arguments::parse(input, {}));
    if (given.words().size() != 1) return fail(exit_code::usage, "one ticket is needed");
    const std::string& text = given.words().front();
    if (const auto endpoint = blob::parse_endpoint_ticket(text)) {
        print("kind     endpoint");
        print_address(endpoint.assume_value());
        return exit_code::ok;
    }
    const auto ticket = blob::parse_blob_ticket(text);
    if (!ticket) return fail(ticket.error(), "ticket");
    const bool sequence = ticket.assume_value().format == blob::blob_format::hash_seq;
    print("kind     blob");
    print(sequence ? "format   hash sequence: a collection of files" : "format   raw: one blob");
    print("hash     " + hash::to_hex(ticket.assume_value().hash));
    print_address(ticket.assume_value().address);
    return exit_code::ok;
}

}  // namespace app
