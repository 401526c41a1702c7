// A worker's conntrack without a worker: table, pool, tracker, an observer that writes everything
// down, and a clock that the test turns.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <initializer_list>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "ctrack/flow_table.h"
#include "ctrack/tracker.h"
#include "tests/support/packet_builder.h"

namespace postern::ctrack {

inline constexpr std::array<uint8_t, 16> kHashKey = {1, 2,  3,  4,  5,  6,  7,  8,
                                                     9, 10, 11, 12, 13, 14, 15, 16};

inline std::string_view Name(CtInfo info) {
  constexpr std::array<std::string_view, 7> kNames = {
      "ESTABLISHED",   "RELATED",   "NEW",    "ESTABLISHED_REPLY",
      "RELATED_REPLY", "UNTRACKED", "INVALID"};
  return kNames[static_cast<size_t>(info)];
}
inline void PrintTo(CtInfo info, std::ostream* out) { *out << Name(info); }
inline void PrintTo(TcpState state, std::ostream* out) { *out << ToString(state); }

class Recorder final : public ConnectionObserver {
 public:
  struct Event {
    ConnEvent event;
    uint32_t changes;
    uint32_t id;
  };
  void OnConnection(ConnEvent event, uint32_t changes, const Connection& connection,
                    Time) override {
    events.push_back({event, changes, connection.id});
  }
  void OnClosed(Connection& connection) override { closed.push_back(connection.id); }

  size_t Count(ConnEvent event) const {
    size_t count = 0;
    for (const Event& e : events) count += e.event == event;
    return count;
  }
  uint32_t AllChanges() const {
    uint32_t changes = 0;
    for (const Event& e : events) changes |= e.changes;
    return changes;
  }

  std::vector<Event> events;
  std::vector<uint32_t> closed;
};

// What became of a packet that passed every chain.
struct Seen {
  CtInfo info = CtInfo::kInvalid;
  Connection* connection = nullptr;
  net::Verdict verdict = net::Verdict::kAccept;
  net::DropReason reason = net::DropReason::kNone;
  int hand_to = -1;
};

class World {
 public:
  explicit World(uint32_t capacity = 1024)
      : pool(capacity),
        table(2 * capacity, net::FlowHasher(kHashKey), pool),
        tracker(&table, &pool, &shared, &observer, 1) {
    tracker.SetSettings(&settings);
  }

  // Track and, unless `dropped` by a rule, Confirm.
  Seen Send(const test::Packet& builder, net::Hook hook = net::Hook::kPrerouting,
            bool dropped = false) {
    const test::OwnedPacket packet = builder.Build(/*exact=*/true);
    EXPECT_EQ(packet.parse.kind, net::FrameKind::kIp);
    TrackResult result = tracker.Track(*packet, hook, now);
    Seen seen{result.ct.info, result.ct.connection, result.verdict, result.reason, result.hand_to};
    if (result.verdict != net::Verdict::kAccept || result.hand_to >= 0) return seen;
    if (dropped) {
      tracker.Release(result.ct);
      seen.connection = nullptr;
      return seen;
    }
    if (!tracker.Confirm(result.ct, now, &seen.reason)) {
      tracker.Release(result.ct);
      seen.connection = nullptr;
      seen.verdict = net::Verdict::kDrop;
      return seen;
    }
    seen.connection = result.ct.connection;
    return seen;
  }

  void Pass(double seconds) { now += static_cast<Time>(seconds * net::kSecond); }
  // Whole seconds that the connection has left, as conntrack -L prints them.
  uint64_t Left(const Connection& connection) const {
    return (connection.expires - now) / net::kSecond;
  }

  Settings settings;
  SharedCount shared;
  ConnectionPool pool;
  FlowTable table;
  Recorder observer;
  Tracker tracker;
  Time now = 1000 * net::kSecond;
};

inline constexpr std::string_view kClient = "192.0.2.10";
inline constexpr std::string_view kServer = "198.51.100.20";

inline test::Packet ClientUdp(uint16_t port = 1234) {
  return test::Packet().Ipv4(kClient, kServer).Udp(port, 53).Payload("query");
}
inline test::Packet ServerUdp(uint16_t port = 1234) {
  return test::Packet().Ipv4(kServer, kClient).Udp(53, port).Payload("answer");
}

}  // namespace postern::ctrack
