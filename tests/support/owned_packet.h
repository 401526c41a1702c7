// A net::Packet together with the memory that it lives in.
#pragma once

#include <cstring>
#include <memory>
#include <vector>

#include "dataplane/net/packet.h"
#include "dataplane/net/parse.h"

namespace postern::test {

using Bytes = std::vector<uint8_t>;

class OwnedPacket {
 public:
  static constexpr uint16_t kHeadroom = 128;
  static constexpr uint16_t kTailroom = 128;

  // With `exact` the memory ends with the frame, so that a sanitizer sees the first byte that is
  // read behind it.
  explicit OwnedPacket(const Bytes& frame, bool exact = false)
      : memory_(std::make_unique<uint8_t[]>((exact ? 0 : kHeadroom + kTailroom) + frame.size())) {
    packet.headroom = exact ? 0 : kHeadroom;
    packet.tailroom = exact ? 0 : kTailroom;
    packet.data = memory_.get() + packet.headroom;
    packet.length = static_cast<uint32_t>(frame.size());
    packet.buffer = memory_.get();
    if (!frame.empty()) std::memcpy(packet.data, frame.data(), frame.size());
  }

  net::Packet* operator->() { return &packet; }
  const net::Packet* operator->() const { return &packet; }
  net::Packet& operator*() { return packet; }
  const net::Packet& operator*() const { return packet; }
  Bytes Frame() const { return {packet.data, packet.data + packet.length}; }

  net::Packet packet;
  net::ParseResult parse;  // what net::Parse said of it

 private:
  std::unique_ptr<uint8_t[]> memory_;
};

}  // namespace postern::test
