// Capture files through libpcap: Ethernet frames in, Ethernet frames out.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dataplane/net/result.h"
#include "dataplane/net/time.h"

struct pcap;
struct pcap_dumper;

namespace postern::control {

// Reads one capture (pcap or pcapng, micro- or nanoseconds) frame by frame.
class PcapReader {
 public:
  // Fails, with the file's name, where it isn't a capture or its link type isn't Ethernet.
  static net::Result<std::unique_ptr<PcapReader>> Open(const std::string& file);
  ~PcapReader();
  PcapReader(const PcapReader&) = delete;
  PcapReader& operator=(const PcapReader&) = delete;

  // The next frame, false at the end. *error is set where the file is damaged.
  bool Next(std::string* error);
  // Nanoseconds since 1970.
  net::Time time() const { return time_; }
  std::span<const uint8_t> frame() const { return {frame_, length_}; }

 private:
  PcapReader(pcap* handle, std::string file) : handle_(handle), file_(std::move(file)) {}

  pcap* handle_;
  std::string file_;
  net::Time time_ = 0;
  const uint8_t* frame_ = nullptr;
  size_t length_ = 0;
};

// Writes a capture (pcap, microseconds); the file appears with the first frame.
class PcapWriter {
 public:
  explicit PcapWriter(std::string file) : file_(std::move(file)) {}
  ~PcapWriter();
  PcapWriter(const PcapWriter&) = delete;
  PcapWriter& operator=(const PcapWriter&) = delete;

  net::Status Write(std::span<const uint8_t> frame, net::Time time);
  net::Status Close();

 private:
  std::string file_;
  pcap* handle_ = nullptr;
  pcap_dumper* dumper_ = nullptr;
};

}  // namespace postern::control
