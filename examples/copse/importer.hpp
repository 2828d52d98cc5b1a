// Hashing what is sent, where it is.
#pragma once

#include "failure.hpp"
#include "progress.hpp"
#include "sources.hpp"

#include <copse/core/asio.hpp>
#include <copse/core/offload.hpp>
#include <copse/core/scope.hpp>
#include <copse/hash/digest.hpp>
#include <copse/store/reference_store.hpp>

#include <cstddef>
#include <vector>

namespace app {

/// Imports the files of a list into a store. All it is given must outlive it.
class importer {
public:
    importer(executor ex, offload_pool& pool, const source_list& list, store::reference_store& into,
             progress& shown);

    /// The hashes, in the order of the list. \par Cancellation total.
    awaitable<step<std::vector<hash::digest>>> run();

private:
    awaitable<result<void>> import_one(std::size_t index, unsigned workers);
    [[nodiscard]] failure explain(const std::error_code& error) const;

    offload_pool& pool_;
    const source_list& list_;
    store::reference_store& into_;
    progress& shown_;
    scope children_;
    std::vector<hash::digest> hashes_;
    std::size_t failed_;  // the size of the list: none
};

}  // namespace app
