// The bodies of every component, for programs built without CMake: include this in exactly one
// source file and link the C libraries that CopseComponents.cmake names. Asio's own bodies are not
// here: use it header-only, or define ASIO_SEPARATE_COMPILATION everywhere and compile
// <asio/impl/src.hpp> once. Written by tools/umbrella.
#pragma once

#include <copse/blob/src.hpp>
#include <copse/core/src.hpp>
#include <copse/disk/src.hpp>
#include <copse/hash/src.hpp>
#include <copse/quic/src.hpp>
#include <copse/sim/src.hpp>
#include <copse/store/src.hpp>
#include <copse/udp/src.hpp>
