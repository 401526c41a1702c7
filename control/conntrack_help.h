// `conntrack -h`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace postern::control {

// With the options of a protocol where -p names one.
std::string ConntrackHelp(std::optional<uint8_t> protocol);

}  // namespace postern::control
