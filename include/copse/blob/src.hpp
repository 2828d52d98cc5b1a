// Bodies of blob/: include in exactly one source file of a program (CMake's copse::blob does).
#pragma once

#include <copse/blob/impl/collection.ipp>
#include <copse/blob/impl/download.ipp>
#include <copse/blob/impl/fetch.ipp>
#include <copse/blob/impl/observe.ipp>
#include <copse/blob/impl/provide.ipp>
#include <copse/blob/impl/push.ipp>
#include <copse/blob/impl/ticket.ipp>
#include <copse/blob/impl/wire.ipp>
