// Bodies of store/: include in exactly one source file of a program (CMake's copse::store does).
#pragma once

#include <copse/store/impl/blob_store.ipp>
#include <copse/store/impl/folder_store.ipp>
#include <copse/store/impl/import.ipp>
#include <copse/store/impl/memory_store.ipp>
#include <copse/store/impl/reference_store.ipp>
