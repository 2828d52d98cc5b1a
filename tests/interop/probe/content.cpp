#include "content.hpp"

#include <copse/bao/geometry.hpp>
#include <copse/blob/error.hpp>
#include <copse/hash/blake3.hpp>

#include <fstream>

namespace probe {

void blob_content::report(std::uint64_t index) const
{
    const std::string number = std::to_string(index);
    say("blob " + number + " " + hash::to_hex(hash) + " " + std::to_string(size.value_or(0)));
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
    hash::blake3 payload;
    std::uint64_t bytes = 0;
    for (const auto& [offset, piece] : pieces) {
        if (piece.empty()) continue;
        payload.update(piece);
        bytes += piece.size();
        if (ranges.empty() || ranges.back().second != offset) {
            ranges.emplace_back(offset, offset);
        }
        ranges.back().second = offset + piece.size();
    }
    for (const auto& [start, end] : ranges) {
        say("range " + number + " " + std::to_string(start) + " " + std::to_string(end));
    }
    say("payload " + number + " " + std::to_string(bytes) + " " + hash::to_hex(payload.finalize()));
}

void blob_content::save(const std::string& path) const
{
    std::ofstream file(path, std::ios::binary);
    for (const auto& [offset, piece] : pieces) {
        file.seekp(static_cast<std::streamoff>(offset));
        file.write(reinterpret_cast<const char*>(piece.data()),
                   static_cast<std::streamsize>(piece.size()));
    }
    if (!file.flush()) give_up("cannot write " + path);
}

namespace {

/// Finds the blobs in the stream: each is a header with its size, then as much as that size and the
/// ranges say. \return bytes behind the last one.
std::uint64_t read_headers(byte_view stream, const blob::ranges_seq& ranges,
                           const std::vector<hash::digest>& hashes, answer& out)
{
    std::uint64_t at = 0;
    std::uint64_t next = 0;
    blob::ranges_seq::cursor wanted(ranges);
    for (;;) {
        const auto index = wanted.next_wanted(next);
        if (!index || *index >= hashes.size()) return stream.size() - at;
        if (stream.size() - at < bao::header_size) return 0;
        const auto header = stream.subspan(static_cast<std::size_t>(at)).first<bao::header_size>();
        blob_content& content = out[*index];
        content.hash = hashes[static_cast<std::size_t>(*index)];
        content.size = bao::decode_header(header);
        const std::uint64_t length = bao::encoded_size(*content.size, wanted.ranges());
        if (length > stream.size() - at) return 0;
        content.complete = true;
        at += length;
        next = *index + 1;
    }
}

}  // namespace

void report_answer(const wrapped_connection& c, const blob::ranges_seq& ranges,
                   const std::vector<hash::digest>& hashes, answer got,
                   const outcome_of_request& how,
                   const std::function<std::string(std::uint64_t)>& file)
{
    const receipt seen = c.last ? *c.last : receipt{};
    const std::uint64_t unused = read_headers(seen.consumed, ranges, hashes, got);
    // What the sink refused is not in `consumed`, but was received.
    const bool too_much = how.error == blob::blob_errc::extra_data;
    const std::uint64_t extra = too_much ? unused + seen.bytes - seen.consumed.size() : 0;
    std::uint64_t complete = 0;
    for (const auto& [index, content] : got) {
        content.report(index);
        complete += content.complete ? 1 : 0;
        if (file) content.save(file(index));
    }
    const auto time = std::chrono::duration_cast<std::chrono::milliseconds>(how.time);
    say("blobs " + std::to_string(complete));
    say("stream " + std::to_string(seen.bytes));
    say("extra " + std::to_string(extra));
    say("end " + describe_end(how.error, seen, c));
    say("milliseconds " + std::to_string(time.count()));
    if (how.error) say("error " + how.error.message() + ": " + how.where);
    say(how.error ? "result failed" : "result ok");
}

}  // namespace probe
