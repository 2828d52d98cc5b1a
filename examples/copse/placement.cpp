#include "placement.hpp"
#include "console.hpp"

#include <copse/core/cancellation.hpp>
#include <copse/core/event.hpp>
#include <copse/store/import.hpp>

#include <algorithm>
#include <utility>

namespace app {

namespace {

constexpr std::size_t files_a_job = 64;
constexpr std::size_t names_shown = 3;

bool is_absent(const std::error_code& error) noexcept
{
    return error == std::errc::no_such_file_or_directory;
}

step<void> sync_file(file_system& fs, const std::string& path)
{
    open_options options;
    options.write = true;
    options.follow_links = false;
    const auto opened = fs.open(path, options);
    if (!opened) return fail(opened.error(), shown_path(path));
    const auto synced = opened.assume_value()->sync();
    if (!synced) return fail(synced.error(), shown_path(path));
    return outcome::success();
}

}  // namespace

// Every folder between the destination and the file must be a folder, not a link to one.
step<void> destination::check_folders(std::string_view name, bool make)
{
    std::size_t slash = name.find('/');
    for (; slash != name.npos; slash = name.find('/', slash + 1)) {
        const std::string_view part = name.substr(0, slash);
        if (known_folders_.contains(part)) continue;
        const std::string path = path_of(part);
        if (make) {
            const auto made = fs_.make_directory(path);
            if (!made && made.error() != std::errc::file_exists) {
                return fail(made.error(), "folder " + shown_path(path));
            }
        }
        const auto about = fs_.status(path);
        if (!about && !make && is_absent(about.error())) return outcome::success();
        if (!about) return fail(about.error(), "folder " + shown_path(path));
        if (about.assume_value().kind != file_kind::directory) {
            return fail(exit_code::files,
                        shown_path(path) + " is in the way: a folder of that name is needed, and "
                                           "links are not followed; remove it, or choose another "
                                           "folder by -o");
        }
        known_folders_.emplace(part);
    }
    return outcome::success();
}

step<destination::state> destination::look(const target_file& file)
{
    COPSE_TRYV(check_folders(file.name, false));
    const std::string path = path_of(file.name);
    const auto about = fs_.status(path);
    if (!about && is_absent(about.error())) return state::free;
    if (!about) return fail(about.error(), shown_path(path));
    switch (about.assume_value().kind) {
    case file_kind::regular:
        return about.assume_value().size == file.size ? state::same_size : state::in_the_way;
    case file_kind::symbolic_link: return state::in_the_way;  // the link itself would be replaced
    case file_kind::directory:
    case file_kind::other: break;
    }
    return fail(exit_code::files, shown_path(path) + " exists and is not a file; remove it, or "
                                                     "choose another folder by -o");
}

awaitable<step<void>> destination::survey(std::vector<target_file>& files, offload_pool& pool,
                                          std::function<void(std::uint64_t)> hashed)
{
    std::vector<std::size_t> same_size;
    std::vector<std::size_t> in_the_way;
    auto look_job = [this, &files, &same_size, &in_the_way]() -> step<void> {
        for (std::size_t i = 0; i < files.size(); ++i) {
            COPSE_TRY(const state found, look(files[i]));
            if (found == state::same_size) same_size.push_back(i);
            else if (found == state::in_the_way) in_the_way.push_back(i);
        }
        return outcome::success();
    };
    auto looked = co_await offload(pool, look_job);
    if (!looked) co_return looked;
    for (const std::size_t i : same_size) {
        std::uint64_t counted = 0;
        store::import_options options;
        options.workers = pool.concurrency();
        options.keep_index = false;
        options.progress = [&hashed, &counted](std::uint64_t done) {
            if (hashed) hashed(done - std::exchange(counted, done));
        };
        const std::string path = path_of(files[i].name);
        const auto read = co_await store::import_file(fs_, pool, path, std::move(options));
        if (!read && read.error() == std::errc::operation_canceled) {
            co_return fail(exit_code::interrupted, "interrupted while comparing existing files");
        }
        if (!read) co_return fail(read.error(), shown_path(path));
        files[i].in_place = read.value().root == files[i].hash;
        if (!files[i].in_place) in_the_way.push_back(i);
    }
    if (in_the_way.empty() || force_) co_return outcome::success();
    std::ranges::sort(in_the_way);
    std::string text;
    for (std::size_t n = 0; n < std::min(in_the_way.size(), names_shown); ++n) {
        text += (n ? ", " : "") + shown_path(path_of(files[in_the_way[n]].name));
    }
    if (in_the_way.size() > names_shown) {
        text += " and " + std::to_string(in_the_way.size() - names_shown) + " more";
    }
    co_return fail(exit_code::files, text + " would be replaced: use --force to do so, or choose "
                                            "another folder by -o");
}

step<void> destination::place_one(const target_file& file, store::folder_store& from)
{
    COPSE_TRYV(check_folders(file.name, true));
    const std::string path = path_of(file.name);
    std::size_t& left = places_left_[file.hash];
    // The last name takes the blob itself; the ones before get copies.
    const auto moved =
        left > 1 ? from.copy(file.hash, path, force_) : from.take(file.hash, path, force_);
    if (!moved && moved.error() == std::errc::file_exists) {
        return fail(exit_code::files, shown_path(path) + " appeared in the meantime: move it away, "
                                                         "or use --force, and run the same command "
                                                         "again");
    }
    if (!moved) return fail(moved.error(), shown_path(path));
    if (durable_ && left > 1) COPSE_TRYV(sync_file(fs_, path));  // a taken blob was synced before
    --left;
    return outcome::success();
}

step<void> destination::place_range(std::vector<target_file>& files, std::size_t first,
                                    std::size_t end, store::folder_store& from)
{
    for (std::size_t i = first; i < end; ++i) {
        if (files[i].in_place) continue;
        COPSE_TRYV(place_one(files[i], from));
        files[i].in_place = true;
    }
    return outcome::success();
}

awaitable<step<void>> destination::place(std::vector<target_file>& files, store::folder_store& from,
                                         offload_pool& pool,
                                         std::function<void(std::uint64_t)> placed)
{
    known_folders_.clear();  // they may be different ones now
    places_left_.clear();
    for (const target_file& file : files) {
        if (!file.in_place) ++places_left_[file.hash];
    }
    for (std::size_t first = 0; first < files.size(); first += files_a_job) {
        const std::size_t end = std::min(first + files_a_job, files.size());
        auto job = [this, &files, first, end, &from] {
            return place_range(files, first, end, from);
        };
        auto done = co_await offload(pool, job);
        if (!done) co_return done;
        for (std::size_t i = first; i < end && placed; ++i) placed(files[i].size);
        const bool stop = co_await cancellation_requested();
        if (stop && end < files.size()) {
            co_return fail(exit_code::interrupted, "interrupted while files were put in place; the "
                                                   "same command goes on where this one ended");
        }
    }
    if (!durable_) co_return outcome::success();
    auto sync = [this]() -> step<void> {
        // The names of files and folders are what is not on the disk yet.
        for (const std::string& folder : known_folders_) {
            const auto synced = fs_.sync_directory(path_of(folder));
            if (!synced) return fail(synced.error(), "folder " + shown_path(path_of(folder)));
        }
        const auto synced = fs_.sync_directory(folder_);
        if (!synced) return fail(synced.error(), "folder " + shown_path(folder_));
        return outcome::success();
    };
    auto synced = co_await offload(pool, sync);
    co_return synced;
}

}  // namespace app
