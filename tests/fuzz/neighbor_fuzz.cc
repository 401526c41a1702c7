// ARP and neighbour discovery as strangers send them: messages of arbitrary fields, well made and
// then damaged, to a table in use. What is built reads back; a table answers with well-made frames
// only, and loses no buffer.
//
// The input is a list of steps of 24 bytes: time (units of 64 ms), what happens, MAC and address
// bytes, and where the message is damaged.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "dataplane/net/checksum.h"
#include "dataplane/net/parse.h"
#include "dataplane/route/arp.h"
#include "dataplane/route/neighbor_discovery.h"
#include "dataplane/route/neighbor_table.h"
#include "dataplane/route/route_table.h"
#include "tests/support/heap_pool.h"

namespace {

using namespace postern;

void Require(bool holds) {
  if (!holds) std::abort();
}

struct Step {
  uint8_t time;
  uint8_t what;     // bits 0-1: ARP, ND, a packet to be sent; 2: request; 3-5: ND's flags; 6: copy
  uint8_t mac[6];   // the sender's
  uint8_t from;     // last byte of the sender's address; 0: the unspecified one
  uint8_t to;       // last byte of the target's, which is ours for 1
  uint8_t link[6];  // ND's link-layer option, where it isn't all zero
  uint8_t at[2];    // the place of the damage, from the Ethernet header's end on
  uint8_t damage[4];  // added there
  uint8_t cut;        // the frame loses so many bytes, where the highest bit is set
  uint8_t mend;       // bit 0: the checksum is right in spite of the damage
};
static_assert(sizeof(Step) == 24);

net::MacAddress MacOf(const uint8_t* bytes) {
  net::MacAddress mac;
  std::copy_n(bytes, 6, mac.bytes.begin());
  return mac;
}

net::IpAddress AddressOf(net::Family family, uint8_t last) {
  if (last == 0) return {};
  net::IpAddress address =
      *net::ParseAddress(family, family == net::Family::kIpv4 ? "192.0.2.0" : "2001:db8::");
  address.bytes[family == net::Family::kIpv4 ? 3 : 15] = last;
  return address;
}

class Machine final : public route::NeighborSink {
 public:
  Machine() : routes_({Port()}, {}, route::MakeTrieFib(), 1) {
    route::NeighborSettings settings;
    settings.capacity = 8;
    settings.queued_total = 8;
    table_.emplace(settings, &pool_, this, 1);
    table_->Configure(&routes_, {});
  }

  void Do(const Step& step) {
    now_ += uint64_t{step.time} * 64 * net::kMillisecond;
    table_->Tick(now_);
    net::Packet packet;
    switch (step.what & 3) {
      case 0:
        if (!MakeArp(step, &packet)) return;
        break;
      case 1:
        if (!MakeNd(step, &packet)) return;
        break;
      default:
        SendTo(step);
        return;
    }
    Damage(step, &packet);
    Receive(step, &packet);
  }

  void End() {
    table_.reset();
    Require(pool_.lent() == 0 && pool_.bad_frees() == 0);
  }

  void SendFrame(net::Packet* packet) override {
    net::Packet again = *packet;
    const auto parsed = net::Parse(&again);
    Require(parsed.kind != net::FrameKind::kInvalid);
    if (parsed.kind == net::FrameKind::kIp) Require(net::TransportChecksumValid(again));
    if (parsed.kind == net::FrameKind::kArp) Require(route::ReadArp(again).has_value());
    Require(!packet->At<net::EthernetHeader>(0)->source.IsMulticast());
    pool_.Free(packet);
  }
  void Unresolved(net::Packet* packet) override { pool_.Free(packet); }
  void Drop(net::Packet* packet, net::DropReason) override { pool_.Free(packet); }

 private:
  static route::PortConfig Port() {
    route::PortConfig port;
    port.mac = {{2, 0, 0, 0, 0, 2}};
    port.addresses = {*net::ParsePrefix("192.0.2.1/24"), *net::ParsePrefix("2001:db8::1/64")};
    return port;
  }

  bool MakeArp(const Step& step, net::Packet* packet) {
    route::ArpMessage message;
    message.request = (step.what & 4) != 0;
    message.sender_mac = MacOf(step.mac);
    message.sender = AddressOf(net::Family::kIpv4, step.from);
    message.target_mac = MacOf(step.link);
    message.target = AddressOf(net::Family::kIpv4, step.to);
    return route::BuildArp(&pool_, message, Port().mac, packet);
  }

  bool MakeNd(const Step& step, net::Packet* packet) {
    route::NdMessage message;
    message.solicitation = (step.what & 4) != 0;
    message.source = AddressOf(net::Family::kIpv6, step.from);
    message.target = AddressOf(net::Family::kIpv6, step.to);
    message.destination = (step.what & 8) != 0 ? route::SolicitedNodeAddress(message.target)
                                               : AddressOf(net::Family::kIpv6, 1);
    message.solicited = !message.solicitation && (step.what & 16) != 0;
    message.override_flag = !message.solicitation && (step.what & 32) != 0;
    if (MacOf(step.link) != net::MacAddress{}) message.link_layer = MacOf(step.link);
    if (!route::BuildNeighborMessage(&pool_, message, MacOf(step.mac), Port().mac, packet)) {
      return false;
    }
    const auto read = route::ReadNeighborMessage(*packet);
    if (read) {
      Require(read->solicitation == message.solicitation && read->target == message.target);
      Require(read->source == message.source && read->link_layer == message.link_layer);
      Require(read->solicited == message.solicited);
      Require(read->override_flag == message.override_flag);
    }
    return true;
  }

  void Damage(const Step& step, net::Packet* packet) {
    const size_t at = sizeof(net::EthernetHeader) + (step.at[0] << 8 | step.at[1]);
    for (size_t i = 0; i < sizeof(step.damage) && at + i < packet->length; ++i) {
      packet->data[at + i] = static_cast<uint8_t>(packet->data[at + i] + step.damage[i]);
    }
    if ((step.cut & 0x80) != 0)
      packet->length -= std::min<uint32_t>(packet->length, step.cut & 0x7f);
  }

  // On memory that ends with the frame.
  void Receive(const Step& step, net::Packet* built) {
    const test::Bytes frame(built->data, built->data + built->length);
    pool_.Free(built);
    test::OwnedPacket exact(frame, true);
    const auto kind = net::Parse(&*exact).kind;
    const bool copy = (step.what & 64) != 0;
    if (kind == net::FrameKind::kIp) {
      if ((step.mend & 1) != 0) net::SetTransportChecksum(&*exact);
      exact->in_port = 0;
      table_->HandleNd(*exact, now_, copy);
    } else if (kind == net::FrameKind::kArp) {
      exact->in_port = 0;
      const auto message = route::ReadArp(*exact);
      if (message) Require(!message->sender_mac.IsMulticast());
      net::Packet packet;
      Require(pool_.Allocate(static_cast<uint32_t>(frame.size()), &packet));
      std::copy(frame.begin(), frame.end(), packet.data);
      packet.in_port = 0;
      Require(net::Parse(&packet).kind == net::FrameKind::kArp);
      table_->HandleArp(&packet, now_, copy);
    }
  }

  void SendTo(const Step& step) {
    const auto family = (step.what & 1) != 0 ? net::Family::kIpv6 : net::Family::kIpv4;
    if (step.to == 0) return;
    net::Packet packet = pool_.Take(
        family == net::Family::kIpv4 ? test::Packet().Ipv4("192.0.2.1", "192.0.2.9").Udp(1, 2)
                                     : test::Packet().Ipv6("2001:db8::1", "2001:db8::9").Udp(1, 2));
    packet.out_port = 0;
    table_->Send(&packet, family, AddressOf(family, step.to), now_);
  }

  test::HeapPool pool_;
  route::RouteTable routes_;
  std::optional<route::NeighborTable> table_;
  net::Time now_ = net::kSecond;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Machine machine;
  for (; size >= sizeof(Step); data += sizeof(Step), size -= sizeof(Step)) {
    Step step;
    std::memcpy(&step, data, sizeof(Step));
    machine.Do(step);
  }
  machine.End();
  return 0;
}
