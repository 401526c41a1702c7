// The lengths of the fragments that a datagram came in, so that it can leave in the same ones.
//
// They lie behind the frame, in the buffer's tailroom, two bytes each in order of offset: the first
// fragment's from its IP header on (without IPv6's fragment header), the others' payload. Together
// they make l3_length; a datagram that has been lengthened or shortened since has none, because
// they are sought at another place and their sum is another. Packet::fragment_count says how many.
#pragma once

#include <cstdint>
#include <cstring>

#include "dataplane/net/packet.h"

namespace postern::route {

class ReceivedLengths {
 public:
  // Of room in the tailroom.
  static uint32_t Bytes(uint32_t count) { return count * uint32_t{sizeof(uint16_t)}; }

  explicit ReceivedLengths(const net::Packet& packet)
      : first_(packet.data + packet.length),
        count_(Bytes(packet.fragment_count) <= packet.tailroom ? packet.fragment_count : 0) {}

  uint32_t count() const { return count_; }
  uint32_t operator[](uint32_t index) const {
    uint16_t length;
    std::memcpy(&length, first_ + Bytes(index), sizeof(length));
    return length;
  }

  // The packet's next length; false when the tailroom is used up.
  static bool Append(uint16_t length, net::Packet* packet) {
    const uint32_t at = Bytes(packet->fragment_count);
    if (packet->tailroom < at + sizeof(length)) return false;
    std::memcpy(packet->data + packet->length + at, &length, sizeof(length));
    ++packet->fragment_count;
    return true;
  }

 private:
  const uint8_t* first_;
  uint32_t count_;
};

}  // namespace postern::route
