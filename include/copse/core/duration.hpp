// std::chrono's durations and time points, without its calendars and formatting.
#pragma once

// <chrono> takes a sixth of the time in which <asio/awaitable.hpp> compiles, and most of it goes to what
// nothing here uses. <mutex> has to know durations too, and every standard library gives it no more.
#include <mutex>
