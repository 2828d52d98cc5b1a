#include "tests/error_messages.hpp"

#include <copse/store/error.hpp>

TEST_CASE("store errors: each has a message of its own", "[store]")
{
    copse::test::check_messages(copse::store::store_errc::read_only, "copse.store");
}
