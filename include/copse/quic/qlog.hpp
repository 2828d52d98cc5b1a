// qlog: what a connection sends, receives and decides, as records for analysis programs (qvis).
#pragma once

#include <copse/core/bytes.hpp>
#include <copse/core/file.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace copse::quic {

/// Takes the qlog of one connection; destroyed when the connection ends.
/// \par Spec qlog main schema 0.3 as a JSON text sequence (RFC 7464).
class qlog_sink {
public:
    virtual ~qlog_sink() = default;
    /// One whole record, valid during the call. Called on the endpoint's executor, for each packet:
    /// it must not wait, nor touch the connection.
    virtual void write(byte_view record) noexcept = 0;
};

/// Makes the sink of a connection, or null for a connection that needs no log.
/// `original_id` is the first destination id of the dialler, the same on both sides.
using qlog_factory = std::function<std::unique_ptr<qlog_sink>(byte_view original_id, bool server)>;

/// Files `<original id in hexadecimal>_client.sqlog` or `..._server.sqlog` in a directory that exists.
/// For diagnosis: the endpoint's thread writes 64 KiB at a time. A log ends early when a write fails or
/// at `limit` bytes; a connection whose file cannot be made has none.
/// \param files must outlive the endpoint.
[[nodiscard]] qlog_factory qlog_directory(std::string directory,
                                          std::uint64_t limit = std::uint64_t{1} << 30,
                                          file_system& files = real_file_system());

}  // namespace copse::quic
