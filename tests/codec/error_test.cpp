#include "catch.hpp"

#include <copse/codec/error.hpp>

#include <set>
#include <string>

using namespace copse::codec;

TEST_CASE("codec errors: each has a message of its own", "[codec]")
{
    std::set<std::string> messages;
    const int last = static_cast<int>(codec_errc::trailing_bytes);
    for (int i = 1; i <= last; ++i) messages.insert(codec_category().message(i));
    CHECK(messages.size() == static_cast<std::size_t>(last));
    CHECK(messages.count("unknown codec error") == 0);
    CHECK(codec_category().message(last + 1) == "unknown codec error");
    const std::error_code code = codec_errc::overflow;
    CHECK(std::string(code.category().name()) == "copse.codec");
}
