// A program of somebody else that uses copse: it compiles, links and runs.
#include <copse/copse.hpp>

#include <cstdio>
#include <string>

namespace {

copse::awaitable<copse::result<void>> talk()
{
    // The hash of no bytes, as the BLAKE3 paper's test vectors give it.
    const auto digest = copse::hash::blake3_hash({});
    const std::byte first = digest.bytes[0];
    if (first != std::byte{0xaf}) co_return make_error_code(std::errc::bad_message);
    co_return copse::outcome::success();
}

}  // namespace

int main()
{
    const auto done = copse::run_until_complete(talk());
    if (!done) {
        std::fprintf(stderr, "%s\n", done.error().message().c_str());
        return 1;
    }
    std::puts("copse works");
}
