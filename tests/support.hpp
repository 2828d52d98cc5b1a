// Helpers that tests of every folder share. No Asio here, so that tests of pure cores stay quick to
// compile. Everything lives in copse::test.
#pragma once

#include <cctype>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace copse::test {

/// A copy of the text as bytes.
[[nodiscard]] inline std::vector<std::byte> bytes(std::string_view text)
{
    const auto view = std::as_bytes(std::span(text.data(), text.size()));
    return {view.begin(), view.end()};
}

/// A copy of the bytes as text.
[[nodiscard]] inline std::string text(std::span<const std::byte> from)
{
    return {reinterpret_cast<const char*>(from.data()), from.size()};
}

/// Lower case hexadecimal.
[[nodiscard]] inline std::string hex(std::span<const std::byte> from)
{
    static constexpr std::string_view digits = "0123456789abcdef";
    std::string out;
    out.reserve(2 * from.size());
    for (const std::byte b : from) {
        out += digits[std::to_integer<std::size_t>(b) >> 4];
        out += digits[std::to_integer<std::size_t>(b) & 15];
    }
    return out;
}

/// Hexadecimal of either case, white space ignored. Throws: a test vector that is no hex is a broken test.
[[nodiscard]] inline std::vector<std::byte> from_hex(std::string_view from)
{
    std::vector<std::byte> out;
    std::optional<unsigned> high;
    for (const char c : from) {
        if (std::isspace(static_cast<unsigned char>(c))) continue;
        unsigned digit = 0;
        if (c >= '0' && c <= '9') digit = static_cast<unsigned>(c - '0');
        else if (c >= 'a' && c <= 'f') digit = static_cast<unsigned>(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F') digit = static_cast<unsigned>(c - 'A') + 10;
        else throw std::invalid_argument("not a hexadecimal digit");
        if (high) {
            out.push_back(static_cast<std::byte>(*high << 4 | digit));
            high.reset();
        } else {
            high = digit;
        }
    }
    if (high) throw std::invalid_argument("odd number of hexadecimal digits");
    return out;
}

/// The data of the published BLAKE3 and bao vectors: byte i is i mod 251.
[[nodiscard]] inline std::vector<std::byte> pattern(std::size_t size)
{
    std::vector<std::byte> out(size);
    for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>(i % 251);
    return out;
}

/// Replayable randomness: the same seed gives the same numbers on every machine.
class seeded_rng {
public:
    using result_type = std::uint64_t;

    explicit seeded_rng(std::uint64_t seed) : engine_(seed) {}

    static constexpr result_type min() noexcept { return 0; }
    static constexpr result_type max() noexcept { return ~result_type{0}; }
    result_type operator()() { return engine_(); }

    /// A number in [low, high]. The slight bias of the remainder does not matter to tests.
    template <class Number>
    Number between(Number low, Number high)
    {
        const auto width = static_cast<std::uint64_t>(high - low) + 1;
        return static_cast<Number>(low +
                                   static_cast<Number>(width == 0 ? engine_() : engine_() % width));
    }

    [[nodiscard]] std::vector<std::byte> bytes(std::size_t size)
    {
        std::vector<std::byte> out(size);
        for (auto& b : out) b = static_cast<std::byte>(engine_());
        return out;
    }

private:
    std::mt19937_64 engine_;
};

/// The seed of this run: COPSE_SEED when set, to replay a failure, else the given one. Name it in an INFO.
[[nodiscard]] inline std::uint64_t seed_or(std::uint64_t fallback)
{
    const char* given = std::getenv("COPSE_SEED");
    return given ? std::strtoull(given, nullptr, 0) : fallback;
}

/// Where a file of tests/vectors is.
[[nodiscard]] inline std::filesystem::path vector_path(std::string_view name)
{
    return std::filesystem::path(COPSE_TEST_DATA_DIR) / name;
}

/// A whole file as text. Throws when it cannot be read.
[[nodiscard]] inline std::string read_file(const std::filesystem::path& path)
{
    std::ifstream in(path, std::ios::binary);
    if (!in) throw std::runtime_error("cannot read " + path.string());
    return {std::istreambuf_iterator<char>(in), {}};
}

/// A directory of its own, removed with everything in it at the end of the scope.
class temporary_directory {
public:
    temporary_directory()
    {
        std::string name = (std::filesystem::temp_directory_path() / "copse-test-XXXXXX").string();
        if (!::mkdtemp(name.data())) throw std::runtime_error("cannot make " + name);
        path_ = name;
    }
    ~temporary_directory()
    {
        std::error_code ignored;  // a leftover directory must not fail the test that passed
        std::filesystem::remove_all(path_, ignored);
    }
    temporary_directory(const temporary_directory&) = delete;
    temporary_directory& operator=(const temporary_directory&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
    [[nodiscard]] std::filesystem::path operator/(std::string_view name) const
    {
        return path_ / name;
    }

private:
    std::filesystem::path path_;
};

}  // namespace copse::test

/// Ends a test case that this machine cannot run (no namespaces, no IPv6). tools/test counts the line.
#define COPSE_SKIP(reason)                                 \
    do {                                                   \
        std::printf("copse skipped a test: %s\n", reason); \
        std::fflush(stdout);                               \
        SUCCEED("skipped: " reason);                       \
        return;                                            \
    } while (false)
