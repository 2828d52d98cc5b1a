// A store of one huge blob of zeros that takes no space: reads are made up, writes are checked and
// forgotten. For transfers larger than memory and disk.
#pragma once

#include <copse/bao/outboard.hpp>
#include <copse/store/blob_store.hpp>
#include <copse/store/error.hpp>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

namespace copse::test {

class zero_store final : public store::blob_store {
public:
    explicit zero_store(std::uint64_t size) : index_(build(size)) {}

    [[nodiscard]] const hash::digest& root() const { return index_->root(); }
    [[nodiscard]] std::uint64_t written() const { return *written_; }
    void forget()
    {
        *present_ = bao::chunk_ranges::none();
        *written_ = 0;
    }

    result<store::availability> status(const hash::digest& root) override
    {
        store::availability out;
        if (root != index_->root()) return out;
        out.size = index_->size();
        out.size_proven = true;
        out.present = *present_;
        return out;
    }

    result<std::shared_ptr<store::blob_reader>> open(const hash::digest& root) override
    {
        if (root != index_->root()) return store::store_errc::missing;
        return std::shared_ptr<store::blob_reader>(std::make_shared<reader>(index_));
    }

    result<std::shared_ptr<store::blob_writer>> open_partial(const hash::digest& root,
                                                             std::uint64_t size) override
    {
        if (root != index_->root() || size != index_->size()) return store::store_errc::missing;
        return std::shared_ptr<store::blob_writer>(
            std::make_shared<writer>(index_, present_, written_));
    }

private:
    using shared_index = std::shared_ptr<const bao::outboard>;
    static constexpr std::size_t unit_groups = 16;

    static shared_index build(std::uint64_t size)
    {
        bao::outboard_builder builder(size, unit_groups);
        const std::vector<std::byte> zeros(unit_groups * hash::group_size);
        while (!builder.complete()) {
            builder.push_data(byte_view(zeros).first(builder.next_length()));
        }
        return std::make_shared<const bao::outboard>(builder.finish());
    }

    class reader final : public store::blob_reader {
    public:
        explicit reader(shared_index index) : index_(std::move(index)) {}
        const hash::digest& root() const noexcept override { return index_->root(); }
        std::uint64_t size() const noexcept override { return index_->size(); }
        bao::chunk_ranges present() const override { return bao::chunk_ranges::all(); }
        std::uint64_t pair_granularity() const noexcept override
        {
            return unit_groups * hash::group_chunks;
        }
        result<void> read_pairs(std::uint64_t index, byte_span out) override
        {
            const auto pairs = index_->pairs().subspan(static_cast<std::size_t>(index) * 64);
            std::copy_n(pairs.begin(), out.size(), out.begin());
            return outcome::success();
        }
        result<void> read(std::span<const byte_span> parts, std::uint64_t) override
        {
            for (const byte_span part : parts) std::memset(part.data(), 0, part.size());
            return outcome::success();
        }

    private:
        shared_index index_;
    };

    class writer final : public store::blob_writer {
    public:
        writer(shared_index index, std::shared_ptr<bao::chunk_ranges> present,
               std::shared_ptr<std::uint64_t> written)
            : index_(std::move(index)), present_(std::move(present)), written_(std::move(written))
        {}
        const hash::digest& root() const noexcept override { return index_->root(); }
        std::uint64_t size() const noexcept override { return index_->size(); }
        bao::chunk_ranges present() const override { return *present_; }
        bool direct() const noexcept override { return false; }
        result<void> write(byte_view data, std::uint64_t) override
        {
            const bool zero =
                std::ranges::all_of(data, [](std::byte b) { return b == std::byte{}; });
            if (!zero) return make_error_code(std::errc::io_error);
            *written_ += data.size();
            return outcome::success();
        }
        void commit(const bao::chunk_ranges& chunks, std::span<const store::pair_run>) override
        {
            *present_ |= chunks;
        }
        bool checkpoint_due() const noexcept override { return false; }
        std::function<result<void>()> checkpoint() override { return done; }
        std::function<result<void>()> finish(bool) override { return done; }

    private:
        static result<void> done() { return outcome::success(); }
        shared_index index_;
        std::shared_ptr<bao::chunk_ranges> present_;
        std::shared_ptr<std::uint64_t> written_;
    };

    shared_index index_;
    std::shared_ptr<bao::chunk_ranges> present_ = std::make_shared<bao::chunk_ranges>();
    std::shared_ptr<std::uint64_t> written_ = std::make_shared<std::uint64_t>(0);
};

}  // namespace copse::test
