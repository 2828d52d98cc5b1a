#include "tests/catch.hpp"
#include "tests/support.hpp"

#include <copse/quic/identity.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

using namespace copse;
using namespace copse::quic;
using namespace copse::test;

namespace {

template <std::size_t N>
std::array<std::byte, N> fixed(std::string_view hex_text)
{
    const auto bytes = from_hex(hex_text);
    REQUIRE(bytes.size() == N);
    std::array<std::byte, N> out;
    std::copy(bytes.begin(), bytes.end(), out.begin());
    return out;
}

struct vector_of_rfc {
    const char* seed;
    const char* id;
    const char* message;
    const char* signature;
};

// RFC 8032 section 7.1, tests 1 and 2.
constexpr vector_of_rfc vectors[] = {
    {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b"
     "46b"
     "d25bf5f0595bbe24655141438e7a100b"},
    {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11"
     "d8c"
     "387b2eaeb4302aeeb00d291612bb0c00"}};

// The order of the group, little endian: 2^252 + 27742317777372353535851937790883648493.
constexpr const char* group_order =
    "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

}  // namespace

TEST_CASE("identity: the keys and signatures of RFC 8032", "[quic]")
{
    for (const auto& v : vectors) {
        const auto key = secret_key::from_seed(fixed<32>(v.seed));
        CHECK(hex(key.id().bytes) == v.id);
        CHECK(hex(key.seed()) == v.seed);
        CHECK(is_valid(key.id()));
        const auto message = from_hex(v.message);
        const signature signed_now = key.sign(message);
        CHECK(hex(signed_now) == v.signature);
        CHECK(verify(key.id(), message, signed_now));
    }
}

TEST_CASE("identity: nothing but the signature of this key on this message is one", "[quic]")
{
    const auto key = secret_key::from_seed(fixed<32>(vectors[0].seed));
    const auto other = secret_key::from_seed(fixed<32>(vectors[1].seed));
    const auto message = bytes("copse");
    const signature good = key.sign(message);
    REQUIRE(verify(key.id(), message, good));
    CHECK_FALSE(verify(other.id(), message, good));
    CHECK_FALSE(verify(key.id(), bytes("Copse"), good));
    CHECK_FALSE(verify(key.id(), {}, good));
    for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
        signature flipped = good;
        flipped[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
        REQUIRE_FALSE(verify(key.id(), message, flipped));
    }
    // S + L is the same number in the group, but a second text of the signature.
    const auto order = fixed<32>(group_order);
    signature larger = good;
    unsigned carry = 0;
    for (std::size_t i = 0; i < 32; ++i) {
        carry += std::to_integer<unsigned>(larger[32 + i]) + std::to_integer<unsigned>(order[i]);
        larger[32 + i] = static_cast<std::byte>(carry & 0xff);
        carry >>= 8;
    }
    REQUIRE(carry == 0);
    CHECK_FALSE(verify(key.id(), message, larger));
}

TEST_CASE("identity: ids that are no key are refused", "[quic]")
{
    const char* const points[] = {
        // The neutral element, a point of order 8, and -1, of order 2.
        "0100000000000000000000000000000000000000000000000000000000000000",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        // The prime itself, a second text of 0; all bits; no point of the curve.
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "0200000000000000000000000000000000000000000000000000000000000000"};
    // With R the neutral element and S 0, a verifier that takes small orders takes any message.
    signature forged{};
    forged[0] = std::byte{1};
    for (const char* const point : points) {
        INFO(point);
        const endpoint_id id{fixed<32>(point)};
        CHECK_FALSE(is_valid(id));
        CHECK_FALSE(verify(id, bytes("copse"), forged));
    }
}

TEST_CASE("identity: generated keys differ and are keys", "[quic]")
{
    const auto one = secret_key::generate();
    const auto two = secret_key::generate();
    CHECK(one.id() != two.id());
    CHECK(is_valid(one.id()));
    CHECK(verify(two.id(), bytes("x"), two.sign(bytes("x"))));
    auto copy = one;
    CHECK(copy.id() == one.id());
    copy = two;
    CHECK(copy.sign(bytes("x")) == two.sign(bytes("x")));
}
