// Fetches the file that a ticket names, verified as it arrives; run it again after a crash and it
// goes on where it was.
#include <copse/copse.hpp>

#include <iostream>

using namespace copse;

// [receive]
awaitable<result<void>> fetch(quic::endpoint& endpoint, blob::blob_ticket ticket,
                              std::string target)
{
    const auto pool = make_thread_pool(1);  // verifies and writes
    disk::leaf_pool buffers("receive", 8U << 20, 512U << 10);
    COPSE_CO_TRY(const auto store,
                 store::folder_store::open(real_file_system(), target + ".partial"));
    blob::fetch_environment environment{*store, *pool, buffers};
    COPSE_CO_TRY(const blob::missing_parts missing,
                 co_await blob::find_missing(ticket.hash, environment));
    if (!missing.request.empty()) {
        COPSE_CO_TRY(const auto peer,
                     co_await endpoint.connect(ticket.address, std::string(blob::alpn)));
        blob::get_request request{ticket.hash, missing.request};
        blob::fetch_options options;
        blob::fetch_diagnostics where;
        const auto got = co_await blob::fetch(peer, request, environment, options, where);
        if (!got) std::cerr << where.to_string() << '\n';
        if (!got) co_return got.error();
        std::cout << got.value().payload_bytes << " bytes received and verified\n";
    }
    COPSE_CO_TRYV(store->take(ticket.hash, target, false));  // a rename; never overwrites
    COPSE_CO_TRYV(store->remove_if_empty());
    co_return outcome::success();
}

awaitable<result<void>> receive_file(std::string text, std::string target)
{
    const executor ex = co_await asio::this_coro::executor;
    COPSE_CO_TRY(const blob::blob_ticket ticket, blob::parse_blob_ticket(text));
    COPSE_CO_TRY(quic::endpoint endpoint, quic::endpoint::make(ex, quic::endpoint_options{}));
    const auto fetched = co_await fetch(endpoint, ticket, target);
    co_await endpoint.close();  // on every path, before the endpoint is destroyed
    co_return fetched;
}
// [receive]

int main(int argc, char** argv)
{
    if (argc != 3) {
        std::cerr << "usage: quickstart-receive_file TICKET FILE\n";
        return 2;
    }
    const auto done = run_until_complete(receive_file(argv[1], argv[2]));
    if (!done) std::cerr << "error: " << done.error().message() << '\n';
    return done ? 0 : 1;
}
