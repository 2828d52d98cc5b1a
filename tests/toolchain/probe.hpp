// What the toolchain programs share: a value that notices wrong construction and destruction, and the
// smallest coroutine type that can await another. Each program has two forms of `probe()`: the one to
// write, and with COPSE_SHUNNED the one that g++ 12 gets wrong. It prints `ok` or `wrong`.
#pragma once

#include <coroutine>
#include <cstdio>
#include <deque>
#include <exception>
#include <optional>
#include <set>
#include <utility>

inline std::set<const void*> living;
inline int faults = 0;

inline void expect(bool condition)
{
    if (!condition) ++faults;
}

/// Counts a fault when it is used, copied or destroyed while it does not live.
class tracked {
public:
    tracked(int value = 0) : value_(value) { expect(living.insert(this).second); }
    tracked(const tracked& other) : value_(other.get()) { expect(living.insert(this).second); }
    tracked(tracked&& other) noexcept : value_(other.get()) { expect(living.insert(this).second); }
    tracked& operator=(const tracked& other)
    {
        expect(living.contains(this));
        value_ = other.get();
        return *this;
    }
    ~tracked() { expect(living.erase(this) == 1); }

    int get() const
    {
        expect(living.contains(this));
        return value_;
    }

private:
    int value_;
};

/// Coroutines that wait in `hop`, resumed by main() in turn.
inline std::deque<std::coroutine_handle<>> waiting;

struct hop {
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) const { waiting.push_back(h); }
    void await_resume() const noexcept {}
};

struct promise_base {
    std::coroutine_handle<> awaiter = std::noop_coroutine();
    std::exception_ptr thrown;

    struct resume_awaiter {
        bool await_ready() const noexcept { return false; }
        template <class Promise>
        std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> h) const noexcept
        {
            return h.promise().awaiter;
        }
        void await_resume() const noexcept {}
    };
    std::suspend_always initial_suspend() const noexcept { return {}; }
    resume_awaiter final_suspend() const noexcept { return {}; }
    void unhandled_exception() noexcept { thrown = std::current_exception(); }
};

template <class T = void>
class task;

template <class T>
struct promise : promise_base {
    std::optional<T> value;
    task<T> get_return_object();
    void return_value(T v) { value.emplace(std::move(v)); }
};

template <>
struct promise<void> : promise_base {
    task<void> get_return_object();
    void return_void() const noexcept {}
};

/// A lazily started coroutine.
template <class T>
class [[nodiscard]] task {
public:
    using promise_type = promise<T>;

    explicit task(std::coroutine_handle<promise_type> h) : handle_(h) {}
    task(task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    task& operator=(task&&) = delete;
    ~task()
    {
        if (handle_) handle_.destroy();
    }

    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> h) const noexcept
    {
        handle_.promise().awaiter = h;
        return handle_;
    }
    T await_resume() const
    {
        if (handle_.promise().thrown) std::rethrow_exception(handle_.promise().thrown);
        if constexpr (requires { handle_.promise().value; })
            return std::move(*handle_.promise().value);
    }

    /// Runs it and everything it waits for to the end.
    void run() const
    {
        handle_.resume();
        while (!waiting.empty()) {
            const auto next = waiting.front();
            waiting.pop_front();
            next.resume();
        }
        expect(handle_.done() && !handle_.promise().thrown);
    }

private:
    std::coroutine_handle<promise_type> handle_;
};

template <class T>
task<T> promise<T>::get_return_object()
{
    return task<T>(std::coroutine_handle<promise>::from_promise(*this));
}

inline task<void> promise<void>::get_return_object()
{
    return task<void>(std::coroutine_handle<promise>::from_promise(*this));
}

inline task<int> number(int n)
{
    co_await hop{};
    co_return n;
}

inline task<tracked> object(int n)
{
    co_await hop{};
    co_return tracked(n);
}

inline task<int> value_of(tracked t)
{
    co_await hop{};
    co_return t.get();
}

task<> probe();

int main()
{
    {
        const auto whole = probe();
        whole.run();
    }
    const bool good = faults == 0 && living.empty();
    std::puts(good ? "ok" : "wrong");
    return good ? 0 : 1;
}
