// Datagrams of counting bytes, whole and in pieces, and a reassembler that takes them.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>

#include "dataplane/route/fragment.h"
#include "tests/support/heap_pool.h"

namespace postern::route {

using net::DropReason;
using test::Bytes;
using test::Packet;

inline constexpr const char* kSender = "192.0.2.10";
inline constexpr const char* kReceiver = "198.51.100.20";
inline constexpr const char* kSender6 = "2001:db8:1::10";
inline constexpr const char* kReceiver6 = "2001:db8:2::20";
inline constexpr net::Time kStart = 1000 * net::kSecond;

inline Bytes BytesOf(const net::Packet& packet) { return {packet.L3(), packet.L3End()}; }

class Reassembly : public FragmentSink {
 public:
  explicit Reassembly(ReassemblySettings settings = {})
      : reassembler(std::make_unique<Reassembler>(settings, &pool, this)) {}
  ~Reassembly() override {
    reassembler.reset();
    EXPECT_EQ(pool.lent(), 0U);
    EXPECT_EQ(pool.bad_frees(), 0U);
  }

  void Drop(net::Packet* packet, DropReason reason) override {
    ++drops[reason];
    pool.Free(packet);
  }
  void TimedOut(net::Packet* first) override {
    ++timed_out;
    EXPECT_EQ(first->ip.fragment_offset, 0);
    pool.Free(first);
  }
  // The whole datagram from l3 on, when this fragment completed it.
  std::optional<Bytes> Add(const Packet& fragment, net::Time now = kStart) {
    net::Packet packet = pool.Take(fragment);
    if (!reassembler->Add(&packet, now)) return std::nullopt;
    last = packet;
    const Bytes bytes = BytesOf(packet);
    pool.Free(&packet);
    return bytes;
  }
  int dropped(DropReason reason) const {
    const auto it = drops.find(reason);
    return it == drops.end() ? 0 : it->second;
  }

  test::HeapPool pool;
  std::unique_ptr<Reassembler> reassembler;
  std::map<DropReason, int> drops;
  int timed_out = 0;
  net::Packet last;
};

// `[begin, end)` of a datagram of counting bytes.
inline Packet Piece(bool v4, uint32_t id, uint32_t begin, uint32_t end, bool more) {
  Bytes payload(end - begin);
  for (size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<uint8_t>((begin + i) * 7);
  Packet packet;
  v4 ? packet.Ipv4(kSender, kReceiver) : packet.Ipv6(kSender6, kReceiver6);
  return packet.Fragment(id, static_cast<uint16_t>(begin), more)
      .Raw(net::kProtoUdp)
      .Payload(payload);
}
inline Packet Whole(bool v4, uint16_t id, uint16_t length) {
  Bytes payload(length);
  for (size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<uint8_t>(i * 7);
  Packet packet;
  v4 ? packet.Ipv4(kSender, kReceiver).Id(id) : packet.Ipv6(kSender6, kReceiver6);
  return packet.Raw(net::kProtoUdp).Payload(payload);
}
inline Bytes DatagramOf(const Packet& packet) {
  const Bytes frame = packet.Frame();
  return {frame.begin() + 14, frame.end()};
}

// A piece: `[begin, end)` of the datagram.
struct Arrival {
  uint32_t begin, end;
  bool more;
};

}  // namespace postern::route
