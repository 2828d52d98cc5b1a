// decode_core against hostile bytes: whatever arrives in whatever pieces, only bytes and pairs of the
// blob named by the root come out, and an untouched encoding always does.
#include <copse/bao/decode_core.hpp>
#include <copse/bao/encode_core.hpp>
#include <copse/bao/outboard.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

using namespace copse;
using namespace copse::bao;

namespace {

void require(bool condition)
{
    if (!condition) std::abort();
}

class reader {
public:
    explicit reader(byte_view in) : in_(in) {}
    std::uint64_t number(std::size_t bytes)
    {
        std::uint64_t out = 0;
        for (std::size_t i = 0; i < bytes && !in_.empty(); ++i) {
            out = out << 8 | std::to_integer<std::uint64_t>(in_.front());
            in_ = in_.subspan(1);
        }
        return out;
    }
    [[nodiscard]] byte_view rest() const { return in_; }
    [[nodiscard]] bool empty() const { return in_.empty(); }

private:
    byte_view in_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t count)
{
    reader in{std::as_bytes(std::span(bytes, count))};
    const std::uint64_t mode = in.number(1);
    const auto size = static_cast<std::size_t>(in.number(3) % 400'000);
    const std::size_t extent = group_size << in.number(1) % 7;
    std::vector<std::uint64_t> boundaries(static_cast<std::size_t>(in.number(1) % 12));
    for (auto& b : boundaries) {
        const std::uint64_t kind = in.number(1);
        b = kind == 255 ? ~std::uint64_t{0} : kind * 2 % (chunk_count(size) + 3);
    }
    std::sort(boundaries.begin(), boundaries.end());
    boundaries.erase(std::unique(boundaries.begin(), boundaries.end()), boundaries.end());
    const chunk_ranges request = chunk_ranges::from_boundaries(std::move(boundaries)).value();

    std::vector<std::byte> data(size);
    for (std::size_t i = 0; i < size; ++i) data[i] = static_cast<std::byte>(i * i >> 7);
    const outboard full = outboard::build(data);
    const std::size_t step = 1 + static_cast<std::size_t>(in.number(2));

    bool untouched = mode % 4 == 0;
    std::vector<std::byte> wire;
    if (mode % 4 == 1) {
        wire.assign(in.rest().begin(), in.rest().end());
    } else {
        wire = encode_all(data, full.coarsened(extent / group_size), request).value();
        require(wire.size() == encoded_size(size, request));
        if (!untouched) {
            untouched = true;
            while (!in.empty()) {
                const auto at = static_cast<std::size_t>(in.number(3));
                const auto change = static_cast<std::byte>(in.number(1));
                if (mode % 4 == 3 && change == std::byte{0}) {
                    wire.resize(std::min(wire.size(), at));
                    untouched = false;
                } else if (at < wire.size() && change != std::byte{0}) {
                    wire[at] ^= change;
                    untouched = false;
                }
            }
        }
    }

    decode_core core{full.root(), request, {.extent_bytes = extent, .max_size = ~std::uint64_t{0}}};
    std::vector<std::byte> buffer;
    mismatch where;
    std::uint64_t selected = 0;
    const auto keep = [&](filled_extent&& filled) {
        const auto verified = verify(std::move(filled), where);
        if (!verified) return false;
        const verified_extent& got = verified.value();
        for (std::size_t i = 0; i < got.piece_count(); ++i) {
            const auto piece = got[i];
            require(piece.offset <= size && piece.bytes.size() <= size - piece.offset);
            require(std::equal(piece.bytes.begin(), piece.bytes.end(),
                               data.begin() + static_cast<std::ptrdiff_t>(piece.offset)));
            selected += piece.bytes.size();
        }
        for (std::size_t i = 0; i < got.pair_run_count(); ++i) {
            const auto run = got.pairs(i);
            const std::size_t at = static_cast<std::size_t>(run.index) * pair_size;
            // Under a wrong size the same true pair may be expected elsewhere.
            if (got.size() != size) continue;
            require(at <= full.pairs().size() && run.bytes.size() <= full.pairs().size() - at);
            require(std::equal(run.bytes.begin(), run.bytes.end(),
                               full.pairs().begin() + static_cast<std::ptrdiff_t>(at)));
        }
        if (got.proves_size()) require(got.size() == size);
        return true;
    };
    std::size_t at = 0;
    for (;;) {
        const auto used = core.push(byte_view(wire).subspan(at, std::min(step, wire.size() - at)));
        if (!used) break;
        at += used.value();
        if (auto filled = core.take_extent()) {
            if (!keep(std::move(*filled))) break;
        } else if (core.needs_buffer()) {
            require(core.buffer_bytes() <= extent);
            buffer.assign(core.buffer_bytes(), std::byte{0xcc});
            core.provide_buffer(buffer);
        } else if (core.finished() || at == wire.size()) {
            break;
        }
    }
    if (untouched) {
        require(core.finished() && at == wire.size());
        const std::uint64_t chunks = chunk_count(size);
        const chunk_ranges effective = request.effective(chunks);
        std::uint64_t want = 0;
        for (std::size_t i = 0; i < effective.interval_count(); ++i) {
            const auto part = effective.interval(i);
            want += byte_end(part.end, size) - byte_offset(part.first);
        }
        require(selected == want);
    } else if (!core.extent_ready()) {
        if (auto filled = core.take_interrupted())
            static_cast<void>(keep(std::move(*filled)));  // may fail
    }
    return 0;
}
