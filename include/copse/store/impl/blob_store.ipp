#pragma once

#include <copse/bao/geometry.hpp>
#include <copse/store/blob_store.hpp>

namespace copse::store {

bool availability::complete() const noexcept
{
    return size_proven && present.covers(0, bao::chunk_count(size));
}

result<std::array<std::byte, 64>> blob_reader::pair(bao::subtree node)
{
    std::array<std::byte, 64> out;
    const std::uint64_t chunks = bao::chunk_count(size());
    COPSE_TRYV(read_pairs(bao::pre_order_index(chunks, node, pair_granularity()), out));
    return out;
}

std::shared_ptr<void> blob_store::watch(const hash::digest&, std::function<void()>)
{
    return nullptr;
}

}  // namespace copse::store
