// A harness for decoders: what they are given is cut, flipped, made up and blown up; whatever it is, they
// answer, keep to their memory, and accept only what they would write themselves, where that is promised.
#pragma once

#include "tests/hostile/heap.hpp"

#include "tests/catch.hpp"
#include "tests/sanitizers.hpp"
#include "tests/support.hpp"

#include <copse/codec/varint.hpp>
#include <copse/core/bytes.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <time.h>

namespace copse::hostile {

using encoding = std::vector<std::byte>;

/// A decoder and what is known of it.
struct decoder {
    std::string name;
    /// Encodings that it accepts.
    std::vector<encoding> examples;
    /// Decodes; of what it accepts the encoding, nullopt for an error. It checks what else it can.
    std::function<std::optional<encoding>(byte_view)> decode;
    /// Accepted inputs are the only encoding of their value. Otherwise the encoding of what was decoded
    /// decodes to the same again.
    bool canonical = false;
    /// Bytes of memory that it may use for each byte of input, and besides.
    double memory_per_byte = 24;
    std::size_t memory = 16384;
    /// Longest inputs.
    std::size_t longest = 256U << 10;
};

namespace detail {

constexpr std::size_t decoders_account = 5;

/// Tries inputs and remembers what was the worst.
class decoder_trial {
public:
    explicit decoder_trial(const decoder& d) : of_(d), dice_(test::seed_or(1)) {}

    void run()
    {
        for (const encoding& e : of_.examples) {
            INFO(of_.name << ", example "
                          << test::hex(byte_view(e).first(std::min<std::size_t>(e.size(), 100))));
            CHECK(accepts(e));
            truncations(e);
            flips(e);
            numbers(e);
            longer(e);
        }
        noise();
        huge();
        std::printf(
            "copse hostile: decoder %-38s %7zu inputs, %6zu accepted, memory %5.1f bytes a byte "
            "at most\n",
            of_.name.c_str(), inputs_, accepted_, worst_memory_);
        CHECK(failures_ == 0);
        CHECK(accepted_ >= of_.examples.size());
        CHECK(inputs_ > 1000);
    }

private:
    bool accepts(byte_view input)
    {
        // In a block of its own size: sanitizers see every byte read behind it.
        const encoding exact(input.begin(), input.end());
        ++inputs_;
        const std::size_t before = heap::held(decoders_account);
        heap::forget_peak(decoders_account);
        heap::charge(decoders_account);
        auto got = of_.decode(exact);
        heap::charge(0);
        const std::size_t used = heap::peak(decoders_account) - before;
        const double allowed = double(of_.memory) + of_.memory_per_byte * double(exact.size());
        if (exact.size() >= 1024)
            worst_memory_ = std::max(worst_memory_, double(used) / double(exact.size()));
        if (double(used) > allowed) fail("used too much memory", exact, used);
        if (!got) return false;
        ++accepted_;
        if (of_.canonical && *got != exact) fail("accepted what it does not write", exact, 0);
        if (!of_.canonical) {
            const auto again = of_.decode(*got);
            if (again != got) fail("does not accept what it writes", exact, 0);
        }
        return true;
    }
    void fail(const char* what, byte_view input, std::size_t used)
    {
        if (++failures_ > 3) return;
        UNSCOPED_INFO(of_.name << " " << what << ", " << used << ", of " << input.size()
                               << " bytes: "
                               << test::hex(input.first(std::min<std::size_t>(input.size(), 200))));
        CHECK(failures_ == 0);
    }

    void truncations(const encoding& e)
    {
        const std::size_t step = 1 + e.size() / 1000;
        for (std::size_t n = 0; n < e.size(); n += step) accepts(byte_view(e).first(n));
    }
    void flips(const encoding& e)
    {
        encoding changed = e;
        const std::size_t bits = e.size() * 8;
        const std::size_t tries = std::min<std::size_t>(bits, 2000);
        for (std::size_t i = 0; i < tries; ++i) {
            const std::size_t at = tries == bits ? i : dice_.between<std::size_t>(0, bits - 1);
            const auto bit = static_cast<std::byte>(1U << at % 8);
            changed[at / 8] ^= bit;
            accepts(changed);
            changed[at / 8] ^= bit;
        }
    }
    // Other numbers wherever there could be one: varints, all of their size, and too long ones.
    void numbers(const encoding& e)
    {
        std::vector<encoding> values;
        for (const unsigned bits : {7U, 16U, 31U, 32U, 33U, 48U, 63U, 64U}) {
            encoding v;
            codec::append_varint(v, ~std::uint64_t{0} >> (64 - bits));
            values.push_back(v);
        }
        values.push_back(encoding(12, std::byte{0xff}));
        values.push_back(encoding(8, std::byte{0xff}));
        const std::size_t step = 1 + e.size() / 100;
        for (std::size_t at = 0; at < e.size(); at += step) {
            for (const encoding& v : values) {
                encoding changed(e.begin(), e.begin() + static_cast<std::ptrdiff_t>(at));
                changed.insert(changed.end(), v.begin(), v.end());
                changed.insert(changed.end(), e.begin() + static_cast<std::ptrdiff_t>(at) + 1,
                               e.end());
                accepts(changed);
            }
        }
    }
    void longer(const encoding& e)
    {
        for (std::size_t more = 1; more <= 4096; more *= 4) {
            encoding changed = e;
            const auto tail = dice_.bytes(more);
            changed.insert(changed.end(), tail.begin(), tail.end());
            accepts(changed);
        }
        encoding repeated;
        while (repeated.size() < std::min<std::size_t>(of_.longest, 100'000) && !e.empty())
            repeated.insert(repeated.end(), e.begin(), e.end());
        accepts(repeated);
    }
    void noise()
    {
        for (int i = 0; i < 2000; ++i) accepts(dice_.bytes(dice_.between<std::size_t>(0, 300)));
        // Of the characters that texts are made of.
        constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz0123456789:./[]- \n";
        for (int i = 0; i < 500; ++i) {
            auto text = dice_.bytes(dice_.between<std::size_t>(0, 200));
            for (auto& b : text)
                b = static_cast<std::byte>(
                    letters[std::to_integer<std::size_t>(b) % letters.size()]);
            accepts(text);
        }
    }
    // As long as inputs may be, behind the beginning of each example: sixteen times as much takes about
    // sixteen times as long, not 256 times. What lies between is for caches and fresh pages; where a
    // sanitizer makes the pages of large blocks anew each time, for some copies of the input, too.
    void huge()
    {
        std::vector<encoding> beginnings{{}};
        for (const encoding& e : of_.examples) {
            for (const std::size_t keep : {std::size_t{1}, e.size() / 2, e.size()})
                beginnings.emplace_back(
                    e.begin(), e.begin() + static_cast<std::ptrdiff_t>(std::min(keep, e.size())));
        }
        if (beginnings.size() > 20) beginnings.resize(20);
        const auto copies =
            test::sanitized ? time_of_copies(of_.longest) : std::chrono::nanoseconds(0);
        for (const encoding& beginning : beginnings) {
            for (const unsigned fill :
                 {0x00U, 0x01U, 0x7fU, 0x80U, 0xffU, unsigned{'a'}, unsigned{'/'}}) {
                const auto slow = time_of(beginning, fill, of_.longest);
                if (slow < std::chrono::milliseconds(2)) continue;
                const auto quick = time_of(beginning, fill, of_.longest / 16);
                CHECK(slow < 80 * quick + copies);
            }
        }
    }
    // CPU time of making eight blocks of a size, the best of three.
    static std::chrono::nanoseconds time_of_copies(std::size_t size)
    {
        const encoding original(size, std::byte{1});
        auto best = std::chrono::nanoseconds::max();
        for (int i = 0; i < 3; ++i) {
            const auto before = now();
            for (int copies = 0; copies < 8; ++copies) {
                const encoding copy(original);
                CHECK(copy.back() == original.back());
            }
            best = std::min(best, now() - before);
        }
        return best;
    }
    // CPU time of the best of three.
    std::chrono::nanoseconds time_of(encoding input, unsigned fill, std::size_t size)
    {
        input.resize(std::max(size, input.size()), static_cast<std::byte>(fill));
        auto best = std::chrono::nanoseconds::max();
        for (int i = 0; i < 3; ++i) {
            const auto before = now();
            accepts(input);
            best = std::min(best, now() - before);
        }
        return best;
    }
    static std::chrono::nanoseconds now()
    {
        timespec t{};
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
    }

    const decoder& of_;
    test::seeded_rng dice_;
    std::size_t inputs_ = 0;
    std::size_t accepted_ = 0;
    std::size_t failures_ = 0;
    double worst_memory_ = 0;
};

}  // namespace detail

/// Tries a decoder with everything.
inline void torment(const decoder& d)
{
    detail::decoder_trial(d).run();
}

/// What must hold of everything that is decoded; cheaper than CHECK, and as fatal.
inline void must(bool good, const char* what)
{
    if (!good) throw std::logic_error(what);
}

inline encoding encoding_of(byte_view bytes)
{
    return {bytes.begin(), bytes.end()};
}
inline encoding encoding_of(std::string_view text)
{
    return encoding_of(as_bytes(text));
}

}  // namespace copse::hostile
