// qlog: one log for each connection and side, whole records, limits, files that cannot be made.
#include "tests/quic/meeting.hpp"

#include <algorithm>
#include <filesystem>

using namespace copse;
using copse::test::loopback_options;
using copse::test::meeting;
using copse::test::run_meeting;
using copse::test::temporary_directory;
using copse::test::transfer;

namespace {

std::vector<std::string> names_in(const temporary_directory& d)
{
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(d.path())) {
        out.push_back(entry.path().filename().string());
    }
    std::ranges::sort(out);
    return out;
}

awaitable<void> one_transfer(meeting& m)
{
    const std::size_t got = co_await transfer(m, 100'000);
    CHECK(got == 100'000);
}

/// A client that logs into the directory.
quic::endpoint_options logging_options(const temporary_directory& d, std::uint64_t limit)
{
    auto o = loopback_options();
    o.qlog = quic::qlog_directory(d.path().string(), limit);
    return o;
}

}  // namespace

TEST_CASE("qlog: both sides log a connection under its first id", "[quic]")
{
    const temporary_directory d;
    run_meeting(one_transfer, logging_options(d, 1U << 20), logging_options(d, 1U << 20));
    const auto names = names_in(d);
    REQUIRE(names.size() == 2);
    CHECK(names[0].size() == 32 + std::string("_client.sqlog").size());
    CHECK(names[0].substr(32) == "_client.sqlog");
    CHECK(names[1] == names[0].substr(0, 32) + "_server.sqlog");
    for (const auto& name : names) {
        const std::string log = copse::test::read_file(d / name);
        CHECK(log.starts_with("\x1e{"));
        CHECK(log.ends_with("}\n"));
        CHECK(log.find("\"qlog_version\":\"0.3\"") != std::string::npos);
        CHECK(log.find("stream") != std::string::npos);
    }
}

TEST_CASE("qlog: a Retry does not change the name", "[quic]")
{
    const temporary_directory d;
    auto careful = logging_options(d, 1U << 20);
    careful.retry_above = 0;
    run_meeting(one_transfer, careful, logging_options(d, 1U << 20));
    const auto names = names_in(d);
    REQUIRE(names.size() == 2);
    CHECK(names[1].substr(0, 32) == names[0].substr(0, 32));
    const std::string log = copse::test::read_file(d / names[0]);
    CHECK(log.find("retry") != std::string::npos);
}

TEST_CASE("qlog: a log stops whole at its limit", "[quic]")
{
    const temporary_directory d;
    run_meeting(one_transfer, loopback_options(), logging_options(d, 5000));
    const auto names = names_in(d);
    REQUIRE(names.size() == 1);
    const std::string log = copse::test::read_file(d / names[0]);
    CHECK(log.size() > 1000);
    CHECK(log.size() <= 5000);
    CHECK(log.ends_with("}\n"));
}

TEST_CASE("qlog: a directory that is not there costs the log, not the connection", "[quic]")
{
    const temporary_directory d;
    auto o = loopback_options();
    o.qlog = quic::qlog_directory((d / "absent").string());
    run_meeting(one_transfer, loopback_options(), o);
    CHECK(names_in(d).empty());
}
