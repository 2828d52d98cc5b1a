#include "tests/error_messages.hpp"

#include <copse/core/error.hpp>

TEST_CASE("transport errors: each has a message of its own", "[core]")
{
    copse::test::check_messages(copse::transport_errc::refused, "copse.transport");
}
