#include "dataplane/dpdk/eal.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "dataplane/dpdk/clock.h"
#include "dataplane/dpdk/host_interface.h"

namespace postern::dpdk {
namespace {

TEST(Device, TellsPciAddressesFromVirtualDevices) {
  const std::pair<const char*, bool> rows[] = {
      {"0000:03:00.0", true},
      {"03:00.1", true},
      {"0000:03:00.0,opt=1", true},
      {"net_null0", false},
      {"net_af_packet0", false},
      {"net_pcap0,rx_pcap=/a.b:c", false},
      {"03:00", false},
      {"", false},
  };
  for (const auto& [device, pci] : rows) EXPECT_EQ(IsPciAddress(device), pci) << device;
}

TEST(Device, ReadsNameAndArguments) {
  const std::string device = "net_af_packet0,iface=veth0,qpairs=2";
  EXPECT_EQ(DeviceName(device), "net_af_packet0");
  EXPECT_EQ(DeviceArgument(device, "iface"), "veth0");
  EXPECT_EQ(DeviceArgument(device, "qpairs"), "2");
  EXPECT_EQ(DeviceArgument(device, "pairs"), "");
  EXPECT_EQ(DeviceArgument("net_null0", "iface"), "");
}

TEST(EalArguments, MapWorkersToCpusThatMayRepeat) {
  RuntimeConfig config;
  config.main_core = 0;
  config.workers = {1, 1, 0};
  config.file_prefix = "test";
  config.ports.resize(2);
  config.ports[0].device = "0000:03:00.0";
  config.ports[1].device = "net_null0";
  config.eal_args = {"--iova-mode=va"};
  const std::vector<std::string> arguments = EalArguments(config, false);
  const auto has = [&](const char* argument) {
    return std::find(arguments.begin(), arguments.end(), argument) != arguments.end();
  };
  EXPECT_TRUE(has("--lcores=0@0,1@1,2@1,3@0"));
  EXPECT_TRUE(has("--no-huge"));
  EXPECT_TRUE(has("--no-shconf"));
  EXPECT_TRUE(has("--file-prefix=test"));
  EXPECT_TRUE(has("0000:03:00.0"));
  EXPECT_FALSE(has("--no-pci"));
  EXPECT_EQ(arguments.back(), "--iova-mode=va");
  config.ports[0].device = "net_null1";
  const std::vector<std::string> huge = EalArguments(config, true);
  EXPECT_EQ(std::count(huge.begin(), huge.end(), "--no-huge"), 0);
  EXPECT_EQ(std::count(huge.begin(), huge.end(), "--in-memory"), 1);
  EXPECT_EQ(std::count(huge.begin(), huge.end(), "--no-pci"), 1);
}

TEST(StartEal, NamesTheCpuThatIsMissing) {
  RuntimeConfig config;
  config.workers = {4000};
  const net::Status status = StartEal(config);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().find("4000"), std::string::npos);
}

TEST(Clock, FollowsTheMonotonicClock) {
  const Clock clock;
  timespec before{};
  clock_gettime(CLOCK_MONOTONIC, &before);
  const timespec pause{0, 50'000'000};
  nanosleep(&pause, nullptr);
  const net::Time now = clock.Now();
  timespec after{};
  clock_gettime(CLOCK_MONOTONIC, &after);
  const auto to_time = [](const timespec& t) {
    return static_cast<net::Time>(t.tv_sec) * net::kSecond + static_cast<net::Time>(t.tv_nsec);
  };
  EXPECT_GE(now, to_time(before) + 49 * net::kMillisecond);
  EXPECT_LE(now, to_time(after) + net::kMillisecond);
  EXPECT_EQ(clock.At(0), clock.At(1)) << "before its start there is only its start";
}

TEST(TwinMac, IsAnotherStationOfTheSameKind) {
  for (const char* text : {"02:00:00:00:00:01", "00:1b:21:aa:bb:cc", "ff:50:00:00:00:00"}) {
    const net::MacAddress port = *net::ParseMac(text);
    const net::MacAddress twin = TwinMac(port);
    EXPECT_NE(twin, port);
    EXPECT_FALSE(twin.IsMulticast());
    EXPECT_EQ(twin.bytes[0] & 0x02, 0x02);
  }
}

}  // namespace
}  // namespace postern::dpdk
