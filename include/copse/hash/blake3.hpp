// BLAKE3, and the tree functions that verified streaming needs.
#pragma once

#include "copse/hash/digest.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace copse::hash {

/// BLAKE3's leaf: every chunk but the last has this many bytes.
inline constexpr std::size_t chunk_size = 1024;
/// Chunks of one group, the smallest subtree that outboards keep (iroh's "block size log 4").
inline constexpr std::size_t group_chunks = 16;
/// Bytes of one group.
inline constexpr std::size_t group_size = group_chunks * chunk_size;

/// Incremental BLAKE3 in its three modes.
/// \par Cost  Updates of 256 KiB and more at once run at the full speed of the widest kernel;
///            updates under 2 KiB run one chunk at a time. The object has about 1.9 KiB.
/// \par Spec  "BLAKE3: one function, fast everywhere", section 2.
class blake3 {
public:
    /// Mode "hash", no key.
    blake3() noexcept;

    /// Mode "keyed_hash".
    [[nodiscard]] static blake3 keyed(std::span<const std::byte, 32> key) noexcept;

    /// Mode "derive_key": the input given to `update` is the key material.
    /// \param context  Hard-coded, globally unique text of the application.
    [[nodiscard]] static blake3 derive_key(std::string_view context) noexcept;

    /// Appends `data`. Any split of the input gives the same result.
    blake3& update(std::span<const std::byte> data) noexcept;

    /// The hash of everything so far; more may be appended afterwards.
    [[nodiscard]] digest finalize() const noexcept;

    /// Extended output of any length; the first 32 bytes equal `finalize()`.
    void finalize(std::span<std::byte> out) const noexcept;

private:
    struct node;  // the inputs of one compression whose output is not taken yet

    // Interior subtrees wait on a stack, one per set bit of the chunk counter: 2^64 bytes are 2^54 chunks.
    static constexpr std::size_t max_depth = 54;

    blake3(const std::array<std::uint32_t, 8>& key, std::uint32_t flags) noexcept;
    void update_chunk(std::span<const std::byte> data) noexcept;
    void push(const digest& cv, std::uint64_t first_chunk) noexcept;
    void merge(std::uint64_t total_chunks) noexcept;
    [[nodiscard]] std::size_t chunk_fill() const noexcept;
    [[nodiscard]] node chunk_node() const noexcept;
    [[nodiscard]] node root_node() const noexcept;

    std::array<std::uint32_t, 8> key_;
    std::uint32_t flags_;
    std::array<std::uint32_t, 8> cv_;    // of the current chunk, up to its last complete block
    std::array<std::byte, 64> block_{};  // the block that may still turn out to be the last one
    std::uint8_t block_fill_ = 0;
    std::uint8_t blocks_done_ = 0;
    std::uint8_t depth_ = 0;
    std::uint64_t chunk_ = 0;  // number of the current chunk
    // One more than the depth: the last two subtrees stay apart until it is known that neither is the root.
    std::array<digest, max_depth + 1> stack_;
};

/// The BLAKE3 hash of `data`, on the calling thread.
[[nodiscard]] digest blake3_hash(std::span<const std::byte> data) noexcept;

/// The chaining value of a subtree, on the calling thread.
/// \param data         The whole subtree; any length, 0 only for the empty blob.
/// \param first_chunk  Absolute number of its first chunk: a multiple of the subtree's power-of-two span.
/// \param is_root      True when the subtree is the whole blob: then the result is its BLAKE3 hash.
/// \par Spec           docs/specs/bao.md section 2 (subtree CV).
[[nodiscard]] digest subtree_cv(std::span<const std::byte> data, std::uint64_t first_chunk,
                                bool is_root) noexcept;

/// The chaining value of a parent over two subtrees.
/// \param is_root  True when the parent covers the whole blob.
[[nodiscard]] digest parent_cv(const digest& left, const digest& right, bool is_root) noexcept;

/// Chaining values of consecutive 16 KiB groups, never as root. Chunks and parents are batched over
/// groups, so that the widest kernel stays full.
/// \param data         Adjacent groups; the last may be short, but not empty.
/// \param first_chunk  Absolute number of the first chunk, a multiple of 16.
/// \param out          Exactly one digest a group: `ceil(data.size() / group_size)`.
void group_cvs(std::span<const std::byte> data, std::uint64_t first_chunk,
               std::span<digest> out) noexcept;

/// The same for consecutive groups that are not adjacent in memory.
/// \param groups  Each of exactly `group_size` bytes, except that the last may be short (not empty).
/// \param out     As many as `groups`.
void group_cvs(std::span<const std::span<const std::byte>> groups, std::uint64_t first_chunk,
               std::span<digest> out) noexcept;

/// Chaining values of many parents at once, never as root.
/// \param pairs  64 bytes a parent: left value, then right value.
/// \param out    Exactly `pairs.size() / 64`; may start where `pairs` starts (reduction in place).
void parent_cvs(std::span<const std::byte> pairs, std::span<digest> out) noexcept;

/// The implementations of the compression function, in rising order of preference.
enum class instruction_set { portable, neon, sse41, avx2, avx512 };

/// Lower-case name as the environment variable `COPSE_BLAKE3` spells it.
[[nodiscard]] std::string_view to_string(instruction_set set) noexcept;

/// Whether this program and this processor have `set`.
[[nodiscard]] bool is_supported(instruction_set set) noexcept;

/// What is in use: the best supported one, or what `COPSE_BLAKE3` names. The variable is read once, at
/// the first use of this component; an unknown or unsupported name is ignored.
[[nodiscard]] instruction_set active_instruction_set() noexcept;

/// Changes the implementation for the whole process; for tests and benchmarks. Safe while other
/// threads hash: all implementations agree.
/// \return  False, with no change, when `set` is not supported.
bool set_instruction_set(instruction_set set) noexcept;

}  // namespace copse::hash
