#include "failure.hpp"

#include <copse/blob/collection.hpp>
#include <copse/blob/error.hpp>
#include <copse/core/error.hpp>
#include <copse/store/error.hpp>

#include <algorithm>
#include <array>
#include <cerrno>

namespace app {

namespace {

constexpr std::array exit_codes{
    exit_rule{exit_code::ok, "ok", "done; for send without --once: ended by Ctrl-C while serving"},
    exit_rule{exit_code::other, "other", "another failure; for hash: some files were not read"},
    exit_rule{exit_code::usage, "usage", "wrong options, or a text that is no ticket"},
    exit_rule{exit_code::unreachable, "unreachable",
              "no answer, or no progress for the time of --timeout"},
    exit_rule{exit_code::refused, "refused",
              "the provider refuses or lacks the data, or what it offers is refused"},
    exit_rule{exit_code::integrity, "integrity", "data that does not match its hash"},
    exit_rule{exit_code::files, "files",
              "local files: existing, not permitted, in use by another process"},
    exit_rule{exit_code::disk_full, "disk-full",
              "no space, quota used up, or a file larger than the system allows"},
    exit_rule{exit_code::limit, "limit", "more than --max-size or a limit of this program allows"},
    exit_rule{exit_code::partial, "partial",
              "some files are in place, the others could not be had"},
    exit_rule{exit_code::interrupted, "interrupted",
              "by Ctrl-C, SIGTERM, the end of the terminal or of who reads standard output"},
};

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
    case too_large:
    case collection_too_large: return exit_code::limit;
    default: return exit_code::refused;
    }
}

exit_code of_store(store::store_errc error) noexcept
{
    // Two sizes for one hash: one of the providers lied.
    if (error == store::store_errc::size_changed) return exit_code::integrity;
    return error == store::store_errc::full ? exit_code::limit : exit_code::files;
}

bool is_full(const std::error_code& error) noexcept
{
    return error == std::errc::no_space_on_device || error == std::errc::file_too_large ||
           error.value() == EDQUOT;  // has no name in std::errc
}

}  // namespace

std::span<const exit_rule> all_exit_codes() noexcept
{
    return exit_codes;
}

std::string_view class_name(exit_code code) noexcept
{
    const auto* const found = std::ranges::find(exit_codes, code, &exit_rule::code);
    return found == exit_codes.end() ? "other" : found->name;
}

exit_code to_exit_code(const std::error_code& error) noexcept
{
    if (error == std::errc::operation_canceled) return exit_code::interrupted;
    if (error == std::errc::timed_out) return exit_code::unreachable;
    if (error == transport_errc::limit_reached) return exit_code::limit;
    if (error.category() == transport_category()) return exit_code::unreachable;
    if (error.category() == blob::blob_category()) {
        return of_blob(static_cast<blob::blob_errc>(error.value()));
    }
    if (error.category() == store::store_category()) {
        return of_store(static_cast<store::store_errc>(error.value()));
    }
    const bool system =
        error.category() == std::generic_category() || error.category() == std::system_category();
    if (system && is_full(error)) return exit_code::disk_full;
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
