// Bodies of udp/: include in exactly one source file of a program (CMake's copse::udp does).
#pragma once

#include <copse/udp/impl/socket.ipp>
