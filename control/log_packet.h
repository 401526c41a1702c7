// A packet's headers in a LOG rule's line (log_line.h).
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "dataplane/pipeline/io.h"

namespace postern::control {

// The bytes of a datagram as far as they were captured, and its true length.
class Datagram {
 public:
  Datagram(std::span<const uint8_t> bytes, size_t length) : bytes_(bytes), length_(length) {}

  // `size` bytes at `offset`, or null where the datagram ends before or wasn't captured so far.
  const uint8_t* At(size_t offset, size_t size) const {
    if (offset > length_ || size > length_ - offset) return nullptr;
    if (offset > bytes_.size() || size > bytes_.size() - offset) return nullptr;
    return bytes_.data() + offset;
  }
  // Bytes from `offset` to the datagram's end.
  size_t After(size_t offset) const { return offset < length_ ? length_ - offset : 0; }

 private:
  std::span<const uint8_t> bytes_;
  size_t length_;
};

inline unsigned U16(const uint8_t* p) { return unsigned{p[0]} << 8 | p[1]; }
inline uint32_t U32(const uint8_t* p) { return uint32_t{U16(p)} << 16 | U16(p + 2); }

// Writes what a datagram's headers say, one after the other.
class PacketDumper {
 public:
  PacketDumper(const pipeline::LogRecord& record, const Datagram& datagram, std::string* line)
      : record_(record), datagram_(datagram), line_(*line) {}

  // `quoted`: inside the brackets of an ICMP error.
  void Ipv4(size_t offset, bool quoted);
  void Ipv6(size_t offset, bool quoted);

 private:
  enum class Next { kGoOn, kStop };

  template <typename... Args>
  void Add(fmt::format_string<Args...> format, Args&&... args) {
    line_ += fmt::format(format, std::forward<Args>(args)...);
  }
  bool Has(rules::LogTarget::Option option) const { return (record_.options & option) != 0; }
  void Incomplete(size_t offset) { Add("INCOMPLETE [{} bytes] ", datagram_.After(offset)); }
  void Hex(const uint8_t* bytes, size_t size) {
    for (size_t i = 0; i < size; ++i) Add("{:02X}", bytes[i]);
  }
  void Mark(bool quoted) {
    if (!quoted && record_.mark != 0) Add("MARK={:#x} ", record_.mark);
  }

  Next Tcp(size_t offset, bool fragment);
  Next Udp(size_t offset, bool fragment, bool lite);
  void Icmp(size_t offset, bool fragment, bool quoted);
  Next Icmpv6(size_t offset, bool fragment, bool quoted);
  // AH and ESP under IPv4.
  Next Security(std::string_view name, size_t offset, size_t spi, size_t size, bool fragment);
  // One IPv6 extension header; moves *offset and *header on.
  Next Extension(size_t* offset, uint8_t* header, bool* fragment);

  const pipeline::LogRecord& record_;
  const Datagram& datagram_;
  std::string& line_;
};

}  // namespace postern::control
