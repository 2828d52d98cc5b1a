// qlog records to files.
#pragma once

#include <copse/quic/qlog.hpp>

#include <utility>
#include <vector>

namespace copse::quic {

namespace detail {

class qlog_file final : public qlog_sink {
public:
    qlog_file(std::unique_ptr<file> to, std::uint64_t limit) : file_(std::move(to)), limit_(limit)
    {
        waiting_.reserve(flush_bytes);
    }
    ~qlog_file() override { flush(); }

    void write(byte_view record) noexcept override
    {
        if (waiting_.size() + record.size() > flush_bytes) flush();
        if (!file_ || record.size() > flush_bytes) return;
        if (written_ + waiting_.size() + record.size() > limit_) {
            flush();
            file_.reset();  // whole records only
            return;
        }
        waiting_.insert(waiting_.end(), record.begin(), record.end());
    }

private:
    static constexpr std::size_t flush_bytes = 64U << 10;

    void flush() noexcept
    {
        if (file_ && !waiting_.empty() && !file_->write_at(waiting_, written_)) file_.reset();
        written_ += waiting_.size();
        waiting_.clear();
    }

    std::unique_ptr<file> file_;
    std::uint64_t limit_;
    std::uint64_t written_ = 0;
    std::vector<std::byte> waiting_;
};

}  // namespace detail

qlog_factory qlog_directory(std::string directory, std::uint64_t limit, file_system& files)
{
    return [directory = std::move(directory), limit,
            &files](byte_view original_id, bool server) -> std::unique_ptr<qlog_sink> {
        static constexpr char digits[] = "0123456789abcdef";
        std::string path = directory + '/';
        for (const std::byte b : original_id) {
            path += digits[std::to_integer<unsigned>(b) >> 4];
            path += digits[std::to_integer<unsigned>(b) & 15];
        }
        path += server ? "_server.sqlog" : "_client.sqlog";
        open_options how;
        how.write = how.create = how.truncate = true;
        auto opened = files.open(path, how);
        if (!opened) return nullptr;
        return std::make_unique<detail::qlog_file>(std::move(opened).assume_value(), limit);
    };
}

}  // namespace copse::quic
