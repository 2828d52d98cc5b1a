// What ngtcp2 allocates for one connection, counted and bounded. Internal to quic/.
#pragma once

#include <ngtcp2/ngtcp2.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace copse::quic::detail {

/// A peer can make ngtcp2 keep much more than it sends: a hundred bytes for each gap between single bytes of
/// a stream, of which flow control counts two. Beyond what the connection is allowed nothing is given,
/// which ends the connection.
class transport_memory {
public:
    /// Asked above `free_bytes`: how much the connection may use now.
    using allowance = std::size_t (*)(void* connection) noexcept;

    /// \param connection handed to `allowed`; both must outlive what is allocated.
    transport_memory(void* connection, allowance allowed) noexcept
        : functions_{this, allocate, release, allocate_zeros, resize},
          connection_(connection),
          allowed_(allowed)
    {}
    transport_memory(const transport_memory&) = delete;
    transport_memory& operator=(const transport_memory&) = delete;

    [[nodiscard]] const ngtcp2_mem* functions() const noexcept { return &functions_; }
    [[nodiscard]] std::size_t used() const noexcept { return used_; }

    /// What every connection may use: the most that handshakes need, with room to spare.
    static constexpr std::size_t free_bytes = 512U << 10;

private:
    // In front of each block: its size, header included. ngtcp2 says it no more when it gives it back.
    static constexpr std::size_t header = alignof(std::max_align_t);

    bool take(std::size_t bytes) noexcept
    {
        if (used_ + bytes > free_bytes && used_ + bytes > allowed_(connection_)) return false;
        used_ += bytes;
        return true;
    }
    static std::size_t& size_of(void* block) noexcept { return *static_cast<std::size_t*>(block); }
    static void* body(void* block) noexcept { return static_cast<std::byte*>(block) + header; }
    static void* block_of(void* body) noexcept { return static_cast<std::byte*>(body) - header; }

    // NOLINTBEGIN(cppcoreguidelines-no-malloc): C code resizes what these give it
    static void* allocate(std::size_t size, void* self) noexcept
    {
        return fresh(*static_cast<transport_memory*>(self), size, std::malloc);
    }
    static void* allocate_zeros(std::size_t count, std::size_t size, void* self) noexcept
    {
        if (size != 0 && count > (SIZE_MAX - header) / size) return nullptr;
        const auto zeros = [](std::size_t n) { return std::calloc(1, n); };
        return fresh(*static_cast<transport_memory*>(self), count * size, zeros);
    }
    template <class Allocate>
    static void* fresh(transport_memory& m, std::size_t size, Allocate from) noexcept
    {
        if (size > SIZE_MAX - header || !m.take(size + header)) return nullptr;
        void* const block = from(size + header);
        if (!block) {
            m.used_ -= size + header;
            return nullptr;
        }
        size_of(block) = size + header;
        return body(block);
    }
    static void* resize(void* old, std::size_t size, void* self) noexcept
    {
        if (!old) return allocate(size, self);
        auto& m = *static_cast<transport_memory*>(self);
        const std::size_t had = size_of(block_of(old));
        if (size > SIZE_MAX - header) return nullptr;
        if (size + header > had && !m.take(size + header - had)) return nullptr;
        void* const block = std::realloc(block_of(old), size + header);
        if (!block) {
            if (size + header > had) m.used_ -= size + header - had;
            return nullptr;
        }
        if (size + header < had) m.used_ -= had - size - header;
        size_of(block) = size + header;
        return body(block);
    }
    static void release(void* old, void* self) noexcept
    {
        if (!old) return;
        static_cast<transport_memory*>(self)->used_ -= size_of(block_of(old));
        std::free(block_of(old));
    }
    // NOLINTEND(cppcoreguidelines-no-malloc)

    ngtcp2_mem functions_;
    void* connection_;
    allowance allowed_;
    std::size_t used_ = 0;
};

}  // namespace copse::quic::detail
