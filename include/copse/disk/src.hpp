// Bodies of disk/: include in exactly one source file of a program (CMake's copse::disk does).
#pragma once

#include <copse/disk/impl/leaf_pool.ipp>
