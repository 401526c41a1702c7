// What conntrack's plain lines and its XML have in common.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <iterator>
#include <string>
#include <utility>

namespace postern::control {

inline constexpr int64_t kNanosecondsASecond = 1'000'000'000;

template <typename... Args>
void Put(std::string* to, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(*to), format, std::forward<Args>(args)...);
}

}  // namespace postern::control
