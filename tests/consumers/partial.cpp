// A program that uses two components and brings header-only Asio of its own.
#include <copse/core/asio.hpp>
#include <copse/core/run.hpp>
#include <copse/hash/blake3.hpp>

#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <cstdio>

namespace {

copse::awaitable<copse::result<void>> talk()
{
    const auto digest = copse::hash::blake3_hash({});
    const std::byte first = digest.bytes[0];
    if (first != std::byte{0xaf}) co_return make_error_code(std::errc::bad_message);
    co_return copse::outcome::success();
}

}  // namespace

int main()
{
    asio::io_context context;
    bool posted = false;
    asio::post(context, [&] { posted = true; });
    context.run();
    const auto done = copse::run_until_complete(talk());
    if (!done || !posted) return 1;
    std::puts("copse works");
}
