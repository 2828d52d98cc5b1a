// A program that uses some components only: a store in memory agrees with a hash tree built by hand.
#include <copse/bao/outboard.hpp>
#include <copse/core/run.hpp>
#include <copse/store/memory_store.hpp>

#include <cstdio>
#include <vector>

using namespace copse;

namespace {

awaitable<result<void>> keep_and_find()
{
    const std::vector<std::byte> data(300'000, std::byte{1});
    store::memory_store blobs(1U << 20);
    COPSE_CO_TRY(const hash::digest root, blobs.add(data));
    COPSE_CO_TRY(const store::availability there, blobs.status(root));
    const bao::outboard tree = bao::outboard::build(data);
    const bool same = tree.root() == root && there.complete() && there.size == data.size();
    if (!same) co_return make_error_code(std::errc::bad_message);
    co_return outcome::success();
}

}  // namespace

int main()
{
    const auto done = run_until_complete(keep_and_find());
    if (!done) return 1;
    std::puts("copse works");
}
