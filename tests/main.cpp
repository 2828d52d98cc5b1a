// Compiled once and linked into every test executable: version 2 of Catch2 takes seconds to compile.
#define CATCH_CONFIG_RUNNER
#include "catch.hpp"

int main(int argc, char** argv)
{
    return Catch::Session().run(argc, argv);
}
