#include "failure.hpp"

#include <copse/blob/collection.hpp>
#include <copse/blob/error.hpp>
#include <copse/core/error.hpp>
#include <copse/store/error.hpp>

namespace app {

namespace {

exit_code of_blob(blob::blob_errc error) noexcept
{
    using enum blob::blob_errc;
    switch (error) {
    case parent_mismatch:
    case leaf_mismatch:
    case extra_data: return exit_code::integrity;
    case stalled: return exit_code::unreachable;
    case bad_ticket:
    case ticket_truncated:
    case ticket_mistyped:
    case ticket_too_large:
    case unsupported_ticket: return exit_code::usage;
    default: return exit_code::refused;
    }
}

exit_code of_store(store::store_errc error) noexcept
{
    // Two sizes for one hash: one of the providers lied.
    return error == store::store_errc::size_changed ? exit_code::integrity : exit_code::files;
}

}  // namespace

exit_code to_exit_code(const std::error_code& error) noexcept
{
    if (error == std::errc::operation_canceled) return exit_code::interrupted;
    if (error == std::errc::timed_out) return exit_code::unreachable;
    if (error.category() == transport_category()) return exit_code::unreachable;
    if (error.category() == blob::blob_category()) {
        return of_blob(static_cast<blob::blob_errc>(error.value()));
    }
    if (error.category() == store::store_category()) {
        return of_store(static_cast<store::store_errc>(error.value()));
    }
    const bool system =
        error.category() == std::generic_category() || error.category() == std::system_category();
    return system ? exit_code::files : exit_code::other;
}

failure fail(const std::error_code& error, std::string_view what)
{
    return failure(to_exit_code(error), std::string(what) + ": " + error.message());
}

std::string shown_path(std::string_view path)
{
    return "'" + blob::escape_name(path, 1000) + "'";
}

}  // namespace app
