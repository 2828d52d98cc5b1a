#include <copse/store/detail/pages.hpp>
#include <copse/store/detail/watch_list.hpp>

#include "catch.hpp"
#include "support.hpp"

#include <algorithm>
#include <memory>
#include <vector>

using namespace copse;
using namespace copse::store;
using namespace copse::test;

TEST_CASE("paged_bytes: what was never written reads as zeros and takes no memory", "[store]")
{
    const auto limit = std::make_shared<memory_budget>("test: pages", std::size_t{300});
    {
        store::detail::paged_bytes bytes(1050, 100, limit);
        CHECK(bytes.size() == 1050);
        const auto data = pattern(150);
        REQUIRE(bytes.write(data, 230));  // pages 2 and 3
        CHECK(limit->used() == 200);
        std::vector<std::byte> out(1050, std::byte{0xee});
        REQUIRE(bytes.read(out, 0));
        const auto zero = [](std::byte b) { return b == std::byte{0}; };
        CHECK(std::all_of(out.begin(), out.begin() + 230, zero));
        CHECK(std::equal(data.begin(), data.end(), out.begin() + 230));
        CHECK(std::all_of(out.begin() + 380, out.end(), zero));
        CHECK(limit->used() == 200);

        REQUIRE(bytes.write(byte_view(data).first(50), 1000));  // the last page is short
        CHECK(limit->used() == 250);
        CHECK(bytes.write(byte_view(data).first(1), 0).error() == store_errc::full);
        CHECK(limit->used() == 250);
        CHECK(bytes.write(byte_view(data).first(1), 231));  // a page that is there is free

        CHECK(bytes.write(byte_view(data).first(2), 1049).error() == std::errc::invalid_argument);
        CHECK(bytes.write({}, 1050));
        CHECK(bytes.write({}, 1051).error() == std::errc::invalid_argument);
        CHECK(bytes.read(byte_span(out).first(2), 1049).error() == store_errc::missing);
        CHECK(bytes.read({}, ~std::uint64_t{0}).error() == store_errc::missing);
    }
    CHECK(limit->used() == 0);
}

TEST_CASE("watch_list: those who let go are forgotten, also among many", "[store]")
{
    store::detail::watch_list list;
    const auto root = [](std::uint8_t n) {
        hash::digest out;
        out.bytes[0] = std::byte{n};
        return out;
    };
    list.notify(root(0));  // nobody is there
    int heard = 0;
    const auto kept = list.add(root(7), [&heard] { ++heard; });
    for (int round = 0; round < 3; ++round) {
        std::vector<std::shared_ptr<void>> handles;
        for (std::uint8_t n = 0; n < 200; ++n) {
            handles.push_back(list.add(root(n), [&heard] { ++heard; }));
        }
        heard = 0;
        for (std::uint8_t n = 0; n < 200; ++n) list.notify(root(n));
        CHECK(heard == 201);
        handles.clear();
        heard = 0;
        for (std::uint8_t n = 0; n < 200; ++n) list.notify(root(n));
        CHECK(heard == 1);
    }
}
