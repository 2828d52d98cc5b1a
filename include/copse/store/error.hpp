// Failures of blob stores.
#pragma once

#include <string>
#include <system_error>

namespace copse::store {

/// What a store can fail with, besides the codes of the system.
enum class store_errc {
    missing = 1,   ///< The blob, or this part of it, is not here; fetch it.
    busy,          ///< Another process uses the folder, or another writer the blob; try later.
    size_changed,  ///< The claimed size contradicts the proven one; drop the provider.
    corrupt_state,  ///< Files of the store contradict each other; repair the blob and fetch the rest.
    full,          ///< The limit of a memory store is used up; free something or fail the transfer.
    incomplete,    ///< Chunks are missing where a complete blob is needed; fetch the rest.
    file_changed,  ///< A file is not what it was when it was hashed; import it again.
    not_a_file,    ///< Only regular files can be imported; skip it or read it as a stream.
    read_only,     ///< This store takes no partial blobs.
};

inline const std::error_category& store_category() noexcept
{
    static const struct category_type final : std::error_category {
        const char* name() const noexcept override { return "copse.store"; }
        std::string message(int ev) const override
        {
            switch (static_cast<store_errc>(ev)) {
            case store_errc::missing: return "blob or part of it is not in the store";
            case store_errc::busy: return "in use by another process or transfer";
            case store_errc::size_changed: return "claimed size contradicts the proven one";
            case store_errc::corrupt_state: return "the store's files contradict each other";
            case store_errc::full: return "the store's memory limit is used up";
            case store_errc::incomplete: return "blob is not complete";
            case store_errc::file_changed: return "file changed since it was hashed";
            case store_errc::not_a_file: return "not a regular file";
            case store_errc::read_only: return "store takes no partial blobs";
            }
            return "unknown store error";
        }
    } category;
    return category;
}

inline std::error_code make_error_code(store_errc e) noexcept
{
    return {static_cast<int>(e), store_category()};
}

}  // namespace copse::store

template <>
struct std::is_error_code_enum<copse::store::store_errc> : std::true_type {};
