// Receives one file from several providers: each ticket in turn, for what is still missing.
#include <copse/copse.hpp>
#include <copse/core/race.hpp>

#include <iostream>

using namespace copse;
using namespace std::chrono_literals;

namespace {

// [one]
// Asks one provider for what is missing. \return whether everything is there now.
awaitable<result<bool>> ask(quic::endpoint& endpoint, blob::blob_ticket ticket,
                            blob::fetch_environment& environment)
{
    COPSE_CO_TRY(const auto missing, co_await blob::find_missing(ticket.hash, environment));
    if (missing.request.empty()) co_return true;
    std::cout << missing.present_bytes << " bytes are here" << std::endl;
    auto dial = endpoint.connect(ticket.address, std::string(blob::alpn));
    COPSE_CO_TRY(const auto peer, co_await with_timeout(std::move(dial), 5s));
    blob::get_request request{ticket.hash, missing.request};
    blob::fetch_options options;
    options.progress_timeout = 10s;
    blob::fetch_diagnostics where;
    const auto got = co_await blob::fetch(peer, request, environment, options, where);
    if (!got) {
        std::cout << where.to_string() << ": " << got.error().message() << std::endl;
        co_return got.error();
    }
    std::cout << got.value().payload_bytes << " bytes received and verified" << std::endl;
    co_return true;
}
// [one]

// [many]
awaitable<result<void>> ask_all(quic::endpoint& endpoint, std::vector<blob::blob_ticket> tickets,
                                blob::fetch_environment& environment)
{
    std::error_code last = make_error_code(std::errc::invalid_argument);  // no ticket at all
    for (const blob::blob_ticket& ticket : tickets) {
        if (ticket.hash != tickets.front().hash) co_return blob::blob_errc::bad_ticket;
        const auto done = co_await ask(endpoint, ticket, environment);
        if (done) co_return outcome::success();
        last = done.error();
        if (last == std::errc::operation_canceled) break;  // Ctrl-C
        // What came before the failure was verified and is kept: the next one is asked for the rest.
    }
    co_return last;
}
// [many]

awaitable<result<void>> receive(std::vector<blob::blob_ticket> tickets, std::string target)
{
    const executor ex = co_await asio::this_coro::executor;
    const auto pool = make_thread_pool(1);  // verifies and writes
    disk::leaf_pool buffers("receive", 8U << 20, 512U << 10);
    COPSE_CO_TRY(const auto store,
                 store::folder_store::open(real_file_system(), target + ".partial"));
    blob::fetch_environment environment{*store, *pool, buffers};
    COPSE_CO_TRY(quic::endpoint endpoint, quic::endpoint::make(ex, quic::endpoint_options{}));
    const auto done = co_await ask_all(endpoint, tickets, environment);
    co_await endpoint.close();  // on every path, before the endpoint is destroyed
    if (!done) co_return done.error();
    COPSE_CO_TRYV(store->take(tickets.front().hash, target, false));  // never overwrites
    COPSE_CO_TRYV(store->remove_if_empty());
    co_return outcome::success();
}

result<std::vector<blob::blob_ticket>> parse(int count, char** texts)
{
    std::vector<blob::blob_ticket> tickets;
    for (int i = 0; i < count; ++i) {
        COPSE_TRY(auto ticket, blob::parse_blob_ticket(texts[i]));
        tickets.push_back(std::move(ticket));
    }
    return tickets;
}

}  // namespace

int main(int argc, char** argv)
{
    if (argc < 3) {
        std::cerr << "usage: quickstart-receive_from_many FILE TICKET...\n";
        return 2;
    }
    const auto tickets = parse(argc - 2, argv + 2);
    if (!tickets) {
        std::cerr << "error: " << tickets.error().message() << '\n';
        return 2;
    }
    const auto done = run_until_complete(receive(tickets.value(), argv[1]));
    if (!done) std::cerr << "error: " << done.error().message() << '\n';
    return done ? 0 : 1;
}
