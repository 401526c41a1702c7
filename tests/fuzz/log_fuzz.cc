// The line that a LOG rule writes of arbitrary packets: one line of printable text, whatever the
// packet contains, and never a byte from behind what was captured.
//
// The first two bytes of the input are the rule's options and what is mended before parsing (bit 0
// the IP length and header checksum; bit 1: it has no input port).
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "control/log_line.h"
#include "dataplane/net/parse.h"
#include "tests/support/sample_frames.h"

namespace {

using namespace postern;

// As the pipeline makes it of a parsed packet.
pipeline::LogRecord Record(const net::Packet& packet, uint8_t options) {
  pipeline::LogRecord record;
  record.options = options;
  std::memcpy(record.prefix, "in: ", 4);
  record.in = packet.in_port;
  record.out = 1;
  record.mark = options;
  record.l3_offset = packet.ip.l3_offset;
  record.l3_length = packet.ip.l3_length;
  record.family = packet.ip.family;
  record.captured =
      static_cast<uint16_t>(std::min<size_t>(packet.length, pipeline::LogRecord::kMaxBytes));
  std::memcpy(record.bytes, packet.data, record.captured);
  return record;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  test::Bytes frame(data + 2, data + size);
  if ((data[1] & 1) != 0) test::FitIpLength(&frame);
  test::OwnedPacket packet(frame, true);
  if (net::Parse(&*packet).kind != net::FrameKind::kIp) return 0;
  if ((data[1] & 2) == 0) packet->in_port = 0;
  const std::vector<std::string> names = {"wan0", "lan0"};
  pipeline::LogRecord record = Record(*packet, data[0]);
  const std::string line = control::FormatLogLine(record, names);
  const bool printable =
      std::all_of(line.begin(), line.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (!printable || !line.starts_with("in: IN=")) std::abort();
  // What wasn't captured doesn't show.
  std::fill(record.bytes + record.captured, record.bytes + sizeof(record.bytes), 0xa5);
  if (control::FormatLogLine(record, names) != line) std::abort();
  return 0;
}
