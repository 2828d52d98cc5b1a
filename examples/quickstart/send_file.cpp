// Offers one file until Ctrl-C: prints a ticket, then serves whoever has it.
#include <copse/copse.hpp>

#include <iostream>

using namespace copse;

// [send]
awaitable<void> serve(std::shared_ptr<connection> peer, blob::provide_environment& environment)
{
    blob::provide_options options;
    const close_reason why = co_await blob::provide(std::move(peer), environment, options);
    std::cerr << "a receiver left: " << why.error.message() << '\n';
}

awaitable<result<void>> send_file(std::string path, quic::endpoint_options options)
{
    const executor ex = co_await asio::this_coro::executor;
    const auto pool = make_thread_pool(2);  // reads and hashes
    store::import_options importing;
    COPSE_CO_TRY(store::imported_file file,
                 co_await store::import_file(real_file_system(), *pool, path, importing));
    const hash::digest root = file.root;
    store::reference_store store(real_file_system());  // the file stays where it is
    store.add(std::move(file));

    disk::leaf_pool buffers("send", 32 * blob::provide_buffer_bytes, blob::provide_buffer_bytes);
    blob::provide_environment environment{store, *pool, buffers};
    COPSE_CO_TRY(quic::endpoint endpoint, quic::endpoint::make(ex, options));
    quic::listener listener = endpoint.listen(blob::alpn);
    std::cout << to_string(blob::blob_ticket{endpoint.address(), blob::blob_format::raw, root})
              << std::endl;
    scope receivers(ex);
    for (;;) {
        auto next = co_await listener.accept();
        if (!next) break;  // Ctrl-C
        receivers.spawn(serve(std::move(next).value(), environment));
    }
    receivers.request_stop();
    const auto joined = co_await receivers.join();
    co_await endpoint.close();  // before the endpoint is destroyed
    co_return joined;
}
// [send]

int main(int argc, char** argv)
{
    if (argc < 2 || argc > 3) {
        std::cerr << "usage: quickstart-send_file FILE [ADDRESS:PORT]\n";
        return 2;
    }
    quic::endpoint_options options;  // by default all interfaces, a free port, a new identity
    if (argc == 3) {
        const auto address = socket_address::parse(argv[2]);
        if (!address) return 2;
        options.bind = {address.value()};
    }
    const auto done = run_until_complete(send_file(argv[1], options));
    if (!done) std::cerr << "error: " << done.error().message() << '\n';
    return done ? 0 : 1;
}
