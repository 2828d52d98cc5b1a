// The tree of BLAKE3 over whichever kernel the processor has.
#pragma once

#include "copse/hash/blake3.hpp"
#include "copse/hash/impl/blake3_kernel.hpp"
#include "copse/hash/impl/blake3_portable.ipp"
#if defined(__x86_64__)
#include "copse/hash/impl/blake3_avx2.ipp"
#include "copse/hash/impl/blake3_avx512.ipp"
#include "copse/hash/impl/blake3_sse41.ipp"
#endif
#if defined(__aarch64__) && defined(__ARM_NEON) && !defined(__AARCH64EB__)
#include "copse/hash/impl/blake3_neon.ipp"
#define COPSE_HASH_NEON 1
#endif

#include <algorithm>
#include <atomic>
#include <bit>
#include <cassert>
#include <cstdlib>
#include <cstring>

namespace copse::hash {

namespace kernel {

/// The code of an instruction set, null where the program or the processor does not have it.
many_function* find(instruction_set set) noexcept
{
    switch (set) {
    case instruction_set::portable: return many_portable;
#if defined(__x86_64__)
    case instruction_set::sse41: return __builtin_cpu_supports("sse4.1") ? many_sse41 : nullptr;
    case instruction_set::avx2: return __builtin_cpu_supports("avx2") ? many_avx2 : nullptr;
    case instruction_set::avx512: {
        const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
        return has ? many_avx512 : nullptr;
    }
#endif
#if defined(COPSE_HASH_NEON)
    case instruction_set::neon: return many_neon;
#endif
    default: return nullptr;
    }
}

constexpr instruction_set all_sets[] = {instruction_set::avx512, instruction_set::avx2,
                                        instruction_set::sse41, instruction_set::neon,
                                        instruction_set::portable};

/// The environment's wish, or the best of this processor.
instruction_set first_choice() noexcept
{
    if (const char* wish = std::getenv("COPSE_BLAKE3")) {
        for (const instruction_set set : all_sets) {
            if (to_string(set) == wish && find(set)) return set;
        }
    }
    for (const instruction_set set : all_sets) {
        if (find(set)) return set;
    }
    return instruction_set::portable;
}

std::atomic<instruction_set>& chosen() noexcept
{
    static std::atomic<instruction_set> value{first_choice()};
    return value;
}

std::atomic<many_function*>& active_slot() noexcept
{
    static std::atomic<many_function*> value{find(chosen().load())};
    return value;
}

many_function& active() noexcept
{
    return *active_slot().load(std::memory_order_relaxed);
}

/// Key words and mode flags of one hash.
struct mode {
    const std::uint32_t* key = iv;
    std::uint32_t flags = 0;
};

digest to_digest(const std::uint32_t* cv) noexcept
{
    digest out;
    for (std::size_t i = 0; i < 8; ++i) store32(out.bytes.data() + 4 * i, cv[i]);
    return out;
}

std::size_t chunks_of(std::size_t size) noexcept
{
    return size == 0 ? 1 : (size - 1) / chunk_size + 1;
}

/// The value of one chunk of 0 to 1024 bytes. `extra` is `root` or 0.
void chunk_cv(const mode& how, std::span<const std::byte> data, std::uint64_t number,
              std::uint32_t extra, std::byte* out) noexcept
{
    std::uint32_t cv[8];
    std::memcpy(cv, how.key, sizeof cv);
    std::uint32_t flags = how.flags | chunk_start;
    while (data.size() > block_size) {
        compress(cv, data.data(), block_size, number, flags);
        flags = how.flags;
        data = data.subspan(block_size);
    }
    flags |= chunk_end | extra;
    if (data.size() == block_size) {
        compress(cv, data.data(), block_size, number, flags);
    } else {
        std::byte block[block_size] = {};
        if (!data.empty()) std::memcpy(block, data.data(), data.size());
        compress(cv, block, static_cast<std::uint32_t>(data.size()), number, flags);
    }
    for (std::size_t i = 0; i < 8; ++i) store32(out + 4 * i, cv[i]);
}

void parent_value(const mode& how, const std::byte* pair, std::uint32_t extra,
                  std::byte* out) noexcept
{
    std::uint32_t cv[8];
    std::memcpy(cv, how.key, sizeof cv);
    compress(cv, pair, block_size, 0, how.flags | parent | extra);
    for (std::size_t i = 0; i < 8; ++i) store32(out + 4 * i, cv[i]);
}

// Pointers collected for one call of a kernel; a multiple of every width.
constexpr std::size_t batch_size = 32;

batch chunk_batch(const mode& how, std::uint64_t first) noexcept
{
    return {how.key, first, true, how.flags, chunk_start, chunk_end};
}

/// Values of `count` whole chunks that are adjacent.
void chunk_values(many_function& code, const mode& how, const std::byte* data, std::size_t count,
                  std::uint64_t first, std::byte* out) noexcept
{
    const std::byte* inputs[batch_size];
    for (std::size_t done = 0; done < count;) {
        const std::size_t n = std::min(batch_size, count - done);
        for (std::size_t i = 0; i < n; ++i) inputs[i] = data + chunk_size * (done + i);
        code(inputs, n, chunk_size / block_size, chunk_batch(how, first + done),
             out + cv_size * done);
        done += n;
    }
}

/// Values of `count` parents; `out` may be `pairs`.
void parent_values(many_function& code, const mode& how, const std::byte* pairs, std::size_t count,
                   std::byte* out) noexcept
{
    const batch what{how.key, 0, false, how.flags | parent, 0, 0};
    const std::byte* inputs[batch_size];
    for (std::size_t done = 0; done < count;) {
        const std::size_t n = std::min(batch_size, count - done);
        for (std::size_t i = 0; i < n; ++i) inputs[i] = pairs + block_size * (done + i);
        code(inputs, n, 1, what, out + cv_size * done);
        done += n;
    }
}

/// One level up: pairs become parents, an odd last value moves up as it is. That is BLAKE3's tree, as
/// its left part is always the largest power of two. Returns the number of values left.
std::size_t reduce(many_function& code, const mode& how, std::byte* values,
                   std::size_t count) noexcept
{
    const std::size_t pairs = count / 2;
    parent_values(code, how, values, pairs, values);
    if (count % 2 == 0) return pairs;
    std::memmove(values + cv_size * pairs, values + cv_size * (count - 1), cv_size);
    return pairs + 1;
}

// A subtree is worked off in leaves of this many chunks: 8 KiB of values on the stack.
constexpr std::size_t leaf_chunks = 256;
// Values that a wide subtree is left at: two of them fill the widest kernel with parents.
constexpr std::size_t fan = 32;

/// Values below the root of the subtree over `data`: at most `fan` of them, and exactly `fan` for a
/// power of two of that many chunks or more. Joining stops there so that a level above can go on wide.
std::size_t wide(many_function& code, const mode& how, std::span<const std::byte> data,
                 std::uint64_t first, std::byte* out) noexcept
{
    const std::size_t chunks = chunks_of(data.size());
    if (chunks > leaf_chunks) {
        const std::size_t left = std::bit_floor(chunks - 1);
        alignas(64) std::byte values[2 * fan * cv_size];
        std::size_t count = wide(code, how, data.first(left * chunk_size), first, values);
        count += wide(code, how, data.subspan(left * chunk_size), first + left,
                      values + count * cv_size);
        if (count > fan) count = reduce(code, how, values, count);
        std::memcpy(out, values, count * cv_size);
        return count;
    }
    alignas(64) std::byte values[leaf_chunks * cv_size];
    const std::size_t full = data.size() / chunk_size;
    chunk_values(code, how, data.data(), full, first, values);
    if (full < chunks) {
        chunk_cv(how, data.subspan(full * chunk_size), first + full, 0, values + full * cv_size);
    }
    std::size_t count = chunks;
    while (count > fan) count = reduce(code, how, values, count);
    std::memcpy(out, values, count * cv_size);
    return count;
}

/// The two children of the root of a subtree of more than one chunk.
void children(many_function& code, const mode& how, std::span<const std::byte> data,
              std::uint64_t first, std::byte* pair) noexcept
{
    alignas(64) std::byte values[fan * cv_size];
    std::size_t count = wide(code, how, data, first, values);
    while (count > 2) count = reduce(code, how, values, count);
    std::memcpy(pair, values, block_size);
}

digest subtree(const mode& how, std::span<const std::byte> data, std::uint64_t first,
               std::uint32_t extra) noexcept
{
    many_function& code = active();
    digest out;
    if (data.size() <= chunk_size) {
        chunk_cv(how, data, first, extra, out.bytes.data());
    } else {
        alignas(64) std::byte pair[block_size];
        children(code, how, data, first, pair);
        parent_value(how, pair, extra, out.bytes.data());
    }
    return out;
}

}  // namespace kernel

// The tree functions.

digest blake3_hash(std::span<const std::byte> data) noexcept
{
    return kernel::subtree({}, data, 0, kernel::root);
}

digest subtree_cv(std::span<const std::byte> data, std::uint64_t first_chunk, bool is_root) noexcept
{
    assert(first_chunk % std::bit_ceil(kernel::chunks_of(data.size())) == 0);
    assert(!is_root || first_chunk == 0);
    return kernel::subtree({}, data, first_chunk, is_root ? kernel::root : 0);
}

digest parent_cv(const digest& left, const digest& right, bool is_root) noexcept
{
    alignas(64) std::byte pair[kernel::block_size];
    std::memcpy(pair, left.bytes.data(), kernel::cv_size);
    std::memcpy(pair + kernel::cv_size, right.bytes.data(), kernel::cv_size);
    digest out;
    kernel::parent_value({}, pair, is_root ? kernel::root : 0, out.bytes.data());
    return out;
}

void parent_cvs(std::span<const std::byte> pairs, std::span<digest> out) noexcept
{
    static_assert(sizeof(digest) == kernel::cv_size);
    assert(pairs.size() == out.size() * kernel::block_size);
    kernel::parent_values(kernel::active(), {}, pairs.data(), out.size(),
                          std::as_writable_bytes(out).data());
}

namespace kernel {

// Groups of one batch: their chunks fill the widest kernel 8 times, and 8 KiB of stack.
constexpr std::size_t batch_groups = 16;

/// Group values from the values of their chunks: four levels, each over all groups at once.
void join_groups(many_function& code, std::byte* values, std::size_t groups, digest* out) noexcept
{
    for (std::size_t pairs = groups * group_chunks / 2; pairs >= groups; pairs /= 2) {
        parent_values(code, {}, values, pairs, values);
    }
    std::memcpy(static_cast<void*>(out), values, groups * cv_size);
}

}  // namespace kernel

void group_cvs(std::span<const std::byte> data, std::uint64_t first_chunk,
               std::span<digest> out) noexcept
{
    assert(out.size() == (data.size() + group_size - 1) / group_size);
    assert(first_chunk % group_chunks == 0);
    kernel::many_function& code = kernel::active();
    alignas(64) std::byte values[kernel::batch_groups * group_chunks * kernel::cv_size];
    const std::size_t full = data.size() / group_size;
    for (std::size_t done = 0; done < full;) {
        const std::size_t n = std::min(kernel::batch_groups, full - done);
        kernel::chunk_values(code, {}, data.data() + done * group_size, n * group_chunks,
                             first_chunk + done * group_chunks, values);
        kernel::join_groups(code, values, n, out.data() + done);
        done += n;
    }
    if (full < out.size()) {
        out[full] = kernel::subtree({}, data.subspan(full * group_size),
                                    first_chunk + full * group_chunks, 0);
    }
}

void group_cvs(std::span<const std::span<const std::byte>> groups, std::uint64_t first_chunk,
               std::span<digest> out) noexcept
{
    assert(out.size() == groups.size());
    assert(first_chunk % group_chunks == 0);
    if (groups.empty()) return;
    kernel::many_function& code = kernel::active();
    alignas(64) std::byte values[kernel::batch_groups * group_chunks * kernel::cv_size];
    const std::size_t full = groups.size() - (groups.back().size() < group_size ? 1 : 0);
    for (std::size_t done = 0; done < full;) {
        const std::size_t n = std::min(kernel::batch_groups, full - done);
        constexpr std::size_t groups_per_call = kernel::batch_size / group_chunks;
        for (std::size_t g = 0; g < n;) {
            const std::size_t together = std::min(groups_per_call, n - g);
            const std::byte* inputs[kernel::batch_size];
            for (std::size_t i = 0; i < together * group_chunks; ++i) {
                const auto& group = groups[done + g + i / group_chunks];
                assert(group.size() == group_size);
                inputs[i] = group.data() + chunk_size * (i % group_chunks);
            }
            code(inputs, together * group_chunks, chunk_size / kernel::block_size,
                 kernel::chunk_batch({}, first_chunk + (done + g) * group_chunks),
                 values + g * group_chunks * kernel::cv_size);
            g += together;
        }
        kernel::join_groups(code, values, n, out.data() + done);
        done += n;
    }
    if (full < groups.size()) {
        out[full] = kernel::subtree({}, groups[full], first_chunk + full * group_chunks, 0);
    }
}

// The incremental hasher.

struct blake3::node {
    std::array<std::uint32_t, 8> cv;
    alignas(64) std::array<std::byte, 64> block;
    std::uint32_t length;
    std::uint64_t counter;
    std::uint32_t flags;

    [[nodiscard]] digest value() const noexcept
    {
        std::array<std::uint32_t, 8> words = cv;
        kernel::compress(words.data(), block.data(), length, counter, flags);
        return kernel::to_digest(words.data());
    }
};

blake3::blake3(const std::array<std::uint32_t, 8>& key, std::uint32_t flags) noexcept
    : key_(key), flags_(flags), cv_(key)
{}

blake3::blake3() noexcept : blake3(std::to_array(kernel::iv), 0) {}

blake3 blake3::keyed(std::span<const std::byte, 32> key) noexcept
{
    std::array<std::uint32_t, 8> words{};
    for (std::size_t i = 0; i < 8; ++i) words[i] = kernel::load32(key.data() + 4 * i);
    return {words, kernel::keyed_hash};
}

blake3 blake3::derive_key(std::string_view context) noexcept
{
    blake3 outer{std::to_array(kernel::iv), kernel::derive_key_context};
    const digest key = outer.update(std::as_bytes(std::span(context))).finalize();
    blake3 inner = keyed(key.span());
    inner.flags_ = kernel::derive_key_material;
    return inner;
}

std::size_t blake3::chunk_fill() const noexcept
{
    return kernel::block_size * blocks_done_ + block_fill_;
}

/// Takes at most what the current chunk has room for. The last block stays in the buffer, as only the
/// end of the input or of the chunk tells its flags.
void blake3::update_chunk(std::span<const std::byte> data) noexcept
{
    const auto complete = [this](const std::byte* block) {
        kernel::compress(cv_.data(), block, kernel::block_size, chunk_,
                         flags_ | (blocks_done_ == 0 ? kernel::chunk_start : 0));
        ++blocks_done_;
    };
    while (!data.empty()) {
        if (block_fill_ == kernel::block_size) {
            complete(block_.data());
            block_fill_ = 0;
        }
        if (block_fill_ == 0) {
            for (; data.size() > kernel::block_size; data = data.subspan(kernel::block_size)) {
                complete(data.data());
            }
        }
        const std::size_t take = std::min(data.size(), kernel::block_size - block_fill_);
        std::memcpy(block_.data() + block_fill_, data.data(), take);
        block_fill_ = static_cast<std::uint8_t>(block_fill_ + take);
        data = data.subspan(take);
    }
}

blake3::node blake3::chunk_node() const noexcept
{
    node out{cv_, block_, block_fill_, chunk_,
             flags_ | (blocks_done_ == 0 ? kernel::chunk_start : 0) | kernel::chunk_end};
    std::fill(out.block.begin() + block_fill_, out.block.end(), std::byte{0});
    return out;
}

/// Joins what is complete when `total_chunks` lie before the current position and more input follows:
/// one subtree stays for each set bit.
void blake3::merge(std::uint64_t total_chunks) noexcept
{
    const auto keep = static_cast<std::size_t>(std::popcount(total_chunks));
    for (; depth_ > keep; --depth_) {
        std::byte* left = stack_[depth_ - 2u].bytes.data();
        kernel::parent_value({key_.data(), flags_}, left, 0, left);
    }
}

void blake3::push(const digest& cv, std::uint64_t first_chunk) noexcept
{
    merge(first_chunk);
    stack_[depth_++] = cv;
}

blake3& blake3::update(std::span<const std::byte> data) noexcept
{
    if (chunk_fill() > 0) {
        const std::size_t take = std::min(data.size(), chunk_size - chunk_fill());
        update_chunk(data.first(take));
        data = data.subspan(take);
        if (data.empty()) return *this;
        push(chunk_node().value(), chunk_);
        ++chunk_;
        cv_ = key_;
        blocks_done_ = 0;
        block_fill_ = 0;
    }
    kernel::many_function& code = kernel::active();
    const kernel::mode how{key_.data(), flags_};
    // Whole subtrees, each as large as its position allows. A single chunk is taken only when something
    // follows it; of a larger one both halves are kept, so that neither case can hide the root.
    while (data.size() > chunk_size) {
        std::uint64_t chunks = std::bit_floor(data.size() / chunk_size);
        if (chunk_ != 0) chunks = std::min(chunks, chunk_ & (~chunk_ + 1));
        const auto part = data.first(static_cast<std::size_t>(chunks) * chunk_size);
        if (chunks == 1) {
            digest cv;
            kernel::chunk_cv(how, part, chunk_, 0, cv.bytes.data());
            push(cv, chunk_);
        } else {
            digest pair[2];
            alignas(64) std::byte values[kernel::block_size];
            kernel::children(code, how, part, chunk_, values);
            std::memcpy(pair[0].bytes.data(), values, kernel::cv_size);
            std::memcpy(pair[1].bytes.data(), values + kernel::cv_size, kernel::cv_size);
            push(pair[0], chunk_);
            push(pair[1], chunk_ + chunks / 2);
        }
        chunk_ += chunks;
        data = data.subspan(part.size());
    }
    if (!data.empty()) {
        merge(chunk_);
        update_chunk(data);
    }
    return *this;
}

blake3::node blake3::root_node() const noexcept
{
    std::size_t depth = depth_;
    digest right;
    if (chunk_fill() > 0 || depth == 0) {
        node chunk = chunk_node();
        if (depth == 0) {
            chunk.flags |= kernel::root;
            return chunk;
        }
        right = chunk.value();
    } else {
        right = stack_[--depth];  // an empty chunk never lies above a single value
    }
    for (;;) {
        node out{key_, {}, kernel::block_size, 0, flags_ | kernel::parent};
        std::memcpy(out.block.data(), stack_[--depth].bytes.data(), kernel::cv_size);
        std::memcpy(out.block.data() + kernel::cv_size, right.bytes.data(), kernel::cv_size);
        if (depth == 0) {
            out.flags |= kernel::root;
            return out;
        }
        right = out.value();
    }
}

digest blake3::finalize() const noexcept
{
    return root_node().value();
}

void blake3::finalize(std::span<std::byte> out) const noexcept
{
    const node last = root_node();
    for (std::uint64_t i = 0; !out.empty(); ++i) {
        std::byte block[kernel::block_size];
        kernel::compress_extended(last.cv.data(), last.block.data(), last.length, i, last.flags,
                                  block);
        const std::size_t take = std::min(out.size(), sizeof block);
        std::memcpy(out.data(), block, take);
        out = out.subspan(take);
    }
}

// The choice of the implementation.

std::string_view to_string(instruction_set set) noexcept
{
    switch (set) {
    case instruction_set::portable: return "portable";
    case instruction_set::neon: return "neon";
    case instruction_set::sse41: return "sse41";
    case instruction_set::avx2: return "avx2";
    case instruction_set::avx512: return "avx512";
    }
    return "unknown";
}

bool is_supported(instruction_set set) noexcept
{
    return kernel::find(set) != nullptr;
}

instruction_set active_instruction_set() noexcept
{
    return kernel::chosen().load(std::memory_order_relaxed);
}

bool set_instruction_set(instruction_set set) noexcept
{
    kernel::many_function* code = kernel::find(set);
    if (!code) return false;
    kernel::active_slot().store(code, std::memory_order_relaxed);
    kernel::chosen().store(set, std::memory_order_relaxed);
    return true;
}

}  // namespace copse::hash
