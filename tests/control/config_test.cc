// The configuration file: every default, every key, and every error with its line.
#include "control/config.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/control/folder.h"

namespace postern::control {
namespace {

using test::Folder;

// The least that a configuration must have.
constexpr char kPorts[] =
    "ports: ({ name = \"wan0\"; device = \"0000:03:00.0\"; addresses = [ \"203.0.113.2/24\" ]; },\n"
    "        { name = \"lan0\"; device = \"net_tap0\"; addresses = [ \"192.168.1.1/24\" ]; });\n";
constexpr char kRules[] = "rules: { ipv4 = \"/etc/postern/rules.v4\"; };\n";

std::vector<std::string> Errors(const std::string& text) {
  std::vector<std::string> errors;
  const auto config = ParseConfig(text, "edge.conf", &errors);
  EXPECT_EQ(config.has_value(), errors.empty());
  return errors;
}

Config Parse(const std::string& text) {
  std::vector<std::string> errors;
  auto config = ParseConfig(text, "edge.conf", &errors);
  for (const std::string& error : errors) ADD_FAILURE() << error;
  return config.value_or(Config());
}

TEST(Config, DefaultsSuitATwoPortEdgeBox) {
  const Config config = Parse(std::string(kPorts) + kRules);
  EXPECT_TRUE(config.system.SameAs(SystemConfig()));
  EXPECT_TRUE(config.dataplane.SameAs(DataplaneConfig()));
  EXPECT_EQ(config.sysctls.conntrack.max, 262144u);
  EXPECT_TRUE(config.sysctls.forward_ipv4);
  EXPECT_TRUE(config.sysctls.forward_ipv6);
  EXPECT_FALSE(config.nat.strict_port_preservation);
  EXPECT_EQ(config.log, LogConfig());
  ASSERT_EQ(config.ports.size(), 2u);
  EXPECT_EQ(config.ports[0].mtu, 1500);
  EXPECT_TRUE(config.ports[0].host);
  EXPECT_FALSE(config.ports[0].mac);
  EXPECT_EQ(config.rules.ipv4.path, "/etc/postern/rules.v4");
  EXPECT_EQ(config.rules.ipv6.path, "");
}

TEST(Config, TakesEveryKey) {
  const Config config = Parse(R"(
system:     { control_socket = "run/postern.sock"; metrics = "[::1]:0"; state_dir = "/var/lib/p"; };
dataplane:  { workers = [ 2, 2 ]; main_core = 1; hugepages = false; memory_mb = 256; mbufs = 8192;
              rx_descriptors = 512; tx_descriptors = 256; burst = 64; eal_args = [ "--log-level=3" ];
              idle = "sleep"; };
ports: ({ name = "wan0"; device = "net_af_packet0,iface=v0";
          addresses = [ "203.0.113.2/24", "2001:db8:1::2/64" ];
          mtu = 9000; mac = "02:00:00:00:00:01"; host = false; });
routes: ({ prefix = "0.0.0.0/0"; via = "203.0.113.1"; }, { prefix = "::/0"; via = "2001:db8:1::1"; },
         { prefix = "198.51.100.0/24"; port = "wan0"; });
neighbors: ({ address = "203.0.113.1"; mac = "02:00:00:00:00:fe"; port = "wan0"; });
conntrack: { nf_conntrack_max = 1000; nf_conntrack_tcp_timeout_established = 7440;
             nf_conntrack_tcp_loose = false; helpers = [ ]; };
nat: { port_preservation = "strict"; };
rules: { ipv4 = "rules.v4"; ipv6 = "/etc/rules.v6"; };
log: { rules_file = "/var/log/postern/rules.log"; facility = "local3"; };
)");
  EXPECT_EQ(config.system.control_socket, "run/postern.sock");
  EXPECT_EQ(config.dataplane.workers, (std::vector<unsigned>{2, 2}));
  EXPECT_EQ(config.dataplane.idle, IdleMode::kSleep);
  EXPECT_EQ(config.dataplane.burst, 64u);
  ASSERT_EQ(config.ports[0].addresses.size(), 2u);
  EXPECT_EQ(net::ToString(config.ports[0].addresses[1]), "2001:db8:1::2/64");
  EXPECT_EQ(net::ToString(*config.ports[0].mac), "02:00:00:00:00:01");
  ASSERT_EQ(config.routes.size(), 3u);
  EXPECT_FALSE(config.routes[2].via);
  EXPECT_EQ(config.routes[2].port, 0);
  ASSERT_EQ(config.neighbors.size(), 1u);
  EXPECT_EQ(config.sysctls.conntrack.max, 1000u);
  EXPECT_FALSE(config.sysctls.conntrack.tcp_loose);
  EXPECT_EQ(
      config.sysctls.conntrack.tcp_timeout[static_cast<size_t>(ctrack::TcpState::kEstablished)],
      7440u);
  EXPECT_TRUE(config.nat.strict_port_preservation);
  EXPECT_EQ(config.log.rules_file, "/var/log/postern/rules.log");
}

struct ErrorRow {
  const char* text;  // beside kRules, which comes last, and kPorts, where `ports` says so
  bool with_ports;
  const char* expected;
};

class ConfigErrorTest : public ::testing::TestWithParam<ErrorRow> {};

TEST_P(ConfigErrorTest, NamesFileLineAndSetting) {
  const ErrorRow& row = GetParam();
  const std::string text = std::string(row.text) + "\n" + (row.with_ports ? kPorts : "") + kRules;
  EXPECT_EQ(Errors(text), std::vector<std::string>{row.expected}) << text;
}

const ErrorRow kErrorRows[] = {
    {"sistem: { };", true, "edge.conf:1: sistem isn't a known setting; did you mean 'system'?"},
    {"\nsystem: { control_soket = \"/x\"; };", true,
     "edge.conf:2: system.control_soket isn't a known setting; did you mean 'control_socket'?"},
    {"system: { frobnicate = 1; };", true, "edge.conf:1: system.frobnicate isn't a known setting"},
    {"system = 5;", true, "edge.conf:1: system must be a group { … }, not a whole number"},
    {"system: { metrics = \"127.0.0.1\"; };", true,
     "edge.conf:1: system.metrics \"127.0.0.1\" isn't ADDRESS:PORT, as in \"127.0.0.1:9797\""},
    {"system: { metrics = \"127.0.0.1:70000\"; };", true,
     "edge.conf:1: system.metrics \"127.0.0.1:70000\" isn't ADDRESS:PORT, as in "
     "\"127.0.0.1:9797\""},
    {"dataplane: { burst = 65; };", true,
     "edge.conf:1: dataplane.burst must be from 1 to 64, not 65"},
    {"dataplane: { burst = -1; };", true,
     "edge.conf:1: dataplane.burst must be from 1 to 64, not -1"},
    {"dataplane: { burst = \"32\"; };", true,
     "edge.conf:1: dataplane.burst must be a whole number, not a string"},
    {"dataplane: { hugepages = 1; };", true,
     "edge.conf:1: dataplane.hugepages must be true or false, not a whole number"},
    {"dataplane: { workers = [ ]; };", true,
     "edge.conf:1: dataplane.workers must have at least one CPU"},
    {"dataplane: { workers = 2; };", true,
     "edge.conf:1: dataplane.workers must be an array of numbers, not a whole number"},
    {"dataplane: { workers = [ 2, 5000 ]; };", true,
     "edge.conf:1: dataplane.workers[1] must be from 0 to 1023, not 5000"},
    {"dataplane: { idle = \"nap\"; };", true,
     "edge.conf:1: dataplane.idle must be one of \"auto\", \"poll\", \"sleep\", not \"nap\""},
    {"dataplane: { eal_args = [ 1 ]; };", true,
     "edge.conf:1: dataplane.eal_args[0] must be a string, not a whole number"},
    {"", false, "edge.conf:1: ports is missing: name at least one port"},
    {"ports: ( );", false, "edge.conf:1: ports must have at least one port"},
    {"ports: { };", false, "edge.conf:1: ports must be a list ( { … }, … ), not a group { … }"},
    {"ports: ( 5 );", false, "edge.conf:1: ports[0] must be a group { … }, not a whole number"},
    {"ports: ({ device = \"net_tap0\"; });", false,
     "edge.conf:1: ports[0].name is missing: the port's name in rules"},
    {"ports: ({ name = \"a\"; });", false,
     "edge.conf:1: ports[0].device is missing: a PCI address or a DPDK --vdev string"},
    {"ports: ({ name = \"sixteen-letters-\"; device = \"net_tap0\"; });", false,
     "edge.conf:1: ports[0].name \"sixteen-letters-\" is longer than 15 characters"},
    {"ports: ({ name = \"a/b\"; device = \"net_tap0\"; });", false,
     "edge.conf:1: ports[0].name \"a/b\" isn't an interface name: letters, digits, '_', '.' and "
     "'-' only"},
    {"ports: ({ name = \"eth+\"; device = \"net_tap0\"; });", false,
     "edge.conf:1: ports[0].name \"eth+\" isn't an interface name: letters, digits, '_', '.' and "
     "'-' only"},
    {"ports: ({ name = \"lo\"; device = \"net_tap0\"; });", false,
     "edge.conf:1: ports[0].name \"lo\" is the loopback interface's"},
    {"ports: ({ name = \"a\"; device = \"net_tap0\"; },\n { name = \"a\"; device = \"net_tap1\"; "
     "});",
     false, "edge.conf:2: ports[1].name \"a\" is the name of the port of line 1 too"},
    {"ports: ({ name = \"a\"; device = \"net_tap0,iface=x\"; },\n"
     " { name = \"b\"; device = \"net_tap0,iface=y\"; });",
     false, "edge.conf:2: ports[1].device \"net_tap0\" is the device of port \"a\" too"},
    {"ports: ({ name = \"a\"; device = \"net_tap0\"; addresses = [ \"192.0.2.300/24\" ]; });",
     false,
     "edge.conf:1: ports[0].addresses[0] \"192.0.2.300/24\" isn't an address with a prefix length"},
    {"ports: ({ name = \"a\"; device = \"net_tap0\"; addresses = [ \"192.0.2.1/33\" ]; });", false,
     "edge.conf:1: ports[0].addresses[0] \"192.0.2.1/33\" isn't an address with a prefix length"},
    {"ports: ({ name = \"a\"; device = \"net_tap0\"; addresses = [ \"224.0.0.1/24\" ]; });", false,
     "edge.conf:1: ports[0].addresses[0] \"224.0.0.1/24\" is a multicast address"},
    {"ports: ({ name = \"a\"; device = \"net_tap0\"; addresses = [ \"192.0.2.0/24\" ]; });", false,
     "edge.conf:1: ports[0].addresses[0] \"192.0.2.0/24\" is its network's own address"},
    {"ports: ({ name = \"a\"; device = \"net_tap0\"; addresses = [ \"192.0.2.255/24\" ]; });",
     false,
     "edge.conf:1: ports[0].addresses[0] \"192.0.2.255/24\" is its network's broadcast address"},
    {"ports: ({ name = \"a\"; device = \"net_tap0\"; addresses = [ \"10.0.0.1/8\" ]; },\n"
     "{ name = \"b\"; device = \"net_tap1\"; addresses = [ \"10.1.2.3/24\" ]; });",
     false,
     "edge.conf:2: ports[1].addresses[0] \"10.1.2.3/24\" overlaps with 10.0.0.0/8 of port \"a\" "
     "(line 1)"},
    {"ports: ({ name = \"a\"; device = \"net_tap0\"; mtu = 67; });", false,
     "edge.conf:1: ports[0].mtu must be from 68 to 9216, not 67"},
    {"ports: ({ name = \"a\"; device = \"net_tap0\"; mtu = 1279; addresses = [ \"2001:db8::1/64\" "
     "]; "
     "});",
     false, "edge.conf:1: ports[0].mtu must be at least 1280 on a port with IPv6"},
    {"ports: ({ name = \"a\"; device = \"net_tap0\"; mac = \"01:00:00:00:00:01\"; });", false,
     "edge.conf:1: ports[0].mac \"01:00:00:00:00:01\" isn't one station's address"},
    {"ports: ({ name = \"a\"; device = \"net_tap0\"; mac = \"02:00\"; });", false,
     "edge.conf:1: ports[0].mac \"02:00\" isn't a MAC address"},
    {"ports: ({ name = \"a\"; device = \"net_tap0\"; mac = \"02:00:00:00:00:01\"; },\n"
     "{ name = \"b\"; device = \"net_tap1\"; mac = \"02:00:00:00:00:01\"; });",
     false,
     "edge.conf:2: ports[1].mac \"02:00:00:00:00:01\" is the address of port \"a\" (line 1) too"},
    {"ports: ({ name = \"a\"; device = \"0000:03:00.0\"; },\n"
     " { name = \"b\"; device = \"03:00.0\"; });",
     false, "edge.conf:2: ports[1].device \"0000:03:00.0\" is the device of port \"a\" too"},
    {"ports: ({ name = \"a\"; device = \"net_af_packet0,iface=x,qpairs=2\"; },\n"
     " { name = \"b\"; device = \"net_af_packet1,iface=x\"; });",
     false, "edge.conf:2: ports[1].device \"x\" is the device of port \"a\" too"},
    {"ports: ({ name = \"a\"; device = \"net_tap0\"; addresses = [ \"192.0.2.1\" ]; });", false,
     "edge.conf:1: ports[0].addresses[0] \"192.0.2.1\" isn't an address with a prefix length"},
    {"ports: ({ name = \"a\"; device = \"net_tap0\"; addresses = [ \"192.0.2.1/0\" ]; });", false,
     "edge.conf:1: ports[0].addresses[0] \"192.0.2.1/0\" has the whole world for its network"},
    {"ports: ({ name = \"a\"; device = \"net_tap0\"; addresses = [ \"255.255.255.255/32\" ]; });",
     false, "edge.conf:1: ports[0].addresses[0] \"255.255.255.255/32\" is the broadcast address"},
    {"ports: ({ name = \"a\"; device = \"net_tap0\"; addresses = [ \"2001:db8::/64\" ]; });", false,
     "edge.conf:1: ports[0].addresses[0] \"2001:db8::/64\" is the anycast address of its "
     "network's routers"},
    {"routes: ({ prefix = \"224.0.0.0/4\"; via = \"203.0.113.1\"; });", true,
     "edge.conf:1: routes[0].prefix \"224.0.0.0/4\" is of multicast addresses"},
    {"routes: ({ prefix = \"192.168.1.0/24\"; via = \"203.0.113.1\"; });", true,
     "edge.conf:1: routes[0].prefix \"192.168.1.0/24\" is the subnet of port \"lan0\" (line 3)"},
    {"routes: ({ prefix = \"192.168.1.1/32\"; via = \"203.0.113.1\"; });", true,
     "edge.conf:1: routes[0].prefix \"192.168.1.1/32\" is the appliance's own address"},
    {"routes: ({ prefix = \"0.0.0.0/0\"; via = \"203.0.113.255\"; });", true,
     "edge.conf:1: routes[0].via \"203.0.113.255\" is its network's broadcast address"},
    {"routes: ({ prefix = \"0.0.0.0/0\"; via = \"224.0.0.1\"; });", true,
     "edge.conf:1: routes[0].via \"224.0.0.1\" is a multicast address"},
    {"routes: ({ prefix = \"0.0.0.0/0\"; via = \"203.0.113.1\"; port = \"lan0\"; });", true,
     "edge.conf:1: routes[0].via \"203.0.113.1\" is on the subnet of port \"wan0\""},
    {"routes: ({ prefix = \"0.0.0.0/0\"; via = \"198.51.100.1\"; port = \"lan\"; });", true,
     "edge.conf:1: routes[0].port \"lan\" isn't the name of a port; did you mean 'lan0'?"},
    {"routes: ({ prefix = \"0.0.0.0/0\"; via = \"198.51.100.1\"; });", true,
     "edge.conf:1: routes[0].via \"198.51.100.1\" isn't on any port's subnet"},
    {"routes: ({ prefix = \"0.0.0.0/0\"; via = \"203.0.113.2\"; });", true,
     "edge.conf:1: routes[0].via \"203.0.113.2\" is the appliance's own address"},
    {"routes: ({ prefix = \"::/0\"; via = \"203.0.113.1\"; });", true,
     "edge.conf:1: routes[0].via \"203.0.113.1\" isn't of the prefix' address family"},
    {"routes: ({ prefix = \"10.1.2.3/8\"; via = \"203.0.113.1\"; });", true,
     "edge.conf:1: routes[0].prefix \"10.1.2.3/8\" has bits beyond its length; did you mean "
     "10.0.0.0/8?"},
    {"routes: ({ prefix = \"0.0.0.0/0\"; });", true,
     "edge.conf:1: routes[0].via is missing: the next router's address, or give the route a port"},
    {"routes: ({ via = \"203.0.113.1\"; });", true,
     "edge.conf:1: routes[0].prefix is missing: where the route leads, as in \"0.0.0.0/0\""},
    {"routes: ({ prefix = \"0.0.0.0/0\"; via = \"203.0.113.1\"; },\n"
     "{ prefix = \"0.0.0.0/0\"; via = \"192.168.1.2\"; });",
     true, "edge.conf:2: routes[1].prefix \"0.0.0.0/0\" has a route already"},
    {"neighbors: ({ address = \"203.0.113.1\"; mac = \"02:00:00:00:00:fe\"; port = \"wan\"; });",
     true, "edge.conf:1: neighbors[0].port \"wan\" isn't the name of a port; did you mean 'wan0'?"},
    {"neighbors: ({ address = \"203.0.113.2\"; mac = \"02:00:00:00:00:fe\"; port = \"wan0\"; });",
     true, "edge.conf:1: neighbors[0].address \"203.0.113.2\" is the appliance's own address"},
    {"neighbors: ({ address = \"203.0.113.1\"; mac = \"02:00:00:00:00:fe\"; port = \"wan0\"; },"
     " { address = \"203.0.113.1\"; mac = \"02:00:00:00:00:fd\"; port = \"wan0\"; });",
     true, "edge.conf:1: neighbors[1].address \"203.0.113.1\" is a neighbour of the port already"},
    {"neighbors: ({ address = \"192.168.1.7\"; mac = \"02:00:00:00:00:fe\"; port = \"wan0\"; });",
     true, "edge.conf:1: neighbors[0].address \"192.168.1.7\" isn't on a subnet of port \"wan0\""},
    {"neighbors: ({ address = \"203.0.113.255\"; mac = \"02:00:00:00:00:fe\"; port = \"wan0\"; });",
     true, "edge.conf:1: neighbors[0].address \"203.0.113.255\" is its network's broadcast address"},
    {"neighbors: ({ address = \"203.0.113.1\"; port = \"wan0\"; });", true,
     "edge.conf:1: neighbors[0].mac is missing: the neighbour's MAC address"},
    {"conntrack: { nf_conntrack_tcp_timeout_establishd = 1; };", true,
     "edge.conf:1: conntrack.nf_conntrack_tcp_timeout_establishd isn't a known setting; did you "
     "mean 'nf_conntrack_tcp_timeout_established'?"},
    {"conntrack: { nf_conntrack_tcp_loose = 2; };", true,
     "edge.conf:1: conntrack.nf_conntrack_tcp_loose must be from 0 to 1, not 2"},
    {"conntrack: { nf_conntrack_max = \"many\"; };", true,
     "edge.conf:1: conntrack.nf_conntrack_max must be a whole number, not a string"},
    {"conntrack: { nf_conntrack_dccp_loose = 1; };", true,
     "edge.conf:1: conntrack.nf_conntrack_dccp_loose isn't supported yet"},
    {"conntrack: { helpers = [ \"ftp\" ]; };", true,
     "edge.conf:1: conntrack.helpers[0] \"ftp\" isn't supported yet"},
    {"conntrack: { helpers = [ \"ftpp\" ]; };", true,
     "edge.conf:1: conntrack.helpers[0] \"ftpp\" isn't a helper; did you mean 'ftp'?"},
    {"nat: { port_preservation = \"always\"; };", true,
     "edge.conf:1: nat.port_preservation must be one of \"owner\", \"strict\", not \"always\""},
    {"sysctl_files = [ \"/nowhere/99.conf\" ];", true,
     "edge.conf:1: sysctl_files[0] \"/nowhere/99.conf\" can't be read: No such file or directory"},
    {"log: { rules_file = \"\"; };", true, "edge.conf:1: log.rules_file must be a file's path"},
    {"system: { metrics = ; };", true, "edge.conf:1: syntax error"},
};
INSTANTIATE_TEST_SUITE_P(Rows, ConfigErrorTest, ::testing::ValuesIn(kErrorRows));

// What a route or the link itself brings to the port is no mistake.
TEST(Config, TakesNeighborsBeyondTheSubnetsThatAreOnLink) {
  const Config config = Parse(std::string(kPorts) + kRules + R"(
routes: ({ prefix = "198.51.100.0/24"; port = "wan0"; },
         { prefix = "::/0"; via = "fe80::1"; port = "wan0"; },
         { prefix = "0.0.0.0/0"; via = "192.0.2.9"; port = "lan0"; });
neighbors: ({ address = "198.51.100.7"; mac = "02:00:00:00:00:fe"; port = "wan0"; },
            { address = "fe80::1"; mac = "02:00:00:00:00:fd"; port = "wan0"; },
            { address = "192.0.2.9"; mac = "02:00:00:00:00:fc"; port = "lan0"; });
)");
  EXPECT_EQ(config.routes.size(), 3u);
  EXPECT_EQ(config.neighbors.size(), 3u);
}

TEST(Config, RulesAreRequired) {
  EXPECT_EQ(Errors(kPorts),
            std::vector<std::string>{"edge.conf:1: rules is missing: name the rule files, as in { "
                                     "ipv4 = \"rules.v4\"; }"});
}

TEST(Config, ReportsEveryErrorInTheOrderOfTheFile) {
  const auto errors = Errors(R"(nat: { port_preservation = 1; };
dataplane: { burst = 0;
  workers = [ "x" ]; };
system: { metrics = 5; what = 1; };
ports: ({ name = ""; device = "net_tap0"; });
)");
  EXPECT_EQ(
      errors,
      (std::vector<std::string>{
          "edge.conf:1: nat.port_preservation must be a string, not a whole number",
          "edge.conf:1: rules is missing: name the rule files, as in { ipv4 = \"rules.v4\"; }",
          "edge.conf:2: dataplane.burst must be from 1 to 64, not 0",
          "edge.conf:3: dataplane.workers[0] must be a whole number, not a string",
          "edge.conf:4: system.metrics must be a string, not a whole number",
          "edge.conf:4: system.what isn't a known setting",
          "edge.conf:5: ports[0].name must not be empty",
      }));
}

TEST(Config, IncludedFilesKeepTheirNamesInErrors) {
  Folder folder;
  folder.Write("ports.conf", std::string("# ports\n") + "ports: ({ name = \"a\"; });\n");
  const std::string file = folder.Write(
      "edge.conf", std::string("@include \"ports.conf\"\n") + "system: { x = 1; };\n" + kRules);
  std::vector<std::string> errors;
  EXPECT_FALSE(LoadConfig(file, &errors));
  ASSERT_EQ(errors.size(), 2u);
  EXPECT_EQ(errors[0], file + ":2: system.x isn't a known setting");
  EXPECT_TRUE(
      errors[1].ends_with("ports.conf:2: ports[0].device is missing: a PCI address or a "
                          "DPDK --vdev string"))
      << errors[1];
}

TEST(Config, RelativePathsBeginAtTheFilesFolder) {
  Folder folder;
  folder.Write("ct.conf",
               "# comment\nnet.netfilter.nf_conntrack_max = 7\nnet.core.somaxconn = 5\n"
               "net/ipv4/ip_forward=0\n");
  folder.Write("empty.ipset", "# nothing\n\n");
  const std::string file =
      folder.Write("edge.conf", std::string(kPorts) +
                                    "sysctl_files = [ \"ct.conf\" ];\n"
                                    "rules: { ipv4 = \"rules.v4\"; ipset = \"empty.ipset\"; };\n");
  std::vector<std::string> errors;
  const auto config = LoadConfig(file, &errors);
  ASSERT_TRUE(config) << errors[0];
  EXPECT_EQ(config->rules.ipv4.path, folder.path() + "/rules.v4");
  EXPECT_EQ(config->sysctls.conntrack.max, 7u);
  EXPECT_FALSE(config->sysctls.forward_ipv4);
}

TEST(Config, SetsOfIpsetAreRefused) {
  Folder folder;
  folder.Write("sets", "create a hash:ip\n");
  const std::string file =
      folder.Write("edge.conf", std::string(kPorts) + "rules: { ipset = \"sets\"; };\n");
  std::vector<std::string> errors;
  EXPECT_FALSE(LoadConfig(file, &errors));
  EXPECT_EQ(errors, std::vector<std::string>{file + ":3: rules.ipset isn't supported yet"});
}

TEST(Config, TheConfigurationsOwnWordBeatsASysctlFile) {
  Folder folder;
  folder.Write("ct.conf", "net.netfilter.nf_conntrack_max = 7\n");
  const std::string file =
      folder.Write("edge.conf", std::string(kPorts) + "conntrack: { nf_conntrack_max = 9; };\n" +
                                    "sysctl_files = [ \"ct.conf\" ];\n" + kRules);
  std::vector<std::string> errors;
  const auto config = LoadConfig(file, &errors);
  ASSERT_TRUE(config);
  EXPECT_EQ(config->sysctls.conntrack.max, 9u);
}

TEST(Config, AMissingFileIsAnErrorNotACrash) {
  std::vector<std::string> errors;
  EXPECT_FALSE(LoadConfig("/nowhere/edge.conf", &errors));
  EXPECT_EQ(errors, std::vector<std::string>{
                        "/nowhere/edge.conf:1: can't be read: No such file or directory"});
}

}  // namespace
}  // namespace postern::control
