#include "catch.hpp"
#include "json.hpp"

using namespace copse::test;

TEST_CASE("json: reads every kind of value", "[json]")
{
    const auto v = json::parse(
        R"( {"a":[1,-2,18446744073709551615,"7",1.5e1],"b":{"t":true,"f":false,"n":null},)"
        R"("s":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00","e":[],"o":{}} )");
    CHECK(v.size() == 5);
    CHECK(v["a"].size() == 5);
    CHECK(v["a"][0].as_u64() == 1);
    CHECK(v["a"][1].as_i64() == -2);
    CHECK(v["a"][2].as_u64() == 18446744073709551615u);
    CHECK(v["a"][3].as_u64() == 7);
    CHECK(v["a"][4].as_double() == 15.0);
    CHECK(v["b"]["t"].as_bool());
    CHECK_FALSE(v["b"]["f"].as_bool());
    CHECK(v["b"]["n"].is_null());
    CHECK(v["s"].as_string() == "\"\\/\b\f\n\r\t\xc3\xa9\xf0\x9f\x98\x80");
    CHECK(v["e"].empty());
    CHECK(v["o"].members().empty());
    CHECK(v.contains("a"));
    CHECK_FALSE(v.contains("z"));
    CHECK_THROWS(v["z"]);
    CHECK_THROWS(v["a"][5]);
    CHECK_THROWS(v["a"][1].as_u64());
    CHECK_THROWS(v["a"].as_string());
}

TEST_CASE("json: refuses what RFC 8259 does not allow", "[json]")
{
    for (const char* bad :
         {"", "{", "[1,]", "{\"a\":1,}", "01", "1.", "-", "nul", "\"\n\"", "\"\\x\"", "\"\\ud800\"",
          "[1] 2", "{a:1}", "+1", "\"a", "\"\\u12g4\""}) {
        INFO(bad);
        CHECK_THROWS_AS(json::parse(bad), std::runtime_error);
    }
}

TEST_CASE("json: loads the vectors", "[json]")
{
    const auto v = load_vectors("iroh-blobs.json");
    CHECK(v["alpn"].as_string() == "/iroh-bytes/4");
    CHECK(text(v["alpn_hex"].as_bytes()) == "/iroh-bytes/4");
}

TEST_CASE("json: a member of a temporary may be iterated", "[json]")
{
    int found = 0;
    for (const auto& v : load_vectors("iroh-blobs.json")["requests"]) found += v.contains("get");
    CHECK(found == 13);
}
