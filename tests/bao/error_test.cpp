#include "tests/error_messages.hpp"

#include <copse/bao/error.hpp>

TEST_CASE("bao errors: each has a message of its own", "[bao]")
{
    copse::test::check_messages(copse::bao::bao_errc::invalid_outboard, "copse.bao");
}
