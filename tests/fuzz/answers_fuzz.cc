// What the appliance answers to arbitrary packets: ICMP errors and TCP resets. An answer parses, is
// no longer than it may be, quotes what it answers, and is never itself answered with an error.
//
// The first byte of the input says what is mended before parsing (bit 0 the IP length and header
// checksum, bit 1 the transport checksum), the second one which error is sent.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "dataplane/net/checksum.h"
#include "dataplane/net/parse.h"
#include "dataplane/net/tuple.h"
#include "dataplane/route/icmp_error.h"
#include "tests/support/heap_pool.h"
#include "tests/support/sample_frames.h"

namespace {

using namespace postern;

void Require(bool holds) {
  if (!holds) std::abort();
}

constexpr std::array<route::IcmpError, 6> kErrors4 = {
    {{3, 1, 0}, {3, 4, 1280}, {3, 13, 0}, {11, 0, 0}, {11, 1, 0}, {12, 0, 20}}};
constexpr std::array<route::IcmpError, 6> kErrors6 = {
    {{1, 0, 0}, {2, 0, 1280}, {1, 4, 0}, {3, 0, 0}, {4, 1, 40}, {4, 2, 48}}};

void RequireWellMade(const net::Packet& answer, const net::Packet& offending, uint32_t longest) {
  net::Packet again = answer;
  Require(net::Parse(&again).kind == net::FrameKind::kIp);
  Require(again.ip.family == offending.ip.family && again.ip.l4_valid && !again.ip.fragment);
  Require(again.ip.destination == offending.ip.source);
  Require(again.ip.l3_offset + again.ip.l3_length == answer.length);
  Require(again.ip.l3_length <= longest);
  Require(net::TransportChecksumValid(again));
}

void AnswerWithError(test::HeapPool* pool, const net::Packet& offending, uint8_t choice) {
  const bool v4 = offending.ip.family == net::Family::kIpv4;
  const route::IcmpError& what = (v4 ? kErrors4 : kErrors6)[choice % kErrors4.size()];
  const auto us = net::ParseAddress(offending.ip.family, v4 ? "203.0.113.1" : "2001:db8:3::1");
  net::Packet error;
  if (!route::BuildIcmpError(pool, offending, what, *us, 7, &error)) return;
  error.in_port = 0;
  RequireWellMade(error, offending, v4 ? 576 : 1280);
  Require(error.ip.source == *us && error.ip.icmp_type == what.type);
  Require(!route::MayAnswerWithError(error, {}));
  const auto quoted = net::ParseQuoted(error);
  const auto tuple = net::TupleOf(offending.ip);
  if (quoted && tuple) Require(quoted->tuple == *tuple);
  pool->Free(&error);
}

void AnswerWithReset(test::HeapPool* pool, const net::Packet& offending) {
  net::Packet reset;
  if (!route::BuildTcpReset(pool, offending, 7, &reset)) return;
  RequireWellMade(reset, offending, 60);
  Require(reset.ip.source == offending.ip.destination && reset.ip.protocol == net::kProtoTcp);
  net::Packet none;
  Require(!route::BuildTcpReset(pool, reset, 7, &none));
  pool->Free(&reset);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  test::Bytes frame(data + 2, data + size);
  if ((data[0] & 1) != 0) test::FitIpLength(&frame);
  test::OwnedPacket packet(frame, true);
  if (net::Parse(&*packet).kind != net::FrameKind::kIp) return 0;
  if ((data[0] & 2) != 0) net::SetTransportChecksum(&*packet);
  packet->in_port = 0;
  test::HeapPool pool;
  AnswerWithError(&pool, *packet, data[1]);
  AnswerWithReset(&pool, *packet);
  Require(pool.lent() == 0 && pool.bad_frees() == 0);
  return 0;
}
