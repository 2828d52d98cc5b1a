// A small strict JSON reader (RFC 8259) for the vectors under tests/vectors/. Anything it does not
// like throws: a vector that cannot be read is a broken test, never a skipped one.
#pragma once

#include "support.hpp"

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace copse::test::json {

class value;

/// One `name: value` of an object, in the order of the file.
struct member;

/// A JSON value. Accessors throw std::runtime_error when the value is of another kind.
class value {
public:
    using array = std::vector<value>;
    using object = std::vector<member>;
    /// A number keeps its text, so that no integer loses digits.
    struct number {
        std::string text;
    };

    value() = default;
    explicit value(object members);
    template <class T>
    explicit value(T&& from)
        requires(!std::is_same_v<std::remove_cvref_t<T>, value>)
        : data_(std::forward<T>(from))
    {}

    [[nodiscard]] bool is_null() const { return std::holds_alternative<std::nullptr_t>(data_); }
    [[nodiscard]] bool is_string() const { return std::holds_alternative<std::string>(data_); }
    [[nodiscard]] bool is_array() const { return std::holds_alternative<array>(data_); }
    [[nodiscard]] bool is_object() const { return std::holds_alternative<shared_object>(data_); }
    [[nodiscard]] bool is_number() const { return std::holds_alternative<number>(data_); }

    [[nodiscard]] bool as_bool() const { return as<bool>("a boolean"); }
    [[nodiscard]] const std::string& as_string() const { return as<std::string>("a string"); }
    /// The bytes of a string of hexadecimal digits.
    [[nodiscard]] std::vector<std::byte> as_bytes() const { return from_hex(as_string()); }
    /// An unsigned integer, written as a number or, as vectors do with large ones, as a string.
    [[nodiscard]] std::uint64_t as_u64() const { return as_integer<std::uint64_t>(); }
    [[nodiscard]] std::int64_t as_i64() const { return as_integer<std::int64_t>(); }
    [[nodiscard]] double as_double() const { return std::stod(as<number>("a number").text); }

    /// Elements of an array or members of an object.
    [[nodiscard]] std::size_t size() const
    {
        return is_object() ? member_count() : as<array>("an array or object").size();
    }
    [[nodiscard]] bool empty() const { return size() == 0; }
    /// Whether this object has a member of that name.
    [[nodiscard]] bool contains(std::string_view name) const;
    [[nodiscard]] const value& operator[](std::string_view name) const&;
    [[nodiscard]] const value& operator[](const char* name) const&
    {
        return (*this)[std::string_view(name)];
    }
    [[nodiscard]] const value& operator[](std::size_t index) const&
    {
        const auto& elements = as<array>("an array");
        if (index >= elements.size()) throw std::runtime_error("json: index past the end");
        return elements[index];
    }
    [[nodiscard]] const value& operator[](int index) const&
    {
        return (*this)[static_cast<std::size_t>(index)];
    }
    /// Of a temporary: a value of its own, for `for (auto& v : load_vectors("x.json")["y"])`.
    template <class Key>
    [[nodiscard]] value operator[](const Key& key) &&
    {
        return std::as_const(*this)[key];
    }

    /// Iteration over the elements of an array.
    [[nodiscard]] auto begin() const { return as<array>("an array").begin(); }
    [[nodiscard]] auto end() const { return as<array>("an array").end(); }
    /// The members of an object: `for (const auto& [name, value] : v.members())`.
    [[nodiscard]] const object& members() const { return *as<shared_object>("an object"); }

private:
    // Behind a pointer, since a member is not complete yet where this class is defined.
    using shared_object = std::shared_ptr<const object>;

    [[nodiscard]] std::size_t member_count() const;
    template <class T>
    const T& as(const char* wanted) const
    {
        if (const T* found = std::get_if<T>(&data_)) return *found;
        throw std::runtime_error(std::string("json: not ") + wanted);
    }
    template <class Integer>
    Integer as_integer() const
    {
        const std::string& text = is_string() ? as_string() : as<number>("an integer").text;
        Integer out{};
        const char* const end = text.data() + text.size();
        const auto [stop, ec] = std::from_chars(text.data(), end, out);
        if (ec != std::errc{} || stop != end)
            throw std::runtime_error("json: not an integer: " + text);
        return out;
    }

    std::variant<std::nullptr_t, bool, number, std::string, array, shared_object> data_ = nullptr;
};

struct member {
    std::string name;
    json::value value;
};

inline value::value(object members) : data_(std::make_shared<const object>(std::move(members))) {}

inline std::size_t value::member_count() const
{
    return members().size();
}

inline bool value::contains(std::string_view name) const
{
    for (const auto& m : members()) {
        if (m.name == name) return true;
    }
    return false;
}

inline const value& value::operator[](std::string_view name) const&
{
    for (const auto& m : members()) {
        if (m.name == name) return m.value;
    }
    throw std::runtime_error("json: no member " + std::string(name));
}

namespace detail {

class parser {
public:
    explicit parser(std::string_view text) : text_(text) {}

    value document()
    {
        value out = element(0);
        space();
        if (at_ != text_.size()) fail("text after the value");
        return out;
    }

private:
    static constexpr int max_depth = 200;

    [[noreturn]] void fail(const std::string& why) const
    {
        throw std::runtime_error("json: " + why + " at offset " + std::to_string(at_));
    }
    void space()
    {
        while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != text_.npos)
            ++at_;
    }
    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    bool take(char c)
    {
        if (at_ == text_.size() || text_[at_] != c) return false;
        ++at_;
        return true;
    }
    void expect(char c)
    {
        if (!take(c)) fail(std::string("expected ") + c);
    }
    void word(std::string_view w)
    {
        if (text_.substr(at_, w.size()) != w) fail("unknown word");
        at_ += w.size();
    }

    value element(int depth)
    {
        if (depth > max_depth) fail("nested too deeply");
        space();
        switch (peek()) {
        case '{': return object(depth);
        case '[': return array(depth);
        case '"': return value(string());
        case 't': word("true"); return value(true);
        case 'f': word("false"); return value(false);
        case 'n': word("null"); return value(nullptr);
        default: return number();
        }
    }

    value object(int depth)
    {
        value::object out;
        expect('{');
        space();
        if (take('}')) return value(std::move(out));
        do {
            space();
            std::string name = string();
            space();
            expect(':');
            out.push_back({std::move(name), element(depth + 1)});
            space();
        } while (take(','));
        expect('}');
        return value(std::move(out));
    }

    value array(int depth)
    {
        value::array out;
        expect('[');
        space();
        if (take(']')) return value(std::move(out));
        do {
            out.push_back(element(depth + 1));
            space();
        } while (take(','));
        expect(']');
        return value(std::move(out));
    }

    void digits()
    {
        if (peek() < '0' || peek() > '9') fail("expected a digit");
        while (peek() >= '0' && peek() <= '9') ++at_;
    }

    value number()
    {
        const std::size_t start = at_;
        static_cast<void>(take('-'));  // optional
        if (!take('0')) digits();
        if (take('.')) digits();
        if (take('e') || take('E')) {
            if (!take('+')) static_cast<void>(take('-'));  // optional
            digits();
        }
        return value(value::number{std::string(text_.substr(start, at_ - start))});
    }

    unsigned hex4()
    {
        const std::string_view four = text_.substr(at_, 4);
        unsigned out = 0;
        const auto [stop, ec] = std::from_chars(four.data(), four.data() + four.size(), out, 16);
        if (four.size() != 4 || ec != std::errc{} || stop != four.data() + 4)
            fail("bad \\u escape");
        at_ += 4;
        return out;
    }

    static void append_utf8(std::string& out, unsigned c)
    {
        const auto put = [&out](unsigned b) { out += static_cast<char>(b); };
        if (c < 0x80) {
            put(c);
        } else if (c < 0x800) {
            put(0xc0 | c >> 6);
            put(0x80 | (c & 0x3f));
        } else if (c < 0x10000) {
            put(0xe0 | c >> 12);
            put(0x80 | (c >> 6 & 0x3f));
            put(0x80 | (c & 0x3f));
        } else {
            put(0xf0 | c >> 18);
            put(0x80 | (c >> 12 & 0x3f));
            put(0x80 | (c >> 6 & 0x3f));
            put(0x80 | (c & 0x3f));
        }
    }

    void escape(std::string& out)
    {
        if (at_ == text_.size()) fail("unfinished escape");
        const char c = text_[at_++];
        switch (c) {
        case '"':
        case '\\':
        case '/': out += c; return;
        case 'b': out += '\b'; return;
        case 'f': out += '\f'; return;
        case 'n': out += '\n'; return;
        case 'r': out += '\r'; return;
        case 't': out += '\t'; return;
        case 'u': break;
        default: fail("unknown escape");
        }
        unsigned code = hex4();
        if (code >= 0xdc00 && code < 0xe000) fail("lone surrogate");
        if (code >= 0xd800 && code < 0xdc00) {
            word("\\u");
            const unsigned low = hex4();
            if (low < 0xdc00 || low >= 0xe000) fail("lone surrogate");
            code = 0x10000 + ((code - 0xd800) << 10 | (low - 0xdc00));
        }
        append_utf8(out, code);
    }

    std::string string()
    {
        std::string out;
        expect('"');
        for (;;) {
            if (at_ == text_.size()) fail("unfinished string");
            const char c = text_[at_++];
            if (c == '"') return out;
            if (static_cast<unsigned char>(c) < 0x20) fail("control character in a string");
            if (c == '\\') escape(out);
            else out += c;
        }
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

}  // namespace detail

/// Reads one JSON text. Throws std::runtime_error with the offset.
[[nodiscard]] inline value parse(std::string_view text)
{
    return detail::parser(text).document();
}

}  // namespace copse::test::json

namespace copse::test {

/// The named file of tests/vectors/, parsed.
[[nodiscard]] inline json::value load_vectors(std::string_view name)
{
    return json::parse(read_file(vector_path(name)));
}

}  // namespace copse::test
