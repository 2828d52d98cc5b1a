#include "blobs.hpp"

#include "arguments.hpp"

#include <copse/bao/geometry.hpp>
#include <copse/bao/outboard.hpp>

#include <span>

namespace probe {

hash::digest add_blob(store::blob_store& store, byte_view bytes, const bao::chunk_ranges& ranges)
{
    const bao::outboard tree = bao::outboard::build(bytes);
    const std::uint64_t chunks = bao::chunk_count(bytes.size());
    const bao::chunk_ranges chosen = ranges.effective(chunks);
    if (bytes.empty()) return tree.root();  // every store has it
    const auto writer = must(store.open_partial(tree.root(), bytes.size()), "store");
    for (std::size_t i = 0; i < chosen.interval_count(); ++i) {
        const auto part = chosen.interval(i);
        const std::uint64_t first = bao::byte_offset(part.first);
        const std::uint64_t end = bao::byte_end(part.end, bytes.size());
        must(writer->write(bytes.subspan(static_cast<std::size_t>(first),
                                         static_cast<std::size_t>(end - first)),
                           first),
             "store");
    }
    const store::pair_run all{0, tree.pairs()};
    writer->commit(chosen, std::span(&all, 1));
    const bool whole = chosen.covers(0, chunks);
    must(whole ? writer->finish(false)() : writer->checkpoint()(), "store");
    return tree.root();
}

}  // namespace probe
