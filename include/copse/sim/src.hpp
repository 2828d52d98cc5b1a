// Bodies of sim/: include in exactly one source file of a program (CMake's copse::sim does).
#pragma once

#include <copse/sim/impl/campaign.ipp>
#include <copse/sim/impl/campaign_main.ipp>
#include <copse/sim/impl/campaign_state.ipp>
#include <copse/sim/impl/disk.ipp>
#include <copse/sim/impl/fault_driver.ipp>
#include <copse/sim/impl/faults.ipp>
#include <copse/sim/impl/memory_end.ipp>
#include <copse/sim/impl/memory_steps.ipp>
#include <copse/sim/impl/memory_transport.ipp>
#include <copse/sim/impl/network.ipp>
#include <copse/sim/impl/pool.ipp>
#include <copse/sim/impl/world.ipp>
