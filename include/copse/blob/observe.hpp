// Observe: which parts of a blob a provider has, now and whenever that changes.
#pragma once

#include <copse/bao/chunk_ranges.hpp>
#include <copse/core/asio.hpp>
#include <copse/core/bytes.hpp>
#include <copse/core/duration.hpp>
#include <copse/core/result.hpp>
#include <copse/core/transport.hpp>
#include <copse/hash/digest.hpp>
#include <copse/store/blob_store.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace copse::blob {

/// Most separate runs that a provider tells of; parts behind them are not shown.
inline constexpr std::size_t max_observed_runs = 4096;

/// One item of an answer to Observe. The first is a state, each further one a change.
struct observation {
    /// Bytes of the blob; reliable only when the last chunk is present.
    std::uint64_t size = 0;
    /// Chunks present, or in later items those that changed; of a complete blob all, without end.
    bao::chunk_ranges ranges;
    /// Field by field.
    bool operator==(const observation&) const = default;
};

/// What a provider says of a blob. Canonical: whoever has the last chunk has it without end.
[[nodiscard]] observation to_observation(const store::availability& from);
/// What is sent when `before` became `now`: the chunks in one of both, and the size of whichever
/// reaches further.
[[nodiscard]] observation change_between(const observation& before, const observation& now);
/// Applies a change to a state.
void apply_change(observation& state, const observation& change);

/// An item with its length in front.
[[nodiscard]] std::vector<std::byte> encode_observation(const observation& from);
/// Reads an item without its length. Memory is at most 8 bytes for each byte received.
/// \par Errors `blob_errc::bad_observation`.
[[nodiscard]] result<observation> decode_observation(byte_view item);

/// How an observer behaves.
struct observe_options {
    /// A provider that does not say anything for this long is given up.
    std::chrono::nanoseconds first_item_timeout = std::chrono::seconds(30);
    /// Larger items are refused, as are more boundaries than fit into one.
    std::size_t max_item_bytes = 1024 * 1024;
};

/// Follows what a provider has of a blob. It is told, not proven: only data that was fetched is.
/// \par Threads one executor.
/// \par Lifetime dropping it ends the request.
class observer {
public:
    /// Asks. The empty blob is everywhere: it is complete without a request.
    /// \par Errors transport codes.
    /// \par Cancellation total.
    static awaitable<result<observer>> open(std::shared_ptr<connection> c, hash::digest blob,
                                            observe_options options = {});
    /// Not while next() runs, as the assignment.
    observer(observer&&) noexcept;
    /// Leaves what was observed before.
    observer& operator=(observer&&) noexcept;
    /// Leaves.
    ~observer();

    /// Waits for the next item and says what is there now; the first call gives the present state.
    /// The observer must outlive the awaitable and stay where it is.
    /// \par Errors `blob_errc::bad_observation` (drop the peer), `stalled`, `truncated_response` (it
    ///      ended within an item), `aborted_by_peer` (after one), those of resets, transport codes.
    /// \par Cancellation total.
    awaitable<result<store::availability>> next();

private:
    class state;
    explicit observer(std::unique_ptr<state> s);
    std::unique_ptr<state> state_;
};

}  // namespace copse::blob
