// One node pushes a blob to another, which allows that to one peer only, and watches it arrive. Both are
// in this process; it ends with exit code 0 if all is well.
#include <copse/copse.hpp>

#include <iostream>

using namespace copse;

namespace {

// [allow]
// What a node answers, and from whom it takes pushes: without the hook every push is refused.
blob::provide_options rules(endpoint_id friend_of_ours)
{
    blob::provide_options options;
    options.max_pushed_blob = 64U << 20;
    options.hooks.authorise_push = [friend_of_ours](const blob::request_info& from,
                                                    const blob::push_request& push) {
        std::cout << "asked to take " << to_hex(push.content.hash) << std::endl;
        return from.peer == friend_of_ours ? blob::verdict::allow : blob::verdict::refuse;
    };
    return options;
}
// [allow]

// [limits]
// What all connections of a node may use together.
blob::provide_limits bounds()
{
    blob::provide_limits limits;
    limits.connections = 100;
    limits.requests = 1000;
    limits.observers = 100;
    limits.upload_bytes_per_s = 50U << 20;
    return limits;
}

awaitable<void> serve(quic::listener listener, blob::provide_environment& environment,
                      blob::provide_options options)
{
    const executor ex = co_await asio::this_coro::executor;
    scope peers(ex);
    for (;;) {
        auto next = co_await listener.accept();
        if (!next) break;  // the endpoint closes
        auto serving = [](std::shared_ptr<connection> peer, blob::provide_environment& env,
                          blob::provide_options how) -> awaitable<void> {
            const close_reason why = co_await blob::provide(std::move(peer), env, std::move(how));
            static_cast<void>(why);  // it has left
        };
        peers.spawn(serving(std::move(next).value(), environment, options));
    }
    peers.request_stop();
    const auto joined = co_await peers.join();
    static_cast<void>(joined);  // the children report nothing
}
// [limits]

// [push]
awaitable<result<void>> push(std::shared_ptr<connection> peer, hash::digest root,
                             blob::provide_environment& environment)
{
    blob::get_request what{root, blob::ranges_seq::root(bao::chunk_ranges::all())};
    blob::push_options options;
    options.confirm = true;  // the protocol has no acknowledgement: ask whether it is there
    COPSE_CO_TRY(const blob::push_report sent,
                 co_await blob::push(std::move(peer), what, environment, options));
    std::cout << "pushed " << sent.payload_bytes << " bytes, and they are there" << std::endl;
    co_return outcome::success();
}
// [push]

// [observe]
awaitable<result<void>> watch(std::shared_ptr<connection> peer, hash::digest root)
{
    COPSE_CO_TRY(blob::observer seen, co_await blob::observer::open(std::move(peer), root));
    for (;;) {
        COPSE_CO_TRY(const store::availability now, co_await seen.next());
        if (now.complete()) break;
        std::cout << (now.present.empty() ? "it has nothing of it" : "it has a part") << std::endl;
    }
    std::cout << "it has all of it" << std::endl;
    co_return outcome::success();
}
// [observe]

// [memory]
// What all endpoints, buffers and stores of the program may reserve together.
result<void> bound_memory()
{
    return process_memory().resize(256U << 20);
}

// Every limit: its name, how much of it is in use, was at most, and when something was refused last.
void show_limits()
{
    const std::vector<limit_row> table = limits();
    std::cout << to_text(table, wall_time());
}
// [memory]

awaitable<result<void>> meet(quic::endpoint& here, quic::endpoint& there)
{
    const executor ex = co_await asio::this_coro::executor;
    const auto pool = make_thread_pool(2);
    disk::leaf_pool buffers("send", 32 * blob::provide_buffer_bytes, blob::provide_buffer_bytes);
    blob::provide_share share(bounds());

    store::memory_store theirs(80U << 20);
    blob::provide_environment receiving{theirs, *pool, buffers, &share};
    scope serving(ex);
    serving.spawn(serve(there.listen(blob::alpn), receiving, rules(here.id())));

    store::memory_store ours(80U << 20);
    const std::vector<std::byte> data(16U << 20, std::byte{7});
    const auto root = ours.add(data);
    blob::provide_environment sending{ours, *pool, buffers, nullptr};
    auto peer = co_await here.connect(there.address(), std::string(blob::alpn));
    result<void> done = outcome::success();
    if (!root) done = root.error();
    else if (!peer) done = peer.error();
    else {
        scope work(ex);
        work.spawn(watch(peer.value(), root.value()));
        work.spawn(push(peer.value(), root.value(), sending));
        done = co_await work.join();
        show_limits();
    }
    co_await here.close();  // also on failure: `buffers` must outlive the connections
    co_await there.close();
    COPSE_CO_TRYV(co_await serving.join());
    co_return done;
}

awaitable<result<void>> run()
{
    const executor ex = co_await asio::this_coro::executor;
    COPSE_CO_TRYV(bound_memory());  // before the first pool is made
    quic::endpoint_options options;
    options.bind = {socket_address::loopback_v4(0)};
    COPSE_CO_TRY(quic::endpoint here, quic::endpoint::make(ex, options));
    options.identity = quic::secret_key::generate();
    auto there = quic::endpoint::make(ex, options);
    result<void> done = outcome::success();
    if (!there) done = there.error();
    else done = co_await meet(here, there.value());
    co_await here.close();  // a second time does nothing
    co_return done;
}

}  // namespace

int main()
{
    const auto done = run_until_complete(run());
    if (!done) std::cerr << "error: " << done.error().message() << '\n';
    return done ? 0 : 1;
}
