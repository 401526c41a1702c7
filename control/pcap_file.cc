#include "control/pcap_file.h"

#include <pcap/pcap.h>

namespace postern::control {
namespace {
// The largest frame that libpcap itself reads.
constexpr int kMaxFrame = 262144;
}  // namespace

net::Result<std::unique_ptr<PcapReader>> PcapReader::Open(const std::string& file) {
  char reason[PCAP_ERRBUF_SIZE] = "";
  pcap_t* handle =
      pcap_open_offline_with_tstamp_precision(file.c_str(), PCAP_TSTAMP_PRECISION_NANO, reason);
  if (handle == nullptr) {
    const std::string text = reason;
    return net::Error{text.find(file) == std::string::npos ? file + ": " + text : text};
  }
  std::unique_ptr<PcapReader> reader(new PcapReader(handle, file));
  if (pcap_datalink(handle) != DLT_EN10MB) {
    return net::Error{file + ": the link type must be Ethernet"};
  }
  return reader;
}

PcapReader::~PcapReader() { pcap_close(handle_); }

bool PcapReader::Next(std::string* error) {
  pcap_pkthdr* header = nullptr;
  const int status = pcap_next_ex(handle_, &header, &frame_);
  if (status != 1) {
    if (status == PCAP_ERROR) *error = file_ + ": " + pcap_geterr(handle_);
    return false;
  }
  time_ = static_cast<net::Time>(header->ts.tv_sec) * net::kSecond +
          static_cast<net::Time>(header->ts.tv_usec);  // nanoseconds by the precision asked for
  length_ = header->caplen;
  return true;
}

PcapWriter::~PcapWriter() {
  const net::Status ignored = Close();
  static_cast<void>(ignored);
}

net::Status PcapWriter::Write(std::span<const uint8_t> frame, net::Time time) {
  if (dumper_ == nullptr) {
    handle_ = pcap_open_dead(DLT_EN10MB, kMaxFrame);
    dumper_ = handle_ == nullptr ? nullptr : pcap_dump_open(handle_, file_.c_str());
    if (dumper_ == nullptr) {
      return net::Error{handle_ == nullptr ? file_ + ": out of memory" : pcap_geterr(handle_)};
    }
  }
  pcap_pkthdr header{};
  header.ts.tv_sec = static_cast<time_t>(time / net::kSecond);
  header.ts.tv_usec = static_cast<suseconds_t>(time % net::kSecond / net::kMicrosecond);
  header.caplen = static_cast<bpf_u_int32>(frame.size());
  header.len = header.caplen;
  pcap_dump(reinterpret_cast<u_char*>(dumper_), &header, frame.data());
  return {};
}

net::Status PcapWriter::Close() {
  if (dumper_ == nullptr) {
    if (handle_ != nullptr) pcap_close(handle_);
    handle_ = nullptr;
    return {};
  }
  const bool failed = pcap_dump_flush(dumper_) != 0;
  pcap_dump_close(dumper_);
  pcap_close(handle_);
  dumper_ = nullptr;
  handle_ = nullptr;
  if (failed) return net::Error{file_ + ": cannot write"};
  return {};
}

}  // namespace postern::control
