// The project's version, from meson.build.
#pragma once

#include <string_view>

namespace postern::control {

std::string_view Version();

}  // namespace postern::control
