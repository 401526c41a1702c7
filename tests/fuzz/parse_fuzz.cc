// libFuzzer: every reader and writer of frames, on memory that ends with the frame.
//
// The first byte of the input says what is mended before parsing, because chance
// doesn't find checksums: bit 0 the IP length and header checksum, bit 1 the transport
// checksum, bit 2 which half is translated.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "dataplane/net/checksum.h"
#include "dataplane/net/parse.h"
#include "dataplane/net/tuple.h"
#include "nat/rewrite.h"
#include "tests/support/packet_builder.h"
#include "tests/support/sample_frames.h"

namespace {

using postern::net::Manip;
using postern::net::Tuple;
using postern::test::Bytes;
using postern::test::OwnedPacket;

void Require(bool holds) {
  if (!holds) std::abort();
}

// Where a translation would send it.
Tuple Elsewhere(Tuple tuple) {
  tuple.source.bytes[0] ^= 0x55;
  tuple.destination.bytes[3] ^= 0xaa;
  tuple.source_key = static_cast<uint16_t>(tuple.source_key + 1);
  if (postern::net::HasPorts(tuple.protocol)) tuple.destination_key ^= 0xffff;
  return tuple;
}

void Translate(OwnedPacket& packet, Manip manip) {
  using namespace postern;
  if (const auto quoted = net::ParseQuoted(*packet)) {
    Require(quoted->l4_offset <= packet->ip.l3_offset + packet->ip.l3_length);
    nat::RewriteIcmpError(&*packet, manip, Elsewhere(quoted->tuple));
  }
  const auto tuple = net::TupleOf(packet->ip);
  if (!tuple) return;
  const bool valid = net::TransportChecksumValid(*packet);
  if (!nat::Rewrite(&*packet, manip, Elsewhere(*tuple))) return;
  // An echo reply of nothing but zeros has two checksums in one's complement, and RFC 1624's update
  // may give the other one.
  const bool zeros = net::OnesSum(packet->L4(), packet->ip.L4Length()) == 0;
  Require(!valid || zeros || net::TransportChecksumValid(*packet));
  net::Packet again = *packet;
  Require(net::Parse(&again).kind == net::FrameKind::kIp);
  Require(again.ip.source == packet->ip.source && again.ip.destination == packet->ip.destination);
  Require(again.ip.source_port == packet->ip.source_port &&
          again.ip.destination_port == packet->ip.destination_port);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace postern;
  if (size < 1 || size > 65536) return 0;
  const uint8_t mode = data[0];
  Bytes frame(data + 1, data + size);
  if ((mode & 1) != 0) test::FitIpLength(&frame);
  OwnedPacket packet(frame, true);
  if (net::Parse(&*packet).kind != net::FrameKind::kIp) return 0;
  const net::ParsedPacket& ip = packet->ip;
  Require(ip.l3_offset + ip.l3_length <= packet->length);
  Require(ip.payload_offset <= ip.l3_offset + ip.l3_length);
  if ((mode & 2) != 0) net::SetTransportChecksum(&*packet);
  Translate(packet, (mode & 4) != 0 ? Manip::kSource : Manip::kDestination);
  return 0;
}
