// Hashing files where they are, with several workers and bounded memory.
#pragma once

#include <copse/core/asio.hpp>
#include <copse/core/file.hpp>
#include <copse/core/offload.hpp>
#include <copse/core/result.hpp>
#include <copse/hash/digest.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace copse::bao {
class outboard;
}

namespace copse::store {

/// Groups of an extent, the unit of the index of an imported file: 256 KiB.
inline constexpr std::size_t extent_groups = 16;
/// Chunks of an extent.
inline constexpr std::uint64_t extent_chunks = extent_groups * 16;
/// Bytes of an extent.
inline constexpr std::size_t extent_bytes = extent_groups * 16 * 1024;

/// A file that was hashed and stays where it is.
struct imported_file {
    std::string path;        ///< as given
    hash::digest root;       ///< hash of the content
    std::uint64_t size = 0;  ///< bytes
    file_status identity;    ///< of the name when it was hashed, to notice changes
    /// Pairs above 256 KiB extents, 64 bytes each; null unless asked for.
    std::shared_ptr<const bao::outboard> index;
};

/// How a file is hashed.
struct import_options {
    import_options() {}  // not an aggregate: g++ 12 destroys those twice as arguments of co_await

    unsigned workers = 1;       ///< jobs at the same time; small files take one
    bool keep_index = true;     ///< false: only root and size, memory independent of the size
    bool follow_links = false;  ///< false: a symbolic link fails with store_errc::not_a_file
    /// Called on the executor with the bytes hashed so far, about 20 times a second and at the end.
    std::function<void(std::uint64_t)> progress;
};

/// Hashes a file in place.
/// \param fs, pool must outlive the awaitable.
/// \par Errors       store_errc::file_changed when it changed meanwhile, store_errc::not_a_file,
///                   operation_canceled, the system's.
/// \par Cancellation total: within about 50 ms.
/// \par Cost         each byte is read once through a 256 KiB buffer a worker and hashed in cache; no
///                   mapping. With the index 96 bytes of memory an extent while it runs, then 64.
awaitable<result<imported_file>> import_file(file_system& fs, offload_pool& pool, std::string path,
                                             import_options options);

/// The hash of a stream, and how long it was.
struct stream_hash {
    hash::digest root;       ///< hash of all bytes
    std::uint64_t size = 0;  ///< bytes read
};

/// Hashes what `read` gives until it gives nothing: pipes and standard input. Blocking.
/// \param read fills a part of the buffer (1 MiB) and returns how much; 0 at the end.
/// \par Errors those of `read`.
result<stream_hash> hash_stream(const std::function<result<std::size_t>(byte_span)>& read);

}  // namespace copse::store
