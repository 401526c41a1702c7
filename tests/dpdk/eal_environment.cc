// Starts the EAL once for all tests of this executable: ordinary memory, no files, no devices.
#include <gtest/gtest.h>
#include <rte_eal.h>

#include "dataplane/dpdk/eal.h"

namespace {

class EalEnvironment : public testing::Environment {
 public:
  void SetUp() override {
    postern::dpdk::RuntimeConfig config;
    config.workers = {0};
    config.hugepages = false;
    config.memory_mb = 512;
    const postern::net::Status status = postern::dpdk::StartEal(config);
    ASSERT_TRUE(status.ok()) << status.error();
  }
  void TearDown() override { postern::dpdk::StopEal(); }
};

[[maybe_unused]] const auto* const kEnvironment =
    testing::AddGlobalTestEnvironment(new EalEnvironment);

}  // namespace
