// What the blobs of an answer brought, and its lines.
#pragma once

#include "arguments.hpp"
#include "network.hpp"
#include "streams.hpp"

#include <copse/blob/wire.hpp>
#include <copse/hash/digest.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

namespace probe {

/// One blob of the answer: as it stands in the stream, and the verified bytes of it.
struct blob_content {
    hash::digest hash;
    std::optional<std::uint64_t> size;                       ///< as its header says
    bool complete = false;                                   ///< its whole encoding came
    std::map<std::uint64_t, std::vector<std::byte>> pieces;  ///< by offset

    /// The lines `blob`, `range` and `payload`.
    void report(std::uint64_t index) const;
    void save(const std::string& path) const;
};

using answer = std::map<std::uint64_t, blob_content>;  // by index

/// How a request went.
struct outcome_of_request {
    std::error_code error;
    std::string where;  ///< of the error
    std::chrono::nanoseconds time{};
};

/// Everything that is said of an answer. \param got as far as the fetch told of verified bytes.
void report_answer(const wrapped_connection& c, const blob::ranges_seq& ranges,
                   const std::vector<hash::digest>& hashes, answer got,
                   const outcome_of_request& how,
                   const std::function<std::string(std::uint64_t)>& file);

}  // namespace probe
