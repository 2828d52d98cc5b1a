// Any program of reads over any bytes: no crash, no read past the end, and what was read and is
// written again reads the same.
#include <copse/codec/postcard.hpp>

#include <cstdlib>

using namespace copse;
using namespace copse::codec;

namespace {

void require(bool good)
{
    if (!good) std::abort();
}

template <class Read, class Write>
bool check(postcard_reader& from, Read read, Write write)
{
    const std::size_t start = from.offset();
    const auto value = read(from);
    if (!value) {
        require(from.offset() == start);
        return false;
    }
    std::vector<std::byte> bytes;
    postcard_writer to(bytes);
    write(to, value.value());
    require(bytes.size() <= from.offset() - start);  // padded integers become shorter
    postcard_reader again(bytes);
    const auto second = read(again);
    require(second && again.finish());
    if constexpr (requires { value.value() == second.value(); }) {
        require(value.value() == second.value());
    } else {
        require(as_text(value.value()) == as_text(second.value()));
    }
    return true;
}

bool step(unsigned operation, postcard_reader& r)
{
    const auto integer = [](auto& to, auto v) { to.unsigned_integer(v); };
    switch (operation % 10) {
    case 0:
        return check(
            r, [](auto& f) { return f.u8(); }, [](auto& to, auto v) { to.u8(v); });
    case 1:
        return check(
            r, [](auto& f) { return f.u16(); }, integer);
    case 2:
        return check(
            r, [](auto& f) { return f.u32(); }, integer);
    case 3:
        return check(
            r, [](auto& f) { return f.u64(); }, integer);
    case 4:
        return check(
            r, [](auto& f) { return f.i64(); }, [](auto& to, auto v) { to.signed_integer(v); });
    case 5:
        return check(
            r, [](auto& f) { return f.boolean(); }, [](auto& to, bool v) { to.boolean(v); });
    case 6:
        return check(
            r, [](auto& f) { return f.enum_index(7); }, [](auto& to, auto v) { to.enum_index(v); });
    case 7:
        return check(
            r, [](auto& f) { return f.bytes(20); }, [](auto& to, byte_view v) { to.bytes(v); });
    case 8:
        return check(
            r, [](auto& f) { return f.string(20); }, [](auto& to, auto v) { to.string(v); });
    default: {
        const auto count = r.count(1000, 3);
        if (count) require(count.value() <= 1000 && 3 * count.value() <= r.rest().size());
        return count.has_value();
    }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const byte_view input = std::as_bytes(std::span(data, size));
    // The first bytes say what to read, the rest is read.
    const byte_view program = input.first(std::min<std::size_t>(size, 16));
    postcard_reader reader(input.subspan(program.size()));
    for (const std::byte operation : program) {
        if (!step(std::to_integer<unsigned>(operation), reader)) break;
        require(reader.offset() <= size);
    }
    return 0;
}
