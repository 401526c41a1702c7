#include "control/version.h"

namespace postern::control {

std::string_view Version() { return POSTERN_VERSION; }

}  // namespace postern::control
