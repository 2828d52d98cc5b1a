// What tests of stores share: blobs with their pairs, deliveries into writers, and a file system that
// fails, tears writes and reboots on demand.
#pragma once

#include <copse/bao/outboard.hpp>
#include <copse/core/file.hpp>
#include <copse/store/blob_store.hpp>
#include <copse/store/error.hpp>

#include "catch.hpp"
#include "support.hpp"

#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace copse::test {

/// A blob with the pairs above its groups.
struct known_blob {
    explicit known_blob(std::vector<std::byte> bytes)
        : data(std::move(bytes)), outboard(bao::outboard::build(data)), root(outboard.root())
    {}

    [[nodiscard]] std::uint64_t chunks() const { return bao::chunk_count(data.size()); }
    [[nodiscard]] bao::chunk_ranges everything() const
    {
        return bao::chunk_ranges::range(0, chunks());
    }

    std::vector<std::byte> data;
    bao::outboard outboard;
    hash::digest root;
};

inline known_blob random_blob(std::size_t size, std::uint64_t seed = 1)
{
    return known_blob(seeded_rng(seed).bytes(size));
}

struct aligned_free {
    void operator()(std::byte* p) const { std::free(p); }
};

/// A copy at an aligned address with room up to the next multiple of the alignment, which holds 0xEE.
class aligned_copy {
public:
    explicit aligned_copy(byte_view from) : size_(from.size())
    {
        const std::size_t room = (size_ + direct_alignment) / direct_alignment * direct_alignment;
        bytes_.reset(static_cast<std::byte*>(std::aligned_alloc(direct_alignment, room)));
        if (!bytes_) throw std::bad_alloc();
        std::fill_n(bytes_.get(), room, std::byte{0xee});
        std::copy(from.begin(), from.end(), bytes_.get());
    }
    [[nodiscard]] byte_view view() const { return {bytes_.get(), size_}; }

private:
    std::unique_ptr<std::byte, aligned_free> bytes_;
    std::size_t size_;
};

/// The pairs on the paths to some chunks, as a decoder hands them out.
inline std::vector<store::pair_run> pairs_for(const known_blob& blob,
                                              const bao::chunk_ranges& wanted)
{
    std::vector<store::pair_run> out;
    bao::for_each_upper_pair(blob.data.size(), 1, [&](bao::subtree node, std::uint64_t index) {
        if (!wanted.meets(node.first, node.end())) return;
        out.push_back({index, blob.outboard.pair(index)});
    });
    return out;
}

/// Writes and commits chunks [first, end) of a blob. \return the first failing write.
inline result<void> deliver(store::blob_writer& writer, const known_blob& blob, std::uint64_t first,
                            std::uint64_t end)
{
    end = std::min(end, blob.chunks());
    const std::uint64_t from = bao::byte_offset(first);
    const std::uint64_t to = bao::byte_end(end, blob.data.size());
    const aligned_copy bytes(byte_view(blob.data).subspan(from, to - from));
    COPSE_TRYV(writer.write(bytes.view(), from));
    const auto chunks = bao::chunk_ranges::range(first, end);
    writer.commit(chunks, pairs_for(blob, chunks));
    return outcome::success();
}

/// Receives a whole blob in extents.
inline result<void> deliver_all(store::blob_writer& writer, const known_blob& blob,
                                std::uint64_t extent = 256)
{
    for (std::uint64_t at = 0; at < blob.chunks(); at += extent) {
        COPSE_TRYV(deliver(writer, blob, at, at + extent));
    }
    return outcome::success();
}

inline result<void> read(store::blob_reader& reader, byte_span into, std::uint64_t offset)
{
    return reader.read(std::span<const byte_span>(&into, 1), offset);
}

/// Checks that a reader gives the present parts of a blob, with the right pairs above them.
inline void check_reader(store::blob_reader& reader, const known_blob& blob)
{
    REQUIRE(reader.root() == blob.root);
    REQUIRE(reader.size() == blob.data.size());
    const auto present = reader.present();
    for (std::size_t i = 0; i < present.interval_count(); ++i) {
        const auto part = present.interval(i);
        const auto from = static_cast<std::size_t>(bao::byte_offset(part.first));
        const auto to = static_cast<std::size_t>(bao::byte_end(part.end, blob.data.size()));
        std::vector<std::byte> out(to - from);
        REQUIRE(read(reader, out, from));
        REQUIRE(std::equal(out.begin(), out.end(), blob.data.begin() + static_cast<long>(from)));
    }
    const auto unit_groups = static_cast<std::size_t>(reader.pair_granularity() / 16);
    bao::for_each_upper_pair(blob.data.size(), unit_groups,
                             [&](bao::subtree node, std::uint64_t at) {
                                 if (!present.meets(node.first, node.end())) return;
                                 const auto got = reader.pair(node);
                                 REQUIRE(got);
                                 const auto want = blob.outboard.pair(at);
                                 REQUIRE(std::equal(want.begin(), want.end(), got.value().begin()));
                             });
}

/// The real file system with faults. Every changing call (create, write, truncate, sync, rename,
/// remove) counts; after `calls_left` of them the machine has "crashed": all fail.
class faulty_file_system final : public file_system {
public:
    std::string boot = "boot-1";
    long calls_left = -1;  ///< negative: no limit
    bool tear = false;     ///< the last write before the crash is cut in half
    std::error_code failure = std::make_error_code(std::errc::io_error);
    std::string fail_suffix;  ///< only changes of paths with this end fail (with `calls_left`)
    std::error_code remove_directory_failure;  ///< of that call alone
    std::vector<std::string> log;              ///< one line a call

    [[nodiscard]] bool crashed() const noexcept { return calls_left == 0; }

    result<std::unique_ptr<file>> open(const std::string& path, open_options options) override
    {
        log.push_back("open " + path);
        if (options.create) COPSE_TRYV(change(path));
        COPSE_TRY(auto real, real_file_system().open(path, options));
        return std::unique_ptr<file>(std::make_unique<faulty_file>(*this, path, std::move(real)));
    }
    result<file_status> status(const std::string& path) override
    {
        log.push_back("status " + path);
        return real_file_system().status(path);
    }
    result<void> list(const std::string& path,
                      const std::function<result<void>(const std::string&)>& visit) override
    {
        return real_file_system().list(path, visit);
    }
    result<void> make_directory(const std::string& path, std::uint32_t permissions) override
    {
        return real_file_system().make_directory(path, permissions);
    }
    result<void> remove_file(const std::string& path) override
    {
        log.push_back("remove " + path);
        COPSE_TRYV(change(path));
        return real_file_system().remove_file(path);
    }
    result<void> remove_directory(const std::string& path) override
    {
        if (remove_directory_failure) return remove_directory_failure;
        return real_file_system().remove_directory(path);
    }
    result<void> rename(const std::string& from, const std::string& to, bool replace) override
    {
        log.push_back("rename " + from + " " + to);
        COPSE_TRYV(change(from));
        return real_file_system().rename(from, to, replace);
    }
    result<void> sync_directory(const std::string& path) override
    {
        log.push_back("sync " + path);
        COPSE_TRYV(change(path));
        return real_file_system().sync_directory(path);
    }
    result<std::shared_ptr<void>> lock(const std::string& path) override
    {
        return real_file_system().lock(path);
    }
    std::string boot_id() override { return boot; }

    /// How many logged calls start with a word and name a path with this end.
    [[nodiscard]] int count(std::string_view word, std::string_view suffix = {}) const
    {
        int n = 0;
        for (const auto& line : log) n += line.starts_with(word) && line.ends_with(suffix);
        return n;
    }

private:
    class faulty_file final : public file {
    public:
        faulty_file(faulty_file_system& fs, std::string path, std::unique_ptr<file> real)
            : fs_(fs), path_(std::move(path)), real_(std::move(real))
        {}
        using file::read_at;
        result<std::size_t> read_at(std::span<const byte_span> parts, std::uint64_t offset) override
        {
            fs_.log.push_back("read " + path_);
            return real_->read_at(parts, offset);
        }
        result<void> write_at(byte_view data, std::uint64_t offset) override
        {
            fs_.log.push_back("write " + path_);
            const bool last = fs_.calls_left == 1 && fs_.tear && path_.ends_with(fs_.fail_suffix);
            COPSE_TRYV(fs_.change(path_));
            if (!last) return real_->write_at(data, offset);
            COPSE_TRYV(real_->write_at(data.first(data.size() / 2), offset));
            return fs_.failure;
        }
        result<std::uint64_t> size() const override { return real_->size(); }
        result<void> truncate(std::uint64_t size) override
        {
            fs_.log.push_back("truncate " + path_);
            COPSE_TRYV(fs_.change(path_));
            return real_->truncate(size);
        }
        result<void> sync() override
        {
            fs_.log.push_back("sync " + path_);
            COPSE_TRYV(fs_.change(path_));
            return real_->sync();
        }
        bool direct() const noexcept override { return real_->direct(); }

    private:
        faulty_file_system& fs_;
        std::string path_;
        std::unique_ptr<file> real_;
    };

    result<void> change(const std::string& path)
    {
        if (calls_left < 0 || !path.ends_with(fail_suffix)) return outcome::success();
        if (calls_left == 0) return failure;
        --calls_left;
        return outcome::success();
    }
};

}  // namespace copse::test
