#include "perf/frames.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <tuple>
#include <vector>

#include "dataplane/net/checksum.h"
#include "dataplane/net/parse.h"
#include "dataplane/net/wire.h"

namespace postern::perf {
namespace {

using net::Family;

// The frame as a port gives it: headers, then zeros.
struct Received {
  std::vector<uint8_t> bytes;
  net::Packet packet;

  explicit Received(const Frame& frame) : bytes(std::max<size_t>(frame.length, 78)) {
    std::memcpy(bytes.data(), frame.bytes.data(), frame.bytes.size());
    packet.data = bytes.data();
    packet.length = frame.length;
  }
};

TEST(Frames, AreWhatTheApplianceTakesForValid) {
  const Endpoints ends = FlowAt(4711, false);
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    for (const uint16_t length : {kFrameBytes, uint16_t{590}, uint16_t{1514}}) {
      for (const bool tcp : {false, true}) {
        const FrameShape shape{family, length};
        const Frame frame = tcp ? MakeTcp(ends, {net::kTcpAck, 0xfffffff0, 0x80000001}, kLan, shape)
                                : MakeUdp(ends, kLan, shape);
        Received got(frame);
        EXPECT_EQ(net::Parse(&got.packet).kind, net::FrameKind::kIp);
        EXPECT_TRUE(got.packet.ip.l4_valid) << length;
        EXPECT_TRUE(net::TransportChecksumValid(got.packet)) << length << (tcp ? " tcp" : " udp");
        EXPECT_EQ(got.packet.ip.family, family);
        EXPECT_EQ(got.packet.ip.source_port, ends.source_port);
        EXPECT_EQ(got.packet.ip.destination_port, ends.destination_port);
        if (length > kFrameBytes) {
          EXPECT_EQ(got.packet.ip.l3_length, length - 14U);
        }
      }
    }
  }
}

TEST(Frames, SmallUdpOverIpv4FillsTheLeastFrame) {
  EXPECT_EQ(MakeUdp(FlowAt(1, false), kLan).length, 60);
  EXPECT_EQ(MakeUdp(FlowAt(1, false), kLan, {Family::kIpv6}).length, 62);
  EXPECT_EQ(MakeTcp(FlowAt(1, false), {}, kLan, {Family::kIpv6}).length, 74);
}

TEST(Frames, AnswerTurnsTheEndsRound) {
  const Endpoints ends = FlowAt(12345, false);
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    const Frame frame = MakeUdp(ends, kLan, {family});
    const Endpoints answer = AnswerTo({frame.bytes.data(), frame.bytes.size()});
    EXPECT_EQ(answer.source, ends.destination);
    EXPECT_EQ(answer.destination, ends.source);
    EXPECT_EQ(answer.source_port, ends.destination_port);
    EXPECT_EQ(answer.destination_port, ends.source_port);
  }
}

TEST(Frames, EveryFlowHasItsOwnTupleAndItsOwnAfterMasquerade) {
  std::set<std::tuple<uint32_t, uint32_t, uint16_t>> tuples;
  std::set<std::tuple<uint32_t, uint16_t>> translated;
  constexpr uint32_t kFlows = 300'000;
  for (uint32_t i = 0; i < kFlows; ++i) {
    const Endpoints ends = FlowAt(i, false);
    tuples.insert({ends.source, ends.destination, ends.source_port});
    translated.insert({ends.destination, ends.source_port});
  }
  EXPECT_EQ(tuples.size(), kFlows);
  EXPECT_EQ(translated.size(), kFlows);
}

}  // namespace
}  // namespace postern::perf
