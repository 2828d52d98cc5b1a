// What the pages of the other components show: each part works alone, without a connection.
#include <copse/copse.hpp>
#include <copse/core/race.hpp>

#include <iostream>

using namespace copse;

namespace {

// [disk]
std::size_t buffers_in_a_pool()
{
    disk::leaf_pool pool("example", 1U << 20, 256U << 10);  // 1 MiB in extents of 256 KiB
    std::vector<disk::leaf_pool::buffer> taken;
    while (auto buffer = pool.try_take(256U << 10)) taken.push_back(std::move(*buffer));
    return taken.size();  // 4: then the pool is used up until one of them dies
}
// [disk]

// [store]
result<std::uint64_t> keep_in_memory(byte_view data)
{
    store::memory_store blobs(16U << 20);  // at most 16 MiB in all
    COPSE_TRY(const hash::digest root, blobs.add(data));
    COPSE_TRY(const store::availability there, blobs.status(root));
    return there.complete() ? there.size : 0;
}
// [store]

// [core]
awaitable<result<int>> slow(std::chrono::milliseconds time, int value)
{
    const std::error_code stopped = co_await sleep_for(time);
    if (stopped) co_return stopped;
    co_return value;
}

awaitable<result<void>> race_and_budget(int& winner, std::size_t& left)
{
    using namespace std::chrono_literals;
    auto tortoise = slow(1h, 1);
    auto hare = slow(1ms, 2);
    COPSE_CO_TRY(winner, co_await race(std::move(tortoise), std::move(hare)));  // joins both

    budget memory("example", 100);
    const credit lent = memory.try_take(60);
    const credit refused = memory.try_take(60);
    if (refused) co_return make_error_code(std::errc::not_enough_memory);
    left = memory.available();  // 40; the 60 come back when `lent` dies
    co_return outcome::success();
}
// [core]

// [udp]
awaitable<result<void>> one_datagram(std::string& text)
{
    const executor ex = co_await asio::this_coro::executor;
    COPSE_CO_TRY(const auto from, udp::bind(ex, socket_address::loopback_v4(0)));
    COPSE_CO_TRY(const auto to, udp::bind(ex, socket_address::loopback_v4(0)));
    outgoing_datagrams out;
    out.bytes = as_bytes("hello");
    out.segment_size = out.bytes.size();
    out.to = to->local_address();
    COPSE_CO_TRYV(from->try_send(out));
    const std::error_code stopped = co_await to->wait_readable();
    if (stopped) co_return stopped;
    std::vector<std::byte> buffer(datagram_socket::max_receive_bytes);
    COPSE_CO_TRY(const received_datagrams in, to->try_receive(buffer));
    text = as_text(in.bytes);
    co_return outcome::success();
}
// [udp]

bool show(const char* what, bool good)
{
    std::cout << what << (good ? ": good\n" : ": WRONG\n");
    return good;
}

}  // namespace

int main()
{
    const std::vector<std::byte> data(100'000, std::byte{7});
    bool good = show("disk", buffers_in_a_pool() == 4);
    const auto size = keep_in_memory(data);
    good &= show("store", size && size.value() == data.size());
    int winner = 0;
    std::size_t left = 0;
    const auto raced = run_until_complete(race_and_budget(winner, left));
    good &= show("core", raced && winner == 2 && left == 40);
    std::string text;
    const auto sent = run_until_complete(one_datagram(text));
    good &= show("udp", sent && text == "hello");
    return good ? 0 : 1;
}
