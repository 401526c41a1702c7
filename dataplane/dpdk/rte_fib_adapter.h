// route::Fib over rte_fib (DIR24_8) and rte_fib6 (trie): two or three memory accesses a look-up.
#pragma once

#include <cstdint>
#include <memory>

#include "dataplane/route/route_table.h"

namespace postern::dpdk {

// Room for `max_routes` prefixes of each family and next hops up to 32,767. Takes some 70 MB of the
// data plane's memory (memory_mb); null when that isn't there. Control thread; look-ups from any.
std::unique_ptr<route::Fib> MakeRteFib(uint32_t max_routes);

}  // namespace postern::dpdk
