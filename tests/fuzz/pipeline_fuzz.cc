// libFuzzer: frames through the whole datapath, with rules that use everything.
//
// The input's first byte chooses the machine: bit 0 two workers, bit 1 frames arrive at any of
// them, bit 2 no remembered paths, bit 3 neighbours must be resolved, bit 4 strict port
// preservation. The rest is cut into frames. Each has a head of four bytes: how much time passes
// before it (units of 16 ms; from 0xf0 on, minutes), its kind, and its length (two bytes). Because
// chance finds neither conversations nor checksums, a kind may start from a frame that makes sense
// and only changes it. Buffers are counted: whatever happens, none may be lost or freed twice.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "control/iptables/restore.h"
#include "dataplane/net/checksum.h"
#include "dataplane/net/parse.h"
#include "tests/pipeline/world.h"
#include "tests/support/packet_builder.h"
#include "tests/support/sample_frames.h"

namespace {

using namespace postern;
using test::Bytes;

void Require(bool holds) {
  if (!holds) std::abort();
}

constexpr std::string_view kRules4 = R"(*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p udp -m udp --dport 7 -j NOTRACK
-A OUTPUT -p udp -m udp --sport 7 -j CT --notrack
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG FIN,PSH,URG -j MARK --set-mark 1
-A FORWARD -m mark --mark 0x1/0x1 -m comment --comment "xmas" -j MARK --set-xmark 0x2/0xff
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -i wan0 -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.168.1.11-192.168.1.12:8080-8081
-A PREROUTING -i lan0 -p udp -m udp --dport 53 -j REDIRECT --to-ports 5353
-A INPUT -p tcp -m tcp --dport 22 -j SNAT --to-source 192.0.2.77
-A OUTPUT -p tcp -m tcp --dport 81 -j DNAT --to-destination 192.168.1.11:80
-A POSTROUTING -o wan0 -p udp -j SNAT --to-source 203.0.113.2:1024-1027
-A POSTROUTING -o wan0 -p icmp -j SNAT --to-source 203.0.113.3-203.0.113.4
-A POSTROUTING -o wan0 -j MASQUERADE
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:chain - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED,UNTRACKED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -m state --state NEW -m recent --set --name SSH
-A INPUT -p tcp -m tcp --dport 22 -m recent --update --seconds 60 --hitcount 4 --rttl --name SSH -j DROP
-A INPUT -p icmp -m limit --limit 5/second -j ACCEPT
-A INPUT -p tcp -m multiport --dports 22,80:90 -j ACCEPT
-A INPUT -p udp -j REJECT --reject-with icmp-host-prohibited
-A INPUT -j LOG --log-prefix "in: " --log-tcp-sequence --log-tcp-options --log-ip-options
-A FORWARD -m conntrack --ctstate INVALID -j chain
-A FORWARD -m conntrack --ctstate ESTABLISHED --ctstatus ASSURED --ctdir REPLY --ctexpire 1:400000 -j ACCEPT
-A FORWARD -p tcp -m connlimit --connlimit-above 3 --connlimit-mask 24 -j REJECT --reject-with tcp-reset
-A FORWARD -p tcp -m tcp --dport 25 --tcp-option 5 --syn -j REJECT --reject-with tcp-reset
-A FORWARD ! -s 192.168.1.0/24 -i lan+ -j REJECT --reject-with icmp-admin-prohibited
-A FORWARD -p icmp -m icmp --icmp-type 3/4 -g chain
-A FORWARD -m conntrack --ctstate DNAT,SNAT --ctorigdst 203.0.113.0/24 --ctorigdstport 80 -j ACCEPT
-A FORWARD -j ACCEPT
-A chain -m recent --rdest --set
-A chain -j RETURN
COMMIT
)";

constexpr std::string_view kRules6 = R"(*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -i wan0 -p tcp -m tcp --dport 80 -j DNAT --to-destination [2001:db8:2::11]:8080
-A POSTROUTING -o wan0 -p udp -j SNAT --to-source [2001:db8:1::77]:1024-1027
-A POSTROUTING -o wan0 -j MASQUERADE
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -j REJECT --reject-with tcp-reset
-A INPUT -p udp -j REJECT --reject-with icmp6-adm-prohibited
-A FORWARD -p icmpv6 -m icmp6 --icmpv6-type 128 -m limit --limit 5/second -j ACCEPT
-A FORWARD -p tcp -m connlimit --connlimit-above 3 --connlimit-mask 64 -j REJECT --reject-with tcp-reset
-A FORWARD -p tcp -m recent --set --name six
-A FORWARD -p udp -m udp --dport 123 -j LOG --log-prefix "six: " --log-ip-options
-A FORWARD -j ACCEPT
COMMIT
)";

void Read(std::string_view text, rules::FamilyModel* family) {
  std::vector<std::string> errors;
  control::iptables::RestoreOptions options;
  if (control::iptables::ParseRestore(text, "fuzz", options, family, &errors)) return;
  for (const std::string& error : errors) std::fprintf(stderr, "%s\n", error.c_str());
  std::abort();
}

rules::Model MakeModel() {
  rules::Model model;
  Read(kRules4, &model.ipv4);
  Read(kRules6, &model.ipv6);
  std::vector<std::string> errors;
  Require(rules::Validate(model, &errors));
  return model;
}

enum Kind : uint8_t {
  kWanSide = 1,     // it comes from the WAN
  kFromHost = 2,    // the appliance's own kernel sends it
  kToUs = 4,        // the Ethernet destination is mended
  kFit = 8,         // the IP length and header checksum are mended
  kTransport = 16,  // the transport checksum is mended
  kSample = 32,     // changes frame number data[0] of the samples
  kAnswer = 64,     // changes the answer to what was sent last
  kReload = 128,    // a new snapshot is published first
};

// Frames that the rules above have something to say to.
std::vector<Bytes> Samples() {
  using test::Packet;
  std::vector<Bytes> all = test::SampleFrames();
  constexpr const char* kIn = "192.168.1.10";
  constexpr const char* kOut = "198.51.100.7";
  constexpr const char* kUs = "203.0.113.2";
  for (const uint16_t port : {22, 25, 53, 80, 7, 123}) {
    for (const auto& [from, to] : {std::pair{kIn, kOut}, {kOut, kUs}, {kIn, "192.168.1.1"}}) {
      all.push_back(Packet().Ipv4(from, to).Tcp(40000, port, net::kTcpSyn).Mss(1460).Frame());
      all.push_back(Packet().Ipv4(from, to).Udp(40000, port).PayloadLength(20).Frame());
    }
    all.push_back(Packet().Ipv6("2001:db8:2::10", "2001:db8:1::7").Udp(40000, port).Frame());
    all.push_back(
        Packet().Ipv6("2001:db8:1::7", "2001:db8:1::2").Tcp(4000, port, net::kTcpSyn).Frame());
  }
  all.push_back(Packet().Ipv4(kIn, kOut).Icmp(8, 0, 7, 1).PayloadLength(56).Frame());
  all.push_back(Packet().Ipv4(kOut, kUs).Icmp(8, 0, 7, 1).PayloadLength(1472).Frame());
  all.push_back(Packet().Ipv4(kIn, kOut).Ttl(1).Udp(1, 2).Frame());
  all.push_back(Packet().Ipv4(kIn, kOut).Fragment(9, 0, true).Udp(1, 2).PayloadLength(24).Frame());
  all.push_back(Packet().Ipv4(kIn, kOut).Fragment(9, 32, false).Raw(17).PayloadLength(5).Frame());
  all.push_back(Packet().Ipv4(kIn, kOut).Udp(40000, 99).PayloadLength(1400).Frame());
  return all;
}

class Machine {
 public:
  explicit Machine(uint8_t mode) : world_(Options(mode)) {
    static const rules::Model kModel = MakeModel();
    world_.model = kModel;
    world_.Publish();
  }

  void Feed(uint8_t time, uint8_t kind, const uint8_t* data, size_t size) {
    now_ += time < 0xf0 ? time * 16 * net::kMillisecond : (time - 0xef) * 60 * net::kSecond;
    if ((kind & kReload) != 0) world_.Publish();
    const Bytes frame = Make(kind, data, size);
    const net::PortId port = (kind & kWanSide) != 0 ? test::kWan : test::kLan;
    world_.output.sent.clear();
    if ((kind & kFromHost) != 0) {
      world_.engine().InjectHost(port, frame, now_);
    } else {
      world_.engine().Inject(port, frame, now_);
    }
    if (!world_.output.sent.empty()) last_ = world_.output.sent.back().frame;
    world_.output.logs.clear();
    world_.output.drops.clear();
    world_.output.troubles.clear();
  }

  // Everything that waits runs out: fragments after 60 s, neighbours after some seconds.
  void End() {
    for (int i = 0; i < 8; ++i) {
      now_ += 30 * net::kSecond;
      world_.engine().AdvanceTo(now_);
    }
    Require(world_.engine().buffers_in_use() == 0);
  }

 private:
  static test::World::Options Options(uint8_t mode) {
    test::World::Options options;
    options.workers = (mode & 1) != 0 ? 2 : 1;
    options.arrival = (mode & 2) != 0 ? pipeline::Arrival::kRandom : pipeline::Arrival::kRss;
    options.fast_path = (mode & 4) == 0;
    options.assume_neighbors = (mode & 8) == 0;
    options.strict_port_preservation = (mode & 16) != 0;
    options.conntrack_max = 16;
    options.wan_mtu = 1280;
    options.tailroom = 0;
    // Small, so that making a world takes no longer than what happens in it; and so that paths
    // overflow.
    options.max_paths = 32;
    options.max_path_steps = 256;
    return options;
  }

  // The answer to a frame: addresses and ports exchanged, a SYN answered.
  static Bytes Answer(Bytes frame) {
    test::OwnedPacket packet(frame, true);
    if (net::Parse(&*packet).kind != net::FrameKind::kIp) return frame;
    const net::ParsedPacket& ip = packet->ip;
    uint8_t* l3 = packet->data + ip.l3_offset;
    const size_t width = ip.family == net::Family::kIpv4 ? 4 : 16;
    const size_t at = ip.family == net::Family::kIpv4 ? 12 : 8;
    std::swap_ranges(l3 + at, l3 + at + width, l3 + at + width);
    if (net::HasPorts(ip.protocol) && ip.L4Length() >= 4) {
      uint8_t* l4 = packet->data + ip.l4_offset;
      std::swap_ranges(l4, l4 + 2, l4 + 2);
      if (ip.protocol == net::kProtoTcp && ip.L4Length() >= 14) {
        uint8_t sequence[4];
        std::copy_n(l4 + 4, 4, sequence);
        if ((l4[13] & net::kTcpSyn) != 0 && ++sequence[3] == 0) ++sequence[2];
        std::copy_n(l4 + 8, 4, l4 + 4);
        std::copy_n(sequence, 4, l4 + 8);
        l4[13] = static_cast<uint8_t>(l4[13] == net::kTcpSyn ? net::kTcpSyn | net::kTcpAck
                                                             : net::kTcpAck);
      }
    } else if (ip.protocol == net::kProtoIcmp && packet->data[ip.l4_offset] == 8) {
      packet->data[ip.l4_offset] = 0;
    }
    return {packet->data, packet->data + packet->length};
  }

  Bytes Make(uint8_t kind, const uint8_t* data, size_t size) const {
    static const std::vector<Bytes> kSamples = Samples();
    Bytes frame;
    if ((kind & kAnswer) != 0 && !last_.empty()) {
      frame = Answer(last_);
    } else if ((kind & kSample) != 0 && size > 0) {
      frame = kSamples[*data++ % kSamples.size()];
      --size;
    } else {
      frame.assign(data, data + size);
      size = 0;
    }
    // Changes: place (two bytes) and what is added there; at the end of the frame, its cut.
    for (; size >= 3; data += 3, size -= 3) {
      const size_t at = static_cast<size_t>(data[0] << 8 | data[1]);
      if (at < frame.size()) {
        frame[at] = static_cast<uint8_t>(frame[at] + data[2]);
      } else if (!frame.empty()) {
        frame.resize(at % frame.size());
      }
    }
    if ((kind & kToUs) != 0 && frame.size() >= sizeof(net::EthernetHeader)) {
      const auto mac = net::ParseMac((kind & kWanSide) != 0 ? test::kWanMac : test::kLanMac);
      const auto peer = net::ParseMac(test::kPeerMac);
      std::copy(mac->bytes.begin(), mac->bytes.end(), frame.begin());
      std::copy(peer->bytes.begin(), peer->bytes.end(), frame.begin() + 6);
    }
    if ((kind & kFit) != 0) test::FitIpLength(&frame);
    if ((kind & kTransport) == 0) return frame;
    test::OwnedPacket packet(frame, true);
    if (net::Parse(&*packet).kind == net::FrameKind::kIp) net::SetTransportChecksum(&*packet);
    return {packet->data, packet->data + packet->length};
  }

  test::World world_;
  Bytes last_;
  net::Time now_ = test::kStart;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  Machine machine(data[0]);
  ++data;
  --size;
  while (size >= 4) {
    const uint8_t time = data[0];
    const uint8_t kind = data[1];
    const auto wanted = static_cast<size_t>((data[2] << 8 | data[3]) & 0x0fff);
    data += 4;
    size -= 4;
    const size_t length = std::min(wanted, size);
    machine.Feed(time, kind, data, length);
    data += length;
    size -= length;
  }
  machine.End();
  return 0;
}
