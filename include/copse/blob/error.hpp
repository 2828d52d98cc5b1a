// Failures of blob transfer, tickets and collections.
#pragma once

#include <string>
#include <system_error>

namespace copse::blob {

/// What went wrong between a getter and a provider, or in what they exchanged.
enum class blob_errc {
    // What the provider said.
    /// It lacks the data now, or failed; back off, retry, then another provider.
    not_available = 1,
    refused,          ///< Its policy or the kind of request forbids it; do not ask it again.
    rate_limited,     ///< It asks for patience; retry later.
    aborted_by_peer,  ///< It gave up without saying why; retry or take another provider.

    // What the getter sent.
    malformed_request,    ///< Undecodable or not canonical; tell the peer `wire_code::permission`.
    unknown_request,      ///< A request type that no version has; answer as above.
    unsupported_request,  ///< A known request that this provider does not serve; answer as above.
    request_too_large,    ///< Over max_request_bytes; stop reading and answer as above.

    // What the answer held.
    truncated_response,  ///< It ended too soon; resume from the offset in the diagnostics.
    parent_mismatch,     ///< A hash pair does not match its parent: the peer lies; drop it.
    leaf_mismatch,       ///< Data does not match its hash: the peer lies or its disk does; drop it.
    extra_data,          ///< It went on after its end; the blob itself is good, drop the peer.
    stalled,             ///< Too few verified bytes for too long; resume from another provider.
    too_large,           ///< The blob is larger than the caller allows; nothing was fetched of it.

    // Hash sequences and collections.
    bad_hash_sequence,  ///< Its size is not a multiple of 32, or over max_hash_sequence_bytes.
    bad_collection,     ///< Wrong header, or names and hashes differ in number; not a collection.
    collection_too_large,  ///< More names or metadata than the limits allow; fetch single blobs.
    unsafe_name,           ///< Absolute, or with an empty, `.` or `..` component; refuse all of it.
    unprintable_name,      ///< A backslash, NUL or control character; refuse all of it.
    bad_name_encoding,     ///< A name is not UTF-8; refuse all of it.
    name_too_long,         ///< A component over 255 bytes or a name over 4096; refuse all of it.
    reserved_name,         ///< A name inside the receiver's own `.copse-partial`; refuse all of it.
    duplicate_name,        ///< Two files of one name; refuse all of it.
    conflicting_name,      ///< A name is a file and also the folder of another; refuse all of it.

    // Tickets.
    bad_ticket,          ///< Its content makes no sense; ask for a new one.
    ticket_truncated,    ///< Its end is missing; copy all of it.
    ticket_mistyped,     ///< A character that tickets never have, or one too many; copy it again.
    ticket_too_large,    ///< Longer, or with more addresses, than a ticket may be.
    unsupported_ticket,  ///< Of another kind or a newer version; use the program it is for.

    // Observe and push.
    bad_observation,  ///< An item of an observed provider makes no sense; drop the peer.
    push_failed,      ///< It could not store the data or found it wrong; check yours, retry later.
    not_confirmed,    ///< It took the data and does not show it in time; ask again, or push again.
};

inline const std::error_category& blob_category() noexcept
{
    static const struct category_type final : std::error_category {
        const char* name() const noexcept override { return "copse.blob"; }
        std::string message(int ev) const override
        {
            switch (static_cast<blob_errc>(ev)) {
            case blob_errc::not_available: return "the provider does not have the data";
            case blob_errc::refused: return "the provider refused the request";
            case blob_errc::rate_limited: return "the provider limits the rate of requests";
            case blob_errc::aborted_by_peer: return "the provider gave up";
            case blob_errc::malformed_request: return "malformed request";
            case blob_errc::unknown_request: return "unknown type of request";
            case blob_errc::unsupported_request: return "this type of request is not served";
            case blob_errc::request_too_large: return "the request is too large";
            case blob_errc::truncated_response: return "the response ended too soon";
            case blob_errc::parent_mismatch: return "a hash pair does not match its parent";
            case blob_errc::leaf_mismatch: return "data does not match its hash";
            case blob_errc::extra_data: return "the response went on after its end";
            case blob_errc::stalled: return "the provider made too little progress";
            case blob_errc::too_large: return "the blob is larger than allowed";
            case blob_errc::bad_hash_sequence: return "the blob is not a usable hash sequence";
            case blob_errc::bad_collection: return "the blob is not a collection";
            case blob_errc::collection_too_large: return "the collection is larger than allowed";
            case blob_errc::unsafe_name: return "the name leaves the folder or has an empty part";
            case blob_errc::unprintable_name:
                return "the name has a backslash or a control character";
            case blob_errc::bad_name_encoding: return "the name is not UTF-8";
            case blob_errc::name_too_long: return "the name or a part of it is too long";
            case blob_errc::reserved_name: return "the name is reserved for partial downloads";
            case blob_errc::duplicate_name: return "two files have the same name";
            case blob_errc::conflicting_name: return "the name is both a file and a folder";
            case blob_errc::bad_ticket: return "the ticket's content makes no sense";
            case blob_errc::ticket_truncated: return "the end of the ticket is missing";
            case blob_errc::ticket_mistyped: return "the ticket was mistyped or not copied whole";
            case blob_errc::ticket_too_large: return "the ticket is too large";
            case blob_errc::unsupported_ticket: return "not a ticket of this kind";
            case blob_errc::bad_observation: return "what is said to be there makes no sense";
            case blob_errc::push_failed: return "the receiver could not store what was pushed";
            case blob_errc::not_confirmed: return "the receiver does not show what was pushed";
            }
            return "unknown blob error";
        }
    } category;
    return category;
}

inline std::error_code make_error_code(blob_errc e) noexcept
{
    return {static_cast<int>(e), blob_category()};
}

}  // namespace copse::blob

template <>
struct std::is_error_code_enum<copse::blob::blob_errc> : std::true_type {};
