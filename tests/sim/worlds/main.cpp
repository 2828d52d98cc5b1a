// The program that tools/sim runs.
#include "tests/sim/worlds/worlds.hpp"

#include <copse/sim/interpose.ipp>

int main(int argc, char** argv)
{
    return copse::sim::campaign_main(argc, argv, copse::test::all_worlds());
}
