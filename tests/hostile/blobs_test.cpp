// Peers that misuse the blob protocol, as getters, pushers, observers and providers.
#include "tests/hostile/endless_collections.hpp"
#include "tests/hostile/liars.hpp"
#include "tests/hostile/pushes.hpp"
#include "tests/hostile/requests.hpp"

#include "tests/catch.hpp"

using namespace copse;
using namespace copse::hostile;

TEST_CASE("hostile blobs: requests that make no sense", "[hostile]")
{
    const auto f = check("malformed requests", malformed_requests);
    CHECK(f.provider.malformed > 100);
    check("useless requests", useless_requests);
}

TEST_CASE("hostile blobs: requests that ask for too much", "[hostile]")
{
    // What the provider has read and not sent yet, all of its buffers.
    bounds buffers;
    buffers.heap = buffers.left = 12U << 20;
    check("requests for everything", requests_for_everything, buffers);
    // The dearest: each of 4096 blobs is opened, and 16 KiB of it are hashed, to send a KiB.
    bounds dear = buffers;
    dear.heap = 20U << 20;
    dear.cpu = 60;
    check("requests for all sizes", requests_for_all_sizes, dear);
    check("largest GetMany", largest_get_many, buffers);
    check("requests with gaps", requests_with_gaps, buffers);
    check("a million ranges", a_million_ranges, buffers);
    check("silent observers", silent_observers);
}

TEST_CASE("hostile blobs: pushes that lie or never end", "[hostile]")
{
    stage_options open;
    open.provide.hooks.authorise_push = [](const blob::request_info&, const blob::push_request&) {
        return blob::verdict::allow;
    };
    bounds buffers;
    buffers.heap = buffers.left = 12U << 20;
    check("lying pushes", lying_pushes, buffers, open);
}

TEST_CASE("hostile blobs: a provider that lies to its getters", "[hostile]")
{
    stage_options getter;
    getter.victims_errand = fall_for_liars;
    bounds buffers;
    buffers.heap = buffers.left = 12U << 20;
    check("liars", liar, buffers, getter);

    // The list and the names of a collection are held in memory.
    bounds lists;
    lists.heap = 24U << 20;
    lists.left = 12U << 20;  // of which the store keeps what was true
    getter.victims_errand = fetch_endless_collections;
    static_cast<void>(hostile::detail::endless_lists::get());
    check("endless collections", endless_collections, lists, getter);
}
