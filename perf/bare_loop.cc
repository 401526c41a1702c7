// bare-loop SECONDS MBUFS dpdk|packed EAL-ARGUMENT...: what the ports alone can do on one core.
// Receives bursts of 32 from every port in turn and sends them out of the next one, without looking
// at them. Prints one line of JSON. The yardstick of perf/compare.
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <time.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace {

constexpr uint16_t kBurst = 32;
constexpr uint16_t kDescriptors = 1024;

bool StartPort(uint16_t port, rte_mempool* pool) {
  rte_eth_conf conf{};
  return rte_eth_dev_configure(port, 1, 1, &conf) == 0 &&
         rte_eth_rx_queue_setup(port, 0, kDescriptors, SOCKET_ID_ANY, nullptr, pool) == 0 &&
         rte_eth_tx_queue_setup(port, 0, kDescriptors, SOCKET_ID_ANY, nullptr) == 0 &&
         rte_eth_dev_start(port) == 0;
}

// A cache a core, as posternd has it, and room for 2 KB frames. "dpdk": as
// rte_pktmbuf_pool_create lays them out, which of ordinary memory is one a page. "packed": side by
// side, as posternd does in ordinary memory (dataplane/dpdk/packet_buffer.cc).
rte_mempool* MakePool(unsigned mbufs, bool packed) {
  if (!packed) {
    return rte_pktmbuf_pool_create("bare", mbufs, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
  }
  rte_pktmbuf_pool_private layout{};
  layout.mbuf_data_room_size = RTE_MBUF_DEFAULT_BUF_SIZE;
  rte_mempool* pool = rte_mempool_create_empty(
      "bare", mbufs, sizeof(rte_mbuf) + RTE_MBUF_DEFAULT_BUF_SIZE, 256,
      sizeof(rte_pktmbuf_pool_private), SOCKET_ID_ANY, RTE_MEMPOOL_F_NO_IOVA_CONTIG);
  if (pool == nullptr || rte_mempool_set_ops_byname(pool, "ring_mp_mc", nullptr) != 0) {
    return nullptr;
  }
  rte_pktmbuf_pool_init(pool, &layout);
  if (rte_mempool_populate_default(pool) < 0) return nullptr;
  rte_mempool_obj_iter(pool, rte_pktmbuf_init, nullptr);
  return pool;
}

uint64_t Forward(uint16_t from, uint16_t to) {
  std::array<rte_mbuf*, kBurst> mbufs;
  const uint16_t received = rte_eth_rx_burst(from, 0, mbufs.data(), kBurst);
  const uint16_t sent = rte_eth_tx_burst(to, 0, mbufs.data(), received);
  for (uint16_t i = sent; i < received; ++i) rte_pktmbuf_free(mbufs[i]);
  return sent;
}

// Packets in `cycles`.
uint64_t Run(uint16_t ports, uint64_t cycles) {
  uint64_t packets = 0;
  const uint64_t end = rte_rdtsc() + cycles;
  while (rte_rdtsc() < end) {
    for (uint16_t port = 0; port < ports; ++port) {
      packets += Forward(port, static_cast<uint16_t>((port + 1) % ports));
    }
  }
  return packets;
}

double CpuSeconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "bare-loop SECONDS MBUFS dpdk|packed EAL-ARGUMENT...\n");
    return 2;
  }
  const double seconds = std::atof(argv[1]);
  const auto mbufs = static_cast<unsigned>(std::atoi(argv[2]));
  const bool packed = std::string_view(argv[3]) == "packed";
  argv[3] = argv[0];
  if (seconds <= 0 || rte_eal_init(argc - 3, argv + 3) < 0) return 1;
  rte_mempool* pool = MakePool(mbufs, packed);
  const uint16_t ports = rte_eth_dev_count_avail();
  if (pool == nullptr || ports == 0) {
    std::fprintf(stderr, "bare-loop: no ports, or no memory for %u buffers\n", mbufs);
    return 1;
  }
  for (uint16_t port = 0; port < ports; ++port) {
    if (!StartPort(port, pool)) {
      std::fprintf(stderr, "bare-loop: port %u doesn't start\n", unsigned{port});
      return 1;
    }
  }
  const auto cycles = static_cast<uint64_t>(seconds * static_cast<double>(rte_get_tsc_hz()));
  Run(ports, cycles / 4);  // warm
  const double cpu = CpuSeconds();
  const uint64_t packets = Run(ports, cycles);
  std::printf("{\"packets\":%llu,\"seconds\":%.6f,\"cpu_seconds\":%.6f}\n",
              static_cast<unsigned long long>(packets), seconds, CpuSeconds() - cpu);
  return 0;
}
