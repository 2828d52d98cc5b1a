#include <copse/store/import.hpp>

#include <copse/core/clock.hpp>
#include <copse/core/run.hpp>
#include <copse/core/scope.hpp>

#include "store/fixture.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <optional>

using namespace copse;
using namespace copse::store;
using namespace copse::test;

namespace {

std::string put(const temporary_directory& dir, const char* name, byte_view data)
{
    const std::string path = dir / name;
    std::ofstream(path, std::ios::binary) << as_text(data);
    return path;
}

awaitable<result<void>> import_into(file_system* fs, offload_pool* pool, std::string path,
                                    import_options options,
                                    std::optional<result<imported_file>>* out)
{
    auto imported = co_await import_file(*fs, *pool, std::move(path), std::move(options));
    out->emplace(std::move(imported));
    co_return outcome::success();
}

result<imported_file> import(const std::string& path, import_options options = {},
                             file_system& fs = real_file_system())
{
    const auto pool = make_thread_pool(3);
    std::optional<result<imported_file>> out;
    REQUIRE(run_until_complete(import_into(&fs, pool.get(), path, options, &out)));
    return std::move(*out);
}

// Changes the file when its n-th read happens.
class meddling_file_system final : public file_system {
public:
    std::function<void()> meddle;
    std::atomic<int> reads_before{0};

    result<std::unique_ptr<file>> open(const std::string& path, open_options options) override
    {
        COPSE_TRY(auto real, real_file_system().open(path, options));
        return std::unique_ptr<file>(std::make_unique<meddled>(*this, std::move(real)));
    }
    result<file_status> status(const std::string& path) override
    {
        return real_file_system().status(path);
    }
    result<void> list(const std::string&,
                      const std::function<result<void>(const std::string&)>&) override
    {
        return unsupported();
    }
    result<void> make_directory(const std::string&, std::uint32_t) override
    {
        return unsupported();
    }
    result<void> remove_file(const std::string&) override { return unsupported(); }
    result<void> remove_directory(const std::string&) override { return unsupported(); }
    result<void> rename(const std::string&, const std::string&, bool) override
    {
        return unsupported();
    }
    result<void> sync_directory(const std::string&) override { return unsupported(); }
    result<std::shared_ptr<void>> lock(const std::string&) override
    {
        return make_error_code(std::errc::not_supported);
    }
    std::string boot_id() override { return "boot"; }

private:
    static result<void> unsupported() { return make_error_code(std::errc::not_supported); }

    class meddled final : public file {
    public:
        meddled(meddling_file_system& fs, std::unique_ptr<file> real)
            : fs_(fs), real_(std::move(real))
        {}
        result<std::size_t> read_at(std::span<const byte_span> parts, std::uint64_t offset) override
        {
            if (fs_.reads_before-- == 0) fs_.meddle();
            return real_->read_at(parts, offset);
        }
        result<void> write_at(byte_view, std::uint64_t) override { return unsupported(); }
        result<std::uint64_t> size() const override { return real_->size(); }
        result<void> truncate(std::uint64_t) override { return unsupported(); }
        result<void> sync() override { return unsupported(); }
        bool direct() const noexcept override { return false; }

    private:
        meddling_file_system& fs_;
        std::unique_ptr<file> real_;
    };
};

}  // namespace

TEST_CASE("import_file: root and index are those of the data, whatever the workers", "[store]")
{
    temporary_directory dir;
    for (const auto size :
         std::initializer_list<std::size_t>{0, 1, 1024, 1025, 16'385, 262'143, 262'144, 262'145,
                                            1 << 20, (1 << 20) + 1, 3'000'001, 17'000'000}) {
        INFO("size " << size);
        const auto data = pattern(size);
        const auto expected = bao::outboard::build(data, extent_groups);
        const auto path = put(dir, "f", data);
        for (const unsigned workers : {0U, 1U, 2U, 7U}) {
            for (const bool keep_index : {true, false}) {
                import_options options;
                options.workers = workers;
                options.keep_index = keep_index;
                std::uint64_t last = 0;
                options.progress = [&last](std::uint64_t done) { last = done; };
                const auto imported = import(path, options).value();
                CHECK(imported.root == expected.root());
                CHECK(imported.size == size);
                CHECK(imported.path == path);
                CHECK(imported.identity.size == size);
                CHECK(last == size);
                CHECK((imported.index != nullptr) == keep_index);
                if (!imported.index) continue;
                CHECK(std::ranges::equal(imported.index->pairs(), expected.pairs()));
            }
        }
    }
}

TEST_CASE("import_file: only regular files, and links where wanted", "[store]")
{
    temporary_directory dir;
    const auto path = put(dir, "f", pattern(2000));
    std::filesystem::create_symlink("f", dir / "link");
    REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
    CHECK(import(dir / "absent").error() == std::errc::no_such_file_or_directory);
    CHECK(import(dir.path()).error() == store_errc::not_a_file);
    CHECK(import(dir / "fifo").error() == store_errc::not_a_file);
    CHECK(import(dir / "link").error() == store_errc::not_a_file);
    CHECK(import("/dev/zero").error() == store_errc::not_a_file);
    import_options follow;
    follow.follow_links = true;
    CHECK(import(dir / "link", follow).value().root == import(path).value().root);
    std::filesystem::create_symlink("fifo", dir / "to-fifo");
    CHECK_FALSE(import(dir / "to-fifo", follow));
    std::filesystem::create_symlink("/dev/zero", dir / "to-zero");
    CHECK(import(dir / "to-zero", follow).error() == store_errc::file_changed);
}

TEST_CASE("import_file: a file that changes meanwhile is an error", "[store]")
{
    temporary_directory dir;
    const auto size = GENERATE(std::size_t{5000}, std::size_t{5'000'000});
    const auto path = put(dir, "f", pattern(size));
    const unsigned workers = GENERATE(1U, 3U);
    import_options options;
    options.workers = workers;
    meddling_file_system fs;
    SECTION("it gets shorter")
    {
        fs.meddle = [&] { std::filesystem::resize_file(path, size / 2); };
    }
    SECTION("it gets longer")
    {
        fs.meddle = [&] { std::filesystem::resize_file(path, size + 1); };
    }
    SECTION("it is replaced")
    {
        fs.meddle = [&] {
            std::filesystem::rename(path, dir / "old");
            put(dir, "f", pattern(size));
        };
    }
    SECTION("its bytes change, which the time of modification shows")
    {
        fs.meddle = [&] {
            put(dir, "f", pattern(size));
            const auto later = std::filesystem::last_write_time(path) + std::chrono::seconds(1);
            std::filesystem::last_write_time(path, later);
        };
    }
    SECTION("it disappears")
    {
        fs.meddle = [&] { std::filesystem::remove(path); };
        CHECK(import(path, options, fs).error() == std::errc::no_such_file_or_directory);
        return;
    }
    CHECK(import(path, options, fs).error() == store_errc::file_changed);
}

namespace {

awaitable<result<void>> stop_importing(file_system* fs, offload_pool* pool, std::string path,
                                       unsigned workers, bool at_once,
                                       std::optional<result<imported_file>>* out)
{
    scope children(co_await asio::this_coro::executor);
    import_options options;
    options.workers = workers;
    options.progress = [&children](std::uint64_t) { children.request_stop(); };
    children.spawn(import_into(fs, pool, std::move(path), options, out));
    if (at_once) children.request_stop();
    const auto joined = co_await children.join();
    co_return joined;
}

}  // namespace

TEST_CASE("import_file: it stops when asked", "[store]")
{
    temporary_directory dir;
    const auto path = put(dir, "f", pattern(20 << 20));
    const unsigned workers = GENERATE(1U, 3U);
    struct stepping_clock final : clock_source {  // every slice is over after one segment
        time_point monotonic() noexcept override { return now += std::chrono::seconds(1); }
        std::chrono::nanoseconds wall() noexcept override { return {}; }
        std::chrono::nanoseconds real_wait(std::chrono::nanoseconds) noexcept override
        {
            return {};
        }
        time_point now{};
    } clock;
    const auto pool = make_inline_pool();
    auto* const before = install_clock(&clock);
    std::optional<result<imported_file>> out;
    const auto ran = run_until_complete(
        stop_importing(&real_file_system(), pool.get(), path, workers, false, &out));
    install_clock(before);
    REQUIRE(ran);
    REQUIRE(out);
    CHECK(out->error() == std::errc::operation_canceled);

    out.reset();
    REQUIRE(run_until_complete(
        stop_importing(&real_file_system(), pool.get(), path, workers, true, &out)));
    CHECK((!out || out->error() == std::errc::operation_canceled));
}

TEST_CASE("import_file: an error of the disk stops all workers", "[store]")
{
    if (::access("/proc/self/mem", R_OK) != 0) COPSE_SKIP("no /proc/self/mem");
    // A file of size 0 whose reading fails: address 0 is not mapped.
    CHECK(import("/proc/self/mem").error() == std::errc::io_error);
}

TEST_CASE("hash_stream: any split of the input", "[store]")
{
    for (const auto size : std::initializer_list<std::size_t>{0, 1, 65'536, 1 << 20, 3'000'001}) {
        const auto data = pattern(size);
        for (const std::size_t step : {1000UL, 65'536UL, 5'000'000UL}) {
            byte_view left = data;
            const auto hashed = hash_stream([&](byte_span into) -> result<std::size_t> {
                const auto n = std::min({left.size(), into.size(), step});
                std::copy_n(left.begin(), n, into.begin());
                left = left.subspan(n);
                return n;
            });
            CHECK(hashed.value().root == hash::blake3_hash(data));
            CHECK(hashed.value().size == size);
        }
    }
    const auto failed = hash_stream(
        [](byte_span) -> result<std::size_t> { return make_error_code(std::errc::io_error); });
    CHECK(failed.error() == std::errc::io_error);
}
