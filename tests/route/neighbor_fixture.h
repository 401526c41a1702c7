// A neighbour table between a LAN with one host and a WAN, and the messages that reach it.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/net/parse.h"
#include "dataplane/route/arp.h"
#include "dataplane/route/neighbor_discovery.h"
#include "dataplane/route/neighbor_table.h"
#include "tests/support/heap_pool.h"

namespace postern::route {

using net::DropReason;
using test::Packet;

inline constexpr PortId kLan = 0;
inline constexpr PortId kWan = 1;

inline IpAddress V4(std::string_view text) { return *net::ParseAddress(Family::kIpv4, text); }
inline IpAddress V6(std::string_view text) { return *net::ParseAddress(Family::kIpv6, text); }
inline MacAddress Mac(std::string_view text) { return *net::ParseMac(text); }

inline const MacAddress kOwnMac = Mac("02:00:00:00:00:aa");
inline const MacAddress kHostMac = Mac("02:00:00:00:00:01");
inline const MacAddress kOtherMac = Mac("02:00:00:00:00:66");
inline const IpAddress kOwn = V4("192.0.2.1");
inline const IpAddress kHost = V4("192.0.2.10");
inline const IpAddress kOwn6 = V6("2001:db8:1::1");
inline const IpAddress kHost6 = V6("2001:db8:1::10");

inline std::vector<PortConfig> Ports() {
  PortConfig lan, wan;
  lan.id = kLan;
  lan.mac = kOwnMac;
  lan.addresses = {*net::ParsePrefix("192.0.2.1/24"), *net::ParsePrefix("2001:db8:1::1/64")};
  wan.id = kWan;
  wan.mac = Mac("02:00:00:00:00:bb");
  wan.addresses = {*net::ParsePrefix("203.0.113.2/24")};
  return {lan, wan};
}

class NeighborTest : public testing::Test, public NeighborSink {
 public:
  NeighborTest() { Make({}); }
  ~NeighborTest() override {
    Clear();
    table.reset();
    EXPECT_EQ(pool.lent(), 0U);
    EXPECT_EQ(pool.bad_frees(), 0U);
  }
  void Make(const NeighborSettings& settings) {
    table = std::make_unique<NeighborTable>(settings, &pool, this, 1);
    table->Configure(&routes, {});
  }

  void SendFrame(net::Packet* packet) override { sent.push_back(*packet); }
  void Unresolved(net::Packet* packet) override {
    ++unresolved;
    pool.Free(packet);
  }
  void Drop(net::Packet* packet, DropReason reason) override {
    ++drops[reason];
    pool.Free(packet);
  }
  void Clear() {
    for (net::Packet& packet : sent) pool.Free(&packet);
    sent.clear();
  }

  void Send(const IpAddress& to = kHost) {
    net::Packet packet = pool.Take(Packet().Ipv4(V4("198.51.100.1"), to).Udp(1, 2));
    packet.out_port = kLan;
    table->Send(&packet, Family::kIpv4, to, now);
  }
  void Send6(const IpAddress& to = kHost6) {
    net::Packet packet = pool.Take(Packet().Ipv6(V6("2001:db8:9::1"), to).Udp(1, 2));
    packet.out_port = kLan;
    table->Send(&packet, Family::kIpv6, to, now);
  }
  void Arp(bool request, const MacAddress& sender_mac, const IpAddress& sender,
           const IpAddress& target, const MacAddress& frame_to, bool copy = false) {
    ArpMessage message;
    message.request = request;
    message.sender_mac = sender_mac;
    message.sender = sender;
    message.target = target;
    net::Packet packet;
    ASSERT_TRUE(BuildArp(&pool, message, frame_to, &packet));
    packet.in_port = kLan;
    table->HandleArp(&packet, now, copy);
  }
  void Reply(const MacAddress& mac = kHostMac, const IpAddress& sender = kHost) {
    Arp(false, mac, sender, kOwn, kOwnMac);
  }
  bool Nd(NdMessage message, bool copy = false) {
    net::Packet packet;
    EXPECT_TRUE(BuildNeighborMessage(&pool, message, kHostMac, kOwnMac, &packet));
    packet.in_port = kLan;
    const bool was = table->HandleNd(packet, now, copy);
    pool.Free(&packet);
    return was;
  }
  NdMessage Advert(bool solicited, bool override_flag, std::optional<MacAddress> mac) {
    NdMessage message;
    message.source = message.target = kHost6;
    message.destination = solicited ? LinkLocalAddress(kOwnMac) : V6("ff02::1");
    message.solicited = solicited;
    message.override_flag = override_flag;
    message.link_layer = mac;
    return message;
  }
  NdMessage Solicit(const IpAddress& target = kOwn6) {
    NdMessage message;
    message.solicitation = true;
    message.source = kHost6;
    message.target = target;
    message.destination = SolicitedNodeAddress(target);
    message.link_layer = kHostMac;
    return message;
  }
  void Pass(net::Time time) {
    const net::Time until = now + time;
    while (now < until) {
      now = std::min(until, now + 100 * net::kMillisecond);
      table->Tick(now);
    }
  }
  const MacAddress* Find() { return table->Find(kLan, Family::kIpv4, kHost, now); }
  // "arp? <to>", "arp! <to>", "ns <to>", "na <to>" or "ip <to>" of each frame sent.
  std::vector<std::string> Sent() {
    std::vector<std::string> out;
    for (const net::Packet& packet : sent) {
      const auto* ethernet = packet.At<net::EthernetHeader>(0);
      std::string what = "ip";
      if (ethernet->type.Host() == net::kEtherTypeArp) {
        what = packet.At<net::ArpHeader>(14)->operation.Host() == 1 ? "arp?" : "arp!";
      } else if (packet.ip.icmp_type == net::kIcmpv6NeighborSolicit) {
        what = "ns";
      } else if (packet.ip.icmp_type == net::kIcmpv6NeighborAdvert) {
        what = "na";
      }
      out.push_back(what + " " + net::ToString(ethernet->destination));
    }
    Clear();
    return out;
  }
  using Frames = std::vector<std::string>;

  test::HeapPool pool;
  RouteTable routes{Ports(), {}, MakeTrieFib(), 1};
  std::unique_ptr<NeighborTable> table;
  std::vector<net::Packet> sent;
  std::map<DropReason, int> drops;
  int unresolved = 0;
  net::Time now = 1000 * net::kSecond;
};

}  // namespace postern::route
