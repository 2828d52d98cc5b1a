#include "key_file.hpp"

#include <copse/codec/hex.hpp>
#include <copse/core/file.hpp>

#include <cstring>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <string_view>

namespace app {

namespace {

constexpr std::size_t seed_bytes = 32;
constexpr std::size_t longest_key_text = 2 * seed_bytes + 2;  // a line end may follow

std::optional<std::string> directory_from(const char* variable)
{
    const char* const value = std::getenv(variable);
    if (!value || value[0] != '/') return std::nullopt;  // XDG: relative paths are ignored
    return std::string(value);
}

failure bad_key_file(const std::string& path, std::string_view why)
{
    return fail(exit_code::files, "key file " + shown_path(path) + " " + std::string(why));
}

step<quic::secret_key> read_key(const std::string& path)
{
    struct stat about {};
    if (::stat(path.c_str(), &about) != 0) {
        const std::error_code error(errno, std::generic_category());
        return fail(error, "key file " + shown_path(path));
    }
    if (!S_ISREG(about.st_mode)) return bad_key_file(path, "is not a regular file");
    if ((about.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        return bad_key_file(path, "can be read by others: chmod 600 it, or remove it to get a "
                                  "new identity");
    }
    auto opened = real_file_system().open(path, {});
    if (!opened) return fail(opened.error(), "key file " + shown_path(path));
    std::array<std::byte, longest_key_text + 1> text{};
    const auto n = opened.assume_value()->read_at(byte_span(text), 0);
    if (!n) return fail(n.error(), "key file " + shown_path(path));
    std::string_view line = as_text(byte_view(text).first(n.assume_value()));
    while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
    std::array<std::byte, seed_bytes> seed{};
    const auto decoded = codec::decode_hex(line, seed);
    std::optional<quic::secret_key> key;
    if (decoded) key = quic::secret_key::from_seed(seed);
    ::explicit_bzero(text.data(), text.size());
    ::explicit_bzero(seed.data(), seed.size());
    if (!key) return bad_key_file(path, "does not hold a key: 64 hexadecimal digits are expected");
    return std::move(*key);
}

result<void> write_key(const std::string& path, const quic::secret_key& key)
{
    // Complete under another name first: whoever sees the name sees a whole key.
    file_system& fs = real_file_system();
    const std::string fresh = path + ".new-" + std::to_string(::getpid());
    open_options options;
    options.write = options.create = options.exclusive = true;
    options.follow_links = false;
    options.permissions = 0600;
    COPSE_TRY(auto opened, fs.open(fresh, options));
    std::string line = codec::encode_hex(key.seed()) + "\n";
    auto done = opened->write_at(as_bytes(line), 0);
    ::explicit_bzero(line.data(), line.size());
    if (done) done = opened->sync();
    if (done) done = fs.rename(fresh, path, false);
    // A name that is left behind must not stay: it holds a key.
    if (!done) static_cast<void>(fs.remove_file(fresh));
    return done;
}

}  // namespace

std::optional<std::string> default_key_path()
{
    if (const auto home = directory_from("COPSE_HOME")) return *home + "/key";
    if (const auto config = directory_from("XDG_CONFIG_HOME")) return *config + "/copse/key";
    if (const auto home = directory_from("HOME")) return *home + "/.config/copse/key";
    return std::nullopt;
}

step<quic::secret_key> load_or_create_key(const std::string& path)
{
    const auto there = real_file_system().status(path);
    if (there) return read_key(path);
    if (there.error() != std::errc::no_such_file_or_directory) {
        return fail(there.error(), "key file " + shown_path(path));
    }
    const auto folder = std::filesystem::path(path).parent_path();
    if (!folder.empty()) {
        std::error_code ec;
        std::filesystem::create_directories(folder.parent_path(), ec);
        const auto made = real_file_system().make_directory(folder.string(), 0700);
        if (!made && made.error() != std::errc::file_exists) {
            failure out = fail(made.error(), "folder " + shown_path(folder.string()));
            out.text += "; it is for the key file: set COPSE_HOME, or give --key FILE";
            return out;
        }
    }
    const auto key = quic::secret_key::generate();
    const auto written = write_key(path, key);
    if (written) return key;
    // Another process was faster: its key counts.
    if (written.error() == std::errc::file_exists) return read_key(path);
    return fail(written.error(), "key file " + shown_path(path));
}

}  // namespace app
