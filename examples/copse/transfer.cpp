#include "transfer.hpp"

#include <copse/blob/collection.hpp>
#include <copse/codec/key_text.hpp>

#include <cstdlib>
#include <utility>

namespace app {

step<quic::endpoint> open_endpoint(const executor& ex, quic::endpoint_options options)
{
    std::string where = "the network";
    if (!options.bind.empty()) {
        where.clear();
        for (const auto& address : options.bind) {
            where += (where.empty() ? "" : ", ") + address.to_string();
        }
    }
    const char* const qlog_folder = std::getenv("QLOGDIR");
    if (qlog_folder && *qlog_folder) options.qlog = quic::qlog_directory(qlog_folder);
    auto made = quic::endpoint::make(ex, std::move(options));
    if (made) return std::move(made).assume_value();
    return fail(exit_code::other, "cannot bind to " + where + ": " + made.error().message());
}

std::string short_id(const endpoint_id& id)
{
    return codec::to_short_string(id);
}

std::vector<socket_address> udp_addresses(const endpoint_address& from)
{
    std::vector<socket_address> out;
    for (const auto& path : from.paths) {
        if (const auto* address = std::get_if<socket_address>(&path)) out.push_back(*address);
    }
    return out;
}

std::string to_text(const path_address& path)
{
    if (const auto* address = std::get_if<socket_address>(&path)) return address->to_string();
    if (const auto* relay = std::get_if<relay_address>(&path)) {
        return "relay " + blob::escape_name(relay->url);
    }
    return "an unknown transport";
}

}  // namespace app
