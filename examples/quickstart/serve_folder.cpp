// Serves a folder to everyone who has its ticket, until Ctrl-C. `copse recv` and sendme receive it.
#include <copse/copse.hpp>

#include <algorithm>
#include <filesystem>
#include <iostream>

using namespace copse;
namespace fs = std::filesystem;

namespace {

// [list]
struct named_file {
    std::string name;  // what receivers see: `holiday/a.jpg`, with slashes
    std::string path;
    bool operator<(const named_file& other) const { return name < other.name; }
};

std::vector<named_file> list_files(const fs::path& folder)
{
    const fs::path above = fs::weakly_canonical(folder).parent_path();
    std::vector<named_file> files;
    for (const auto& entry : fs::recursive_directory_iterator(fs::weakly_canonical(folder))) {
        if (entry.is_symlink() || !entry.is_regular_file()) continue;
        const fs::path& path = entry.path();
        files.push_back({path.lexically_relative(above).generic_string(), path.string()});
    }
    std::sort(files.begin(), files.end());
    return files;
}
// [list]

// [import]
// Hashes the files where they are, and makes a collection of them: a blob of their names, and one
// that lists all hashes, whose own hash goes into the ticket.
awaitable<result<hash::digest>> import(std::vector<named_file> files, store::reference_store& into,
                                       offload_pool& pool)
{
    std::vector<std::string> names;
    std::vector<hash::digest> hashes(1);  // [0] is that of the names
    store::import_options options;
    options.workers = 2;
    for (const named_file& file : files) {
        COPSE_CO_TRY(store::imported_file one,
                     co_await store::import_file(real_file_system(), pool, file.path, options));
        names.push_back(file.name);
        hashes.push_back(one.root);
        into.add(std::move(one));
    }
    COPSE_CO_TRYV(blob::check_names(names));  // receivers would refuse them
    COPSE_CO_TRY(const auto meta, blob::encode_collection_meta(names));
    hashes[0] = into.add_bytes(shared_bytes::copy(meta));
    const auto sequence = blob::encode_hash_sequence(hashes);
    co_return into.add_bytes(shared_bytes::copy(sequence));
}
// [import]

// [serve]
constexpr std::size_t most_receivers = 64;

awaitable<void> serve_one(std::shared_ptr<connection> peer, blob::provide_environment& environment)
{
    blob::provide_options options;
    options.finished = [](const blob::provide_report& request) {
        if (request.error) std::cerr << "a request failed: " << request.error.message() << '\n';
        else std::cerr << request.payload_bytes << " bytes sent\n";
    };
    const close_reason why = co_await blob::provide(std::move(peer), environment, options);
    std::cerr << "a receiver left: " << why.error.message() << '\n';
}

awaitable<result<void>> serve_folder(std::vector<named_file> files, quic::endpoint_options options)
{
    const executor ex = co_await asio::this_coro::executor;
    const auto pool = make_thread_pool(2);  // reads and hashes
    store::reference_store store(real_file_system());
    COPSE_CO_TRY(const hash::digest root, co_await import(std::move(files), store, *pool));

    // All receivers share these buffers: a slow one keeps at most its own part of them.
    disk::leaf_pool buffers("serve", 64 * blob::provide_buffer_bytes, blob::provide_buffer_bytes);
    blob::provide_environment environment{store, *pool, buffers};
    COPSE_CO_TRY(quic::endpoint endpoint, quic::endpoint::make(ex, options));
    quic::listener listener = endpoint.listen(blob::alpn);
    const blob::blob_ticket ticket{endpoint.address(), blob::blob_format::hash_seq, root};
    std::cout << to_string(ticket) << std::endl;

    scope receivers(ex);
    for (;;) {
        const std::error_code stopped = co_await receivers.wait_below(most_receivers);
        if (stopped) break;  // Ctrl-C
        auto next = co_await listener.accept();
        if (!next) break;  // the same
        receivers.spawn(serve_one(std::move(next).value(), environment));
    }
    receivers.request_stop();
    const auto joined = co_await receivers.join();
    co_await endpoint.close();  // before the endpoint is destroyed
    co_return joined;
}
// [serve]

}  // namespace

int main(int argc, char** argv)
{
    if (argc < 2 || argc > 3 || !fs::is_directory(argv[1])) {
        std::cerr << "usage: quickstart-serve_folder FOLDER [ADDRESS:PORT]\n";
        return 2;
    }
    quic::endpoint_options options;  // by default all interfaces, a free port, a new identity
    if (argc == 3) {
        const auto address = socket_address::parse(argv[2]);
        if (!address) return 2;
        options.bind = {address.value()};
    }
    const auto done = run_until_complete(serve_folder(list_files(argv[1]), options));
    if (!done) std::cerr << "error: " << done.error().message() << '\n';
    return done ? 0 : 1;
}
