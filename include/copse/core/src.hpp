// Bodies of core/: include in exactly one source file of a program (CMake's copse::core does).
#pragma once

#include <copse/core/impl/address.ipp>
#include <copse/core/impl/bytes.ipp>
#include <copse/core/impl/file.ipp>
#include <copse/core/impl/limits.ipp>
#include <copse/core/impl/rate_limit.ipp>
#include <copse/core/impl/run.ipp>
#include <copse/core/impl/scope.ipp>
#include <copse/core/impl/seams.ipp>
