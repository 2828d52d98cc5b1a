// Blobs put into a store.
#pragma once

#include <copse/bao/chunk_ranges.hpp>
#include <copse/core/bytes.hpp>
#include <copse/hash/digest.hpp>
#include <copse/store/blob_store.hpp>

namespace probe {

using namespace copse;

/// Stores these chunks of a blob. \return its hash.
hash::digest add_blob(store::blob_store& store, byte_view bytes, const bao::chunk_ranges& ranges);

}  // namespace probe
