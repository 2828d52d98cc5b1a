#include "tests/error_messages.hpp"

#include <copse/codec/error.hpp>

TEST_CASE("codec errors: each has a message of its own", "[codec]")
{
    copse::test::check_messages(copse::codec::codec_errc::trailing_bytes, "copse.codec");
}
