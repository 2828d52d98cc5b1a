#include "receiver.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <utility>

namespace app {

bool is_gap(const std::error_code& error) noexcept
{
    return error == blob::blob_errc::not_available || error == blob::blob_errc::truncated_response;
}

awaitable<step<std::error_code>> receiver::learn()
{
    if (options_.raw()) {
        auto size = co_await learn_size();
        if (!size) co_return size.error();
        take_raw(size.assume_value());
        co_return std::error_code{};
    }
    auto learnt = co_await learn_collection();
    if (!learnt || learnt.assume_value()) co_return learnt;
    std::size_t refused = 0;
    const auto good = blob::check_names(manifest_.names, &refused);
    if (!good) {
        discard_ = true;
        co_return fail(exit_code::refused,
                       "refused the name '" + blob::escape_name(manifest_.names[refused]) +
                           "': " + good.error().message() + "; nothing was written");
    }
    take_manifest(manifest_);
    // A file whose end the provider lacks has no size that anything could be compared with.
    std::erase_if(files_, [this](const target_file& file) {
        if (!current().lacking.contains(file.hash)) return false;
        without_size_.push_back(file.name);
        return true;
    });
    co_return std::error_code{};
}

awaitable<step<std::error_code>> receiver::learn_collection()
{
    blob::fetch_options options = fetch_options();
    options.blob = [this](const blob::fetched_blob& b) {
        if (b.index > 1) first_byte();  // files come after the sequence and the names
    };
    auto got = co_await blob::fetch_manifest(connection_, options_.hash(), env_, std::move(options),
                                             where_);
    if (got) {
        manifest_ = std::move(got).assume_value();
        co_return std::error_code{};
    }
    const std::error_code error = got.error();
    discard_ = error == blob::blob_errc::bad_hash_sequence ||
               error == blob::blob_errc::bad_collection ||
               error == blob::blob_errc::collection_too_large ||
               error == blob::blob_errc::bad_name_encoding;
    if (!is_gap(error)) co_return error;
    auto pieces = co_await learn_piecewise(error);
    co_return pieces;
}

// The provider lacks the end of some file. What it knows of the others is asked for around the gaps:
// one request more for each.
awaitable<step<std::error_code>> receiver::learn_piecewise(std::error_code error)
{
    auto look = [this] { return work_.stored_names(); };
    auto names = co_await offload(pool_, look);
    if (!names) {
        blob::ranges_seq::builder both;
        both.from(0, bao::chunk_ranges::all()).from(2, bao::chunk_ranges::none());
        std::function<void(const blob::fetched_blob&)> nothing;
        const std::error_code none = co_await ask(both.build(), std::move(nothing));
        if (none) co_return error;
        names = co_await offload(pool_, look);
        if (!names) co_return error;
    }
    blob::manifest m = std::move(*names);
    // What came from others, or was put in place by an earlier run, needs no question.
    auto local = [this, &m] { return local_sizes(m); };
    std::map<hash::digest, std::uint64_t> sizes = co_await offload(pool_, local);
    std::size_t most = m.hashes.size();
    std::size_t gaps = 0;  // in a row
    for (std::size_t next = 1; next < m.hashes.size();) {
        if (sizes.contains(m.hashes[next])) {
            ++next;
            continue;
        }
        blob::ranges_seq::builder ends;
        ends.from(next + 1, bao::chunk_ranges::last_chunk())
            .from(next + 1 + most, bao::chunk_ranges::none());
        std::function<void(const blob::fetched_blob&)> note =
            [&sizes](const blob::fetched_blob& b) { sizes[b.hash] = b.size; };
        const std::error_code gap = co_await ask(ends.build(), std::move(note));
        if (gap && !is_gap(gap)) co_return gap;
        const std::size_t first = next;
        while (next < m.hashes.size() && sizes.contains(m.hashes[next])) ++next;
        if (next > first) {
            most = std::min(2 * most, m.hashes.size());
            gaps = 0;
        } else if (most > 1) {
            most /= 2;
        } else {
            // Behind so many of them nobody waits for more round trips: it lacks the rest.
            const std::size_t end = ++gaps < most_gaps ? next + 1 : m.hashes.size();
            for (; next < end; ++next) {
                if (!sizes.contains(m.hashes[next])) current().lacking.insert(m.hashes[next]);
            }
        }
    }
    for (std::size_t i = 1; i < m.hashes.size(); ++i) m.sizes.push_back(sizes[m.hashes[i]]);
    manifest_ = std::move(m);
    co_return std::error_code{};
}

// On the pool.
std::map<hash::digest, std::uint64_t> receiver::local_sizes(const blob::manifest& m)
{
    std::map<hash::digest, std::uint64_t> out;
    if (!blob::check_names(m.names)) return out;  // they must not become paths
    for (std::size_t i = 0; i < m.names.size(); ++i) {
        const auto size = work_.stored_size(m.hashes[i + 1], m.names[i], to_, true);
        if (size) out.emplace(m.hashes[i + 1], *size);
    }
    return out;
}

awaitable<std::error_code> receiver::ask(blob::ranges_seq ranges,
                                         std::function<void(const blob::fetched_blob&)> answer)
{
    blob::fetch_options options = fetch_options();
    options.blob = [this, &answer](const blob::fetched_blob& b) {
        if (b.index > 1) first_byte();
        if (answer) answer(b);
    };
    blob::get_request wanted;
    wanted.hash = options_.hash();
    wanted.ranges = std::move(ranges);
    const auto fetched =
        co_await blob::fetch(connection_, std::move(wanted), env_, std::move(options), where_);
    if (!fetched) co_return fetched.error();
    co_return std::error_code{};
}

/// The proven size of a single blob: its last chunk tells it.
awaitable<result<std::uint64_t>> receiver::learn_size()
{
    std::uint64_t size = 0;
    blob::fetch_options options = fetch_options();
    options.blob = [this, &size](const blob::fetched_blob& b) {
        first_byte();
        size = b.size;
    };
    blob::get_request wanted;
    wanted.hash = options_.hash();
    wanted.ranges = blob::ranges_seq::root(bao::chunk_ranges::last_chunk());
    const auto fetched =
        co_await blob::fetch(connection_, std::move(wanted), env_, std::move(options), where_);
    if (!fetched) co_return fetched.error();
    co_return size;
}

}  // namespace app
