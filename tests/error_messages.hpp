// What every enum of errors must have.
#pragma once

#include "tests/catch.hpp"

#include <set>
#include <string>
#include <string_view>
#include <system_error>

namespace copse::test {

/// Checks that the errors 1 to `last` have a message each of their own, and that nothing else has one.
template <class Errc>
void check_messages(Errc last, std::string_view category)
{
    const std::error_code code = last;
    CHECK(code.category().name() == category);
    std::set<std::string> messages;
    for (int i = 1; i <= code.value(); ++i) messages.insert(code.category().message(i));
    CHECK(messages.size() == static_cast<std::size_t>(code.value()));
    const std::string unknown = code.category().message(code.value() + 1);
    CHECK(unknown.starts_with("unknown "));
    CHECK(code.category().message(0) == unknown);
    CHECK(messages.count(unknown) == 0);
}

}  // namespace copse::test
