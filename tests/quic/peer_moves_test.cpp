// Peers that change their addresses and connection ids faster than paths settle.
#include "tests/catch.hpp"

#include <copse/quic/detail/peer_moves.hpp>
#include <copse/quic/detail/retired_ids.hpp>

#include <numeric>
#include <vector>

using namespace copse;
using quic::detail::frame_walk;
using quic::detail::peer_moves;
using quic::detail::retired_ids;

namespace {

constexpr std::uint64_t second = 1'000'000'000;
constexpr peer_moves::id one{std::byte{1}};
constexpr peer_moves::id two{std::byte{2}};

socket_address at(std::uint16_t port)
{
    return socket_address::v4({198, 51, 100, 1}, port);
}

// A frame of single bytes, which are their own encoding below 64.
std::vector<std::uint8_t> new_id(std::uint8_t sequence, std::uint8_t retire_prior_to)
{
    std::vector<std::uint8_t> out{0x18, sequence, retire_prior_to, 8};
    out.resize(out.size() + 8 + 16, 0xaa);
    return out;
}

std::vector<std::uint8_t> joined(std::initializer_list<std::vector<std::uint8_t>> parts)
{
    std::vector<std::uint8_t> out;
    for (const auto& p : parts) out.insert(out.end(), p.begin(), p.end());
    return out;
}

bool passes(retired_ids& ids, std::uint8_t sequence, std::uint8_t retire_prior_to)
{
    auto frame = new_id(sequence, retire_prior_to);
    const auto before = frame;
    ids.look(frame);
    return frame == before;
}

}  // namespace

TEST_CASE("peer_moves: a peer that changes ids with its address is followed at once", "[quic]")
{
    peer_moves m;
    for (std::uint16_t port = 1; port < 20; ++port) {
        REQUIRE(m.allows(at(port), port % 2 ? one : two, 0, second));
        m.followed(at(port - 1), at(port), true);
    }
}

TEST_CASE("peer_moves: after a change of the address alone, other ids wait for the paths", "[quic]")
{
    peer_moves m;
    REQUIRE(m.allows(at(2), one, 0, second));
    m.followed(at(1), at(2), false);
    CHECK(m.allows(at(3), one, 0, second));        // its NAT again
    CHECK_FALSE(m.allows(at(3), two, 0, second));  // a network of its own
    CHECK(m.allows(at(1), two, 0, second));        // the path it came from
    SECTION("until the new path failed")
    {
        m.validated(false);
        CHECK(m.allows(at(3), two, 0, second));
    }
    SECTION("until the peer went back")
    {
        m.followed(at(2), at(1), false);
        CHECK(m.allows(at(3), two, 0, second));
    }
    SECTION("until the old path was settled, by a write")
    {
        m.validated(true);
        CHECK_FALSE(m.allows(at(1), two, 0, second));
        CHECK_FALSE(m.allows(at(3), two, 100 * second, second));
        m.wrote(100 * second, second / 2);
        m.wrote(106 * second - 1, second / 2);
        CHECK_FALSE(m.allows(at(3), two, 106 * second, second));
        m.wrote(106 * second, second / 2);
        CHECK(m.allows(at(3), two, 106 * second, second));
    }
    SECTION("until the probes of the new path must have ended, though nothing was told")
    {
        m.wrote(100 * second, second / 2);
        m.wrote(106 * second - 1, second / 2);
        CHECK_FALSE(m.allows(at(3), two, 106 * second, second));
        m.wrote(106 * second, second / 2);
        CHECK(m.allows(at(3), two, 106 * second, second));
    }
    SECTION("and again from the next")
    {
        m.validated(true);
        m.wrote(second, second);
        REQUIRE(m.allows(at(4), one, 2 * second, second));
        m.followed(at(2), at(4), false);
        m.wrote(20 * second, second);
        CHECK_FALSE(m.allows(at(3), two, 20 * second, second));
        CHECK_FALSE(m.allows(at(1), two, 20 * second, second));
        CHECK(m.allows(at(2), two, 20 * second, second));
    }
}

TEST_CASE("peer_moves: changes a minute are limited", "[quic][limits]")
{
    peer_moves m;
    for (unsigned i = 0; i < peer_moves::max_a_minute; ++i) {
        REQUIRE(m.allows(at(7), one, 0, second));
        m.followed(at(8), at(7), true);
    }
    CHECK_FALSE(m.allows(at(7), one, 59 * second, second));
    CHECK(m.allows(at(7), one, 60 * second, second));
}

TEST_CASE("frame_walk: finds NEW_CONNECTION_ID behind every other frame", "[quic]")
{
    using bytes = std::vector<std::uint8_t>;
    const bytes data(5, 0x18);  // nothing in it counts
    const std::vector<bytes> others{{0x00},
                                    {0x01},
                                    {0x02, 9, 0, 0, 9},
                                    {0x02, 9, 0, 2, 1, 1, 1, 1, 1},
                                    {0x03, 9, 0, 0, 9, 1, 2, 3},
                                    {0x04, 4, 0, 9},
                                    {0x05, 4, 0},
                                    joined({{0x06, 0, 5}, data}),
                                    joined({{0x07, 5}, data}),
                                    joined({{0x0a, 4, 5}, data}),
                                    joined({{0x0b, 4, 5}, data}),
                                    joined({{0x0e, 4, 1, 5}, data}),
                                    joined({{0x0f, 4, 0x40, 70, 5}, data}),
                                    {0x10, 9},
                                    {0x11, 4, 9},
                                    {0x12, 9},
                                    {0x13, 9},
                                    {0x14, 9},
                                    {0x15, 4, 9},
                                    {0x16, 9},
                                    {0x17, 9},
                                    {0x19, 1},
                                    joined({{0x1a}, data, {1, 2, 3}}),
                                    joined({{0x1b}, data, {1, 2, 3}}),
                                    joined({{0x1c, 1, 0x18, 5}, data}),
                                    joined({{0x1d, 1, 5}, data}),
                                    {0x1e},
                                    joined({{0x31, 5}, data})};
    for (const auto& other : others) {
        INFO("type " << int(other[0]));
        auto packet = joined({other, new_id(7, 3), other, new_id(8, 4), {0, 0}});
        frame_walk walk(packet);
        const auto first = walk.next();
        REQUIRE(first);
        CHECK(first->sequence == 7);
        CHECK(first->retire_prior_to == 3);
        CHECK(first->whole.data() == packet.data() + other.size());
        CHECK(first->whole.size() == 28);
        const auto second_id = walk.next();
        REQUIRE(second_id);
        CHECK(second_id->sequence == 8);
        CHECK_FALSE(walk.next());
    }
    for (const int last : {0x08, 0x09, 0x0c, 0x0d, 0x30, 0x20, 0x40}) {
        INFO("nothing can follow type " << last);
        auto packet = joined({{static_cast<std::uint8_t>(last), 4, 4}, new_id(7, 3)});
        CHECK_FALSE(frame_walk(packet).next());
    }
    const auto whole = new_id(7, 3);
    for (std::size_t size = 0; size < whole.size(); ++size) {
        bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        CHECK_FALSE(frame_walk(cut).next());
    }
}

TEST_CASE("retired_ids: what asks to retire an id again becomes PADDING", "[quic]")
{
    retired_ids ids;
    CHECK(passes(ids, 2, 0));
    CHECK(passes(ids, 2, 0));  // only sent again: nothing is retired
    CHECK(passes(ids, 9, 5));
    CHECK_FALSE(passes(ids, 2, 0));
    CHECK(passes(ids, 3, 0));  // overtaken by 9: it is to be retired once
    CHECK_FALSE(passes(ids, 3, 1));
    CHECK(passes(ids, 9, 5));
    CHECK_FALSE(passes(ids, 0, 0));  // of the handshake
    CHECK_FALSE(passes(ids, 1, 0));
    CHECK(passes(ids, 4, 5));  // an error, for ngtcp2 to find
    auto packet = joined({{0x01}, new_id(3, 0), {0x01}});
    ids.look(packet);
    CHECK(packet.front() == 1);
    CHECK(packet.back() == 1);
    CHECK(std::accumulate(packet.begin(), packet.end(), 0) == 2);
}

TEST_CASE("retired_ids: memory of ids with gaps is bounded", "[quic][limits]")
{
    retired_ids ids;
    const auto issue = [&](std::uint32_t sequence, std::uint32_t prior) {
        std::vector<std::uint8_t> frame{0x18};
        for (const std::uint32_t n : {sequence | 0x80000000U, prior | 0x80000000U}) {
            for (const unsigned shift : {24U, 16U, 8U, 0U})
                frame.push_back(static_cast<std::uint8_t>((n >> shift) & 0xffU));
        }
        frame.push_back(8);
        frame.resize(frame.size() + 24, 0xaa);
        ids.look(frame);
        return frame[0] == 0x18;
    };
    CHECK(issue(2'000'000, 2'000'000));
    for (std::uint32_t i = 0; i < 1000; ++i) CHECK(issue(1000 + 2 * i, 0));
    for (std::uint32_t i = 0; i < 1000; ++i) CHECK_FALSE(issue(1000 + 2 * i, 0));
    CHECK_FALSE(issue(1001, 0));  // forgotten: it counts as seen
}
