// Who watches a blob, and reads that do not begin where pages do.
#include <copse/store/detail/watch_list.hpp>
#include <copse/store/memory_store.hpp>

#include "store/fixture.hpp"

#include <algorithm>
#include <vector>

using namespace copse;
using namespace copse::store;
using namespace copse::test;

TEST_CASE("watch: who begins to watch while others are told hears of the next change", "[store]")
{
    copse::store::detail::watch_list list;
    const auto root = random_blob(10).root;
    std::vector<std::shared_ptr<void>> watching;
    int early = 0;
    int late = 0;
    watching.push_back(list.add(root, [&] {
        if (++early == 1) watching.push_back(list.add(root, [&] { ++late; }));
    }));
    list.notify(root);
    CHECK(early == 1);
    CHECK(late == 0);
    list.notify(root);
    CHECK(early == 2);
    CHECK(late == 1);
}

TEST_CASE("watch: hundreds who have gone are not told, those who are left are", "[store]")
{
    memory_store store(8 << 20);
    const auto blob = random_blob(100'000);
    int told = 0;
    const auto kept = store.watch(blob.root, [&] { ++told; });
    for (std::uint64_t i = 0; i < 300; ++i) {
        const auto gone = store.watch(random_blob(10, i).root, [&] { told += 1000; });
    }
    auto writer = store.open_partial(blob.root, blob.data.size()).value();
    REQUIRE(deliver_all(*writer, blob));
    REQUIRE(writer->finish(false)());
    CHECK(told == 1);
}

TEST_CASE("memory_store: reads and writes may cross pages anywhere", "[store]")
{
    memory_store store(8 << 20);
    const auto blob = random_blob(1'000'000);
    auto writer = store.open_partial(blob.root, blob.data.size()).value();
    for (std::uint64_t at = 0; at < blob.chunks(); at += 112) {
        REQUIRE(deliver(*writer, blob, at, at + 112));
    }
    REQUIRE(writer->finish(false)());
    CHECK(store.used() < 1'010'000);  // its bytes and 61 pairs: the last page is cut
    const auto reader = store.open(blob.root).value();
    std::vector<std::byte> out(300'000);
    for (const std::uint64_t from : {0U, 1U, 200'000U, 262'143U, 262'145U, 700'000U}) {
        REQUIRE(read(*reader, out, from));
        CHECK(std::equal(out.begin(), out.end(), blob.data.begin() + static_cast<long>(from)));
    }
    CHECK(read(*reader, out, 700'001).error() == store_errc::missing);
}
