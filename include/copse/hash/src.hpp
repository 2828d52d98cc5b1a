// The bodies of copse::hash: include in exactly one source file of a program.
#pragma once

#include "copse/hash/impl/blake3.ipp"
