#include "importer.hpp"

#include <copse/core/cancellation.hpp>
#include <copse/store/error.hpp>
#include <copse/store/import.hpp>

#include <utility>

namespace app {

namespace {

// Files from this size on are hashed one after another, each by all threads.
constexpr std::uint64_t large_file_bytes = 16U << 20;

}  // namespace

importer::importer(executor ex, offload_pool& pool, const source_list& list,
                   store::reference_store& into, progress& shown)
    : pool_(pool),
      list_(list),
      into_(into),
      shown_(shown),
      children_(std::move(ex)),
      hashes_(list.files.size()),
      failed_(list.files.size())
{}

awaitable<step<std::vector<hash::digest>>> importer::run()
{
    shown_.begin("hash", list_.total_bytes);
    std::vector<std::size_t> small;
    for (std::size_t i = 0; i < list_.files.size(); ++i) {
        if (list_.files[i].size < large_file_bytes) {
            small.push_back(i);
            continue;
        }
        const auto imported = co_await import_one(i, pool_.concurrency());
        if (!imported) co_return explain(imported.error());
    }
    for (const std::size_t i : small) {
        const std::error_code stop = co_await children_.wait_below(2 * pool_.concurrency());
        if (stop || children_.stopping()) break;
        children_.spawn(import_one(i, 1));
    }
    const auto joined = co_await children_.join();
    if (!joined) co_return explain(joined.error());
    const bool stop = co_await cancellation_requested();
    if (stop) co_return explain(make_error_code(std::errc::operation_canceled));
    shown_.end();
    co_return std::move(hashes_);
}

awaitable<result<void>> importer::import_one(std::size_t index, unsigned workers)
{
    const source_file& file = list_.files[index];
    std::uint64_t counted = 0;
    store::import_options options;
    options.workers = workers;
    options.progress = [this, &counted](std::uint64_t done) {
        shown_.add(done - std::exchange(counted, done));
    };
    auto imported =
        co_await store::import_file(real_file_system(), pool_, file.path, std::move(options));
    if (!imported) {
        // The first failure is the one that people should see.
        if (failed_ == list_.files.size()) failed_ = index;
        co_return imported.error();
    }
    hashes_[index] = imported.value().root;
    into_.add(std::move(imported).assume_value());
    co_return outcome::success();
}

failure importer::explain(const std::error_code& error) const
{
    if (error == std::errc::operation_canceled) {
        return fail(exit_code::interrupted, "interrupted while hashing");
    }
    std::string what = "hash";
    if (failed_ < list_.files.size()) what = shown_path(list_.files[failed_].path);
    failure out = fail(error, what);
    if (error == store::store_errc::file_changed) {
        out.text += "; send it again when nothing writes to it";
    }
    return out;
}

}  // namespace app
