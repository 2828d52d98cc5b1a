// What a dial tried: every address with its time and outcome.
#pragma once

#include <copse/core/address.hpp>

#include <chrono>
#include <string>
#include <system_error>
#include <vector>

namespace copse::quic {

/// What became of one address of a peer.
struct dial_attempt {
    /// How far it got.
    enum class outcome_type {
        not_tried,  ///< decided before its turn came, or beyond the 16 addresses that are tried
        unusable,   ///< a relay, another transport, no port, or no socket of its family
        pending,    ///< under way; only while connect() runs
        abandoned,  ///< another address was faster, or the dial was cancelled
        failed,     ///< see `error`
        connected,  ///< this one won
    };

    path_address address;                          ///< as the caller gave it
    outcome_type outcome = outcome_type::pending;  ///< how far it got
    std::error_code error;                         ///< why it failed
    std::chrono::nanoseconds start{0};             ///< since the dial began
    std::chrono::nanoseconds duration{0};          ///< from its start to its outcome
};

/// What connect() did, in the order in which it tried the addresses; unusable ones are last.
struct dial_report {
    std::vector<dial_attempt> attempts;  ///< one for each address of the peer, without repetitions
    std::chrono::nanoseconds total{0};   ///< how long the dial took

    /// For people: a line for each address, without an end of line behind the last.
    [[nodiscard]] std::string to_string() const;
};

}  // namespace copse::quic
