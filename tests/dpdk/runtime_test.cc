// The whole data plane: EAL, ports, two workers, a host interface. Needs root.
#include "dataplane/dpdk/runtime.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <set>

#include "dataplane/dpdk/net_device.h"
#include "tests/dpdk/runtime_fixture.h"

namespace postern::test {
namespace {

using dpdk::Runtime;
using dpdk::RuntimeConfig;

// ---- starts that fail, and starts beside and after others ----

struct BadStart {
  const char* name;
  std::function<void(RuntimeConfig&)> spoil;
  std::vector<std::string> said;  // all of these in the sentence
};

class RuntimeStart : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
  }
};

TEST_F(RuntimeStart, SaysWhatIsWrong) {
  const BadStart rows[] = {
      {"no workers", [](auto& c) { c.workers.clear(); }, {"workers"}},
      {"no such cpu", [](auto& c) { c.workers = {999}; }, {"workers", "999"}},
      {"no interface",
       [](auto& c) { c.ports = {MakePort("wan0", "net_af_packet0,iface=nosuch0")}; },
       {"port wan0", "nosuch0"}},
      {"no driver",
       [](auto& c) { c.ports = {MakePort("wan0", "net_nosuch0")}; },
       {"port wan0", "net_nosuch0"}},
      {"no pci device",
       [](auto& c) { c.ports = {MakePort("wan0", "ffff:1f:1f.7")}; },
       {"ffff:1f:1f.7"}},
      {"same device twice",
       [](auto& c) {
         c.ports = {MakePort("a", "net_null0"), MakePort("b", "net_null0")};
       },
       {"port b", "net_null0"}},
      {"few mbufs",
       [](auto& c) {
         c.ports = {MakePort("a", "net_null0")};
         c.mbufs = 100;
       },
       {"mbufs"}},
      {"twin's name is taken",
       [](auto& c) { c.ports = {MakePort("lo", "net_null0", true)}; },
       {"port lo", "already"}},
      {"twin's name is too long",
       [](auto& c) { c.ports = {MakePort("a-name-of-17-chars", "net_null0", true)}; },
       {"15"}},
      {"bad EAL argument", [](auto& c) { c.eal_args = {"--no-such-option"}; }, {"DPDK"}},
  };
  for (const BadStart& row : rows) {
    const Child child([&]() -> std::string {
      EnterOwnNetwork();
      RuntimeConfig config = SmallConfig();
      row.spoil(config);
      const auto runtime = Runtime::Start(config);
      return runtime.ok() ? "started" : runtime.error();
    });
    const std::string answer = child.Read();
    for (const std::string& word : row.said) {
      EXPECT_NE(answer.find(word), std::string::npos) << row.name << " said: " << answer;
    }
  }
}

std::string StartAndTell() {
  EnterOwnNetwork();
  RuntimeConfig config = SmallConfig();
  config.ports = {MakePort("wan0", "net_null0", true)};
  const auto runtime = Runtime::Start(config);
  return runtime.ok() ? "up" : runtime.error();
}

TEST_F(RuntimeStart, TwoRunAtOnceAndAKilledOneLeavesNothingInTheWay) {
  int up[2];
  ASSERT_EQ(pipe(up), 0);
  const auto stay = [&]() -> std::string {
    EnterOwnNetwork();
    RuntimeConfig config = SmallConfig();
    config.file_prefix = "postern-test-stay";
    config.ports = {MakePort("wan0", "net_null0", true)};
    const auto runtime = Runtime::Start(config);
    const char text = runtime.ok() ? 'y' : 'n';
    [[maybe_unused]] const ssize_t written = write(up[1], &text, 1);
    pause();
    return "";
  };
  // What the child has said; '-' when it says nothing, having crashed.
  const auto answer = [&] {
    pollfd said{up[0], POLLIN, 0};
    char text = '-';
    return poll(&said, 1, 30'000) == 1 && read(up[0], &text, 1) == 1 ? text : '-';
  };
  Child first(stay);
  ASSERT_EQ(answer(), 'y');
  EXPECT_EQ(Child(StartAndTell).Read(), "up");
  first.Kill();
  Child second(stay);
  EXPECT_EQ(answer(), 'y');
  close(up[0]);
  close(up[1]);
}

// ---- traffic ----

constexpr char kWanMac[] = "02:00:00:00:00:01";
constexpr char kLanMac[] = "02:00:00:00:00:02";
constexpr char kPeerMac[] = "02:00:00:00:00:99";
constexpr int kFlows = 256;

class CountConnections : public pipeline::WorkerCommand {
 public:
  bool Step(pipeline::Pipeline& pipeline, net::Time) override {
    count = pipeline.tracker().size();
    return ++steps == 3;
  }
  size_t count = 0;
  int steps = 0;
};

class RuntimeTraffic : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    ASSERT_TRUE(EnterOwnNetwork());
    folder_ = std::filesystem::temp_directory_path() / ("runtime-test-" + std::to_string(getpid()));
    std::filesystem::create_directory(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string File(const char* name) const { return folder_ / name; }

  net::Result<std::unique_ptr<Runtime>> Start() {
    RuntimeConfig config = SmallConfig();
    config.ports = {
        MakePort("wan0", "net_pcap0,rx_pcap=" + File("none.pcap") + ",tx_pcap=" + File("wan.pcap")),
        MakePort("lan0", "net_pcap1,rx_pcap=" + File("in.pcap") + ",tx_pcap=" + File("lan.pcap"),
                 true)};
    config.ports[0].mac = net::ParseMac(kWanMac);
    config.ports[1].mac = net::ParseMac(kLanMac);
    config.ports[1].addresses = {*net::ParsePrefix("192.168.1.1/24"),
                                 *net::ParsePrefix("2001:db8:2::1/64")};
    return Runtime::Start(config);
  }

  std::unique_ptr<pipeline::Snapshot> MakeSnapshot(const Runtime& runtime, uint32_t generation) {
    rules::Model model;
    for (rules::FamilyModel* family : {&model.ipv4, &model.ipv6}) {
      family->present = {true, true, true, true};
    }
    rules::Rule masquerade;
    masquerade.target = rules::MasqueradeTarget{};
    masquerade.ip.out.name = "wan0";
    model.ipv4.table(net::Table::kNat).Find("POSTROUTING")->rules = {masquerade};
    rules::RuleSet::Options options;
    options.port_names = {"wan0", "lan0"};
    options.generation = generation;
    auto next = std::make_unique<pipeline::Snapshot>();
    next->generation = generation;
    next->rules = rules::RuleSet::Compile(model, options, &shared_, nullptr);
    for (unsigned i = 0; i < runtime.workers(); ++i) {
      next->worker_rules.push_back(std::make_unique<rules::WorkerRules>(*next->rules));
    }
    const std::vector<route::PortConfig> ports = {
        {0,
         "wan0",
         runtime.PortMac(0),
         runtime.HostMac(0),
         1500,
         false,
         {*net::ParsePrefix("203.0.113.2/24")}},
        {1,
         "lan0",
         runtime.PortMac(1),
         runtime.HostMac(1),
         1500,
         true,
         {*net::ParsePrefix("192.168.1.1/24"), *net::ParsePrefix("2001:db8:2::1/64")}}};
    const std::vector<route::StaticRoute> routes = {
        {*net::ParsePrefix("0.0.0.0/0"), net::ParseAddress(net::Family::kIpv4, "203.0.113.1"),
         net::kNoPort}};
    next->routes =
        std::make_shared<route::RouteTable>(ports, routes, route::MakeTrieFib(), generation);
    next->neighbors = {{net::Family::kIpv4, *net::ParseAddress(net::Family::kIpv4, "203.0.113.1"),
                        *net::ParseMac(kPeerMac), 0},
                       {net::Family::kIpv4, *net::ParseAddress(net::Family::kIpv4, "192.168.1.10"),
                        *net::ParseMac(kPeerMac), 1}};
    next->conntrack.max = 4096;
    return next;
  }

  // True when it becomes so within ten seconds.
  static bool Soon(const std::function<bool()>& condition) {
    for (int i = 0; i < 10'000; ++i) {
      if (condition()) return true;
      usleep(1000);
    }
    return false;
  }

  // A datagram from a LAN host to the appliance, through the twin and back.
  static int OpenServer() {
    const int server = socket(AF_INET, SOCK_DGRAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(5000);
    inet_pton(AF_INET, "192.168.1.1", &address.sin_addr);
    const timeval timeout{10, 0};
    setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    EXPECT_EQ(bind(server, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    return server;
  }
  static void AnswerOne(int server) {
    char text[64];
    sockaddr_in peer{};
    socklen_t size = sizeof(peer);
    const ssize_t got =
        recvfrom(server, text, sizeof(text), 0, reinterpret_cast<sockaddr*>(&peer), &size);
    ASSERT_EQ(std::string(text, static_cast<size_t>(std::max<ssize_t>(got, 0))), "hello");
    sendto(server, "world", 5, 0, reinterpret_cast<sockaddr*>(&peer), size);
  }

  void WriteInput() const {
    std::vector<Bytes> frames;
    for (uint16_t i = 0; i < kFlows; ++i) {
      frames.push_back(Packet()
                           .Eth(kPeerMac, kLanMac)
                           .Ipv4("192.168.1.10", "198.51.100.9")
                           .Udp(static_cast<uint16_t>(10'000 + i), 53)
                           .Build()
                           .Frame());
    }
    frames.push_back(Packet()
                         .Eth(kPeerMac, kLanMac)
                         .Ipv4("192.168.1.10", "192.168.1.1")
                         .Udp(4000, 5000)
                         .Payload("hello")
                         .Build()
                         .Frame());
    frames.push_back(Bytes(20));  // too short for anything
    WritePcap(File("in.pcap"), frames);
    WritePcap(File("none.pcap"), {});
  }

  std::filesystem::path folder_;
  rules::SharedState shared_;
};

TEST_F(RuntimeTraffic, ForwardsMasqueradesAndServesTheHostOnTwoWorkers) {
  WriteInput();
  auto started = Start();
  ASSERT_TRUE(started.ok()) << started.error();
  Runtime& runtime = **started;
  ASSERT_EQ(runtime.workers(), 2U);
  EXPECT_EQ(runtime.PortMac(1), *net::ParseMac(kLanMac));
  EXPECT_TRUE(dpdk::DeviceExists("lan0"));
  EXPECT_FALSE(dpdk::DeviceExists("wan0"));
  const int server = OpenServer();

  // Nothing moves before there are rules.
  usleep(50'000);
  EXPECT_EQ(runtime.Ports()[1].rx_packets, 0U);
  EXPECT_EQ(runtime.Publish(MakeSnapshot(runtime, 1)), nullptr);
  EXPECT_TRUE(Soon([&] { return runtime.Ports()[0].tx_packets == kFlows; }))
      << runtime.Ports()[0].tx_packets;
  AnswerOne(server);
  EXPECT_TRUE(Soon([&] { return runtime.Ports()[1].tx_packets >= 1; }));
  close(server);

  const auto workers = runtime.Workers();
  // One receive queue: the second worker lives on what the first hands over.
  EXPECT_GT(workers[0].handoffs_out, 0U);
  EXPECT_EQ(workers[1].handoffs_in, workers[0].handoffs_out);
  const auto ports = runtime.Ports();
  EXPECT_EQ(ports[1].rx_packets, kFlows + 2U);
  EXPECT_EQ(ports[1].drops[static_cast<size_t>(net::DropReason::kFrameTooShort)] +
                ports[1].drops[static_cast<size_t>(net::DropReason::kNotForUs)] +
                ports[1].drops[static_cast<size_t>(net::DropReason::kUnknownEtherType)],
            1U);

  // Commands are done by the worker that they are for.
  CountConnections counts[2];
  for (unsigned w = 0; w < 2; ++w) runtime.Run(w, &counts[w]);
  EXPECT_GT(counts[0].count, 0U);
  EXPECT_GT(counts[1].count, 0U);
  EXPECT_EQ(counts[0].count + counts[1].count, runtime.conntrack_entries());
  EXPECT_GE(runtime.conntrack_entries(), kFlows + 1U);

  // The old rules come back with their final counts.
  const auto old = runtime.Publish(MakeSnapshot(runtime, 2));
  ASSERT_NE(old, nullptr);
  EXPECT_EQ(old->generation, 1U);
  std::vector<rules::Counters> totals(old->rules->rule_count());
  for (const auto& worker : old->worker_rules) worker->AddTo(totals);
  const rules::RuleId rule = old->rules->IdOf(
      {net::Family::kIpv4, net::Table::kNat,
       static_cast<uint16_t>(old->rules->model().ipv4.table(net::Table::kNat).Find("POSTROUTING") -
                             old->rules->model().ipv4.table(net::Table::kNat).chains.data()),
       1});
  EXPECT_EQ(totals[rule].packets, static_cast<uint64_t>(kFlows));

  runtime.Stop();
  // Still readable.
  EXPECT_EQ(runtime.Workers().size(), 2U);
  CountConnections late;
  runtime.Run(0, &late);
  EXPECT_EQ(late.count, counts[0].count);

  const net::OwnerMap& owners = runtime.owners();
  std::set<uint16_t> source_ports;
  for (const Bytes& frame : ReadPcap(File("wan.pcap"))) {
    OwnedPacket packet(frame);
    ASSERT_EQ(net::Parse(&packet.packet).kind, net::FrameKind::kIp);
    EXPECT_EQ(net::ToString(net::Family::kIpv4, packet->ip.source), "203.0.113.2");
    source_ports.insert(packet->ip.source_port);
  }
  EXPECT_EQ(source_ports.size(), static_cast<size_t>(kFlows));
  EXPECT_EQ(owners.workers(), 2U);
  const std::vector<Bytes> to_lan = ReadPcap(File("lan.pcap"));
  ASSERT_FALSE(to_lan.empty());
  const std::string answer(to_lan.back().begin(), to_lan.back().end());
  EXPECT_NE(answer.find("world"), std::string::npos);
}

}  // namespace
}  // namespace postern::test
