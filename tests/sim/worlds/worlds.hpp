// The worlds of tests/sim: one file each, which defines the function that is declared here.
#pragma once

#include <copse/sim/campaign.hpp>

#include <vector>

namespace copse::test {

sim::scenario transfer_world();
sim::scenario swarm_world();
sim::scenario liars_world();
sim::scenario moving_world();
sim::scenario push_observe_world();
sim::scenario collections_world();

/// All of them, in the order in which a campaign takes them in turn.
inline std::vector<sim::scenario> all_worlds()
{
    return {transfer_world(), swarm_world(),        liars_world(),
            moving_world(),   push_observe_world(), collections_world()};
}

}  // namespace copse::test
