#include "sources.hpp"

#include "console.hpp"

#include <copse/blob/collection.hpp>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <utility>

namespace app {

namespace {

constexpr std::size_t names_shown = 5;
constexpr unsigned deepest_folder = 1000;  // no name of 4096 bytes has more folders that matter

step<std::string> real_path(const std::string& path)
{
    const std::unique_ptr<char, void (*)(void*)> found(::realpath(path.c_str(), nullptr),
                                                       &std::free);
    if (found) return std::string(found.get());
    return fail(std::error_code(errno, std::generic_category()), shown_path(path));
}

// The last component as it was typed; of `.` and the like, as it really is.
std::string name_of(std::string_view typed, std::string_view real)
{
    while (typed.size() > 1 && typed.ends_with('/')) typed.remove_suffix(1);
    const auto last = [](std::string_view path) { return path.substr(path.rfind('/') + 1); };
    const std::string_view name = last(typed);
    if (name.empty() || name == "." || name == "..") return std::string(last(real));
    return std::string(name);
}

class walk {
public:
    walk(file_system& fs, source_list& out) : fs_(fs), out_(out) {}

    step<void> add(const std::string& path, const std::string& name, unsigned depth)
    {
        const auto about = fs_.status(path);
        if (!about) return fail(about.error(), shown_path(path));
        switch (about.assume_value().kind) {
        case file_kind::regular:
            out_.files.push_back({name, path, about.assume_value().size});
            return outcome::success();
        case file_kind::directory: return add_directory(path, name, depth);
        case file_kind::symbolic_link: ++out_.links; return outcome::success();
        case file_kind::other: ++out_.special; return outcome::success();
        }
        return outcome::success();
    }

private:
    step<void> add_directory(const std::string& path, const std::string& name, unsigned depth)
    {
        if (depth == deepest_folder) {
            return fail(exit_code::files, shown_path(path) + ": too many nested folders");
        }
        std::vector<std::string> entries;
        const auto listed = fs_.list(path, [&entries](const std::string& entry) -> result<void> {
            entries.push_back(entry);
            return outcome::success();
        });
        if (!listed) return fail(listed.error(), shown_path(path));
        for (const std::string& entry : entries) {
            COPSE_TRYV(add(path + "/" + entry, name + "/" + entry, depth + 1));
        }
        return outcome::success();
    }

    file_system& fs_;
    source_list& out_;
};

// Files with a name that is no good by itself leave the list.
std::vector<std::pair<std::string, std::error_code>> take_unsupported(source_list& list)
{
    std::vector<std::pair<std::string, std::error_code>> out;
    std::erase_if(list.files, [&out](const source_file& file) {
        const auto good = blob::check_name(file.name);
        if (!good) out.emplace_back(blob::escape_name(file.name), good.error());
        return !good;
    });
    return out;
}

step<void> check_all_names(const source_list& list)
{
    if (list.files.size() > blob::max_collection_names) {
        return fail(exit_code::files, to_count(list.files.size(), "file") + " are more than the " +
                                          std::to_string(blob::max_collection_names) +
                                          " that one ticket can name");
    }
    std::vector<std::string> names;
    names.reserve(list.files.size());
    for (const source_file& file : list.files) names.push_back(file.name);
    std::size_t refused = 0;
    const auto good = blob::check_names(names, &refused);
    if (good) return outcome::success();
    return fail(exit_code::files, shown_path(names[refused]) + ": " + good.error().message() +
                                      "; send such paths one at a time");
}

}  // namespace

step<source_list> list_sources(file_system& fs, const std::vector<std::string>& paths,
                               bool skip_unsupported)
{
    source_list out;
    walk files(fs, out);
    for (const std::string& path : paths) {
        COPSE_TRY(const std::string real, real_path(path));
        const std::string name = name_of(path, real);
        if (name.empty()) return fail(exit_code::files, "cannot send the root folder as a whole");
        COPSE_TRYV(files.add(real, name, 0));
    }
    const auto bad = take_unsupported(out);
    if (!bad.empty() && !skip_unsupported) {
        std::string text = to_count(bad.size(), "name") + " cannot be sent:";
        for (std::size_t i = 0; i < std::min(bad.size(), names_shown); ++i) {
            text += "\n  '" + bad[i].first + "': " + bad[i].second.message();
        }
        if (bad.size() > names_shown) {
            text += "\n  and " + std::to_string(bad.size() - names_shown) + " more";
        }
        return fail(exit_code::files, text + "\nrename them, or go on without them by "
                                             "--skip-unsupported");
    }
    for (const auto& [name, why] : bad) out.unsupported.push_back(name);
    if (out.files.empty()) {
        return fail(exit_code::files, "nothing to send: there is no regular file");
    }
    COPSE_TRYV(check_all_names(out));
    std::ranges::sort(out.files, {}, &source_file::name);
    for (const source_file& file : out.files) out.total_bytes += file.size;
    return out;
}

}  // namespace app
