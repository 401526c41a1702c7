// The configuration as the data plane wants it.
#pragma once

#include "control/config.h"
#include "dataplane/dpdk/runtime_config.h"

namespace postern::app {

// `seed`: random; hash keys come from it.
dpdk::RuntimeConfig MakeRuntimeConfig(const control::Config& config, uint64_t seed);

}  // namespace postern::app
