// System calls that fail on demand. A test defines the function of the C library that it wants to see fail,
// asks here, and makes the real call through syscall() when nothing is planned.
#pragma once

#include <cerrno>
#include <cstddef>
#include <optional>
#include <string_view>

namespace copse::test {

/// What happens to calls of one name in this thread, in place of the real call.
struct call_fault {
    std::string_view call;  ///< as the function is named
    int error = 0;         ///< errno of the failure; 0: the call does its work, but on `most` bytes
    int skip = 0;          ///< calls that are left alone first
    int times = 1;         ///< calls concerned then
    std::size_t most = 0;  ///< see error
};

/// Plans a fault for as long as it lives, one at a time.
class planned_fault {
public:
    explicit planned_fault(const call_fault& fault) { current() = fault; }
    planned_fault(const planned_fault&) = delete;
    planned_fault& operator=(const planned_fault&) = delete;
    ~planned_fault() { current().reset(); }

    /// Whether the calls concerned were all made.
    [[nodiscard]] bool happened() const { return current() && current()->times == 0; }

    /// The fault of the call being made, if one is due.
    static std::optional<call_fault> take(std::string_view call)
    {
        auto& planned = current();
        if (!planned || planned->call != call || planned->times == 0) return std::nullopt;
        if (planned->skip > 0) {
            --planned->skip;
            return std::nullopt;
        }
        --planned->times;
        return planned;
    }

    /// Sets errno when a failure of the call is due.
    static bool fails(std::string_view call)
    {
        const auto due = take(call);
        if (due) errno = due->error;
        return due.has_value();
    }

private:
    static std::optional<call_fault>& current()
    {
        static thread_local std::optional<call_fault> fault;
        return fault;
    }
};

}  // namespace copse::test
