// packet-sender SECONDS FRAMES (INTERFACE PCAP)...: sends each capture's frames out of its
// interface over and over, in bursts of 32 and in turns, past the queueing discipline, for SECONDS
// or until FRAMES (where it isn't 0) have been sent. Prints one line of JSON, with the CPU
// time that it took: where the receiver works within the call that sends, that is his time,
// too. For perf/compare's kernel.
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

constexpr size_t kBurst = 32;
constexpr size_t kFileHead = 24;
constexpr size_t kRecordHead = 16;

double Seconds(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

class Line {
 public:
  bool Open(const char* interface, const char* capture) {
    std::ifstream file(capture, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
    for (size_t at = kFileHead; at + kRecordHead <= bytes_.size();) {
      uint32_t length = 0;
      std::memcpy(&length, bytes_.data() + at + 8, sizeof(length));
      at += kRecordHead;
      if (length > bytes_.size() - at) return false;
      frames_.push_back({bytes_.data() + at, length});
      at += length;
    }
    socket_ = socket(AF_PACKET, SOCK_RAW, 0);
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_ifindex = static_cast<int>(if_nametoindex(interface));
    const int yes = 1;
    return !frames_.empty() && socket_ >= 0 && address.sll_ifindex != 0 &&
           setsockopt(socket_, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof(yes)) == 0 &&
           bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  }
  // How many frames have been sent.
  uint64_t Send() {
    std::array<mmsghdr, kBurst> messages{};
    for (mmsghdr& message : messages) {
      message.msg_hdr.msg_iov = &frames_[next_];
      message.msg_hdr.msg_iovlen = 1;
      if (++next_ == frames_.size()) next_ = 0;
    }
    const int sent = sendmmsg(socket_, messages.data(), kBurst, 0);
    return sent > 0 ? static_cast<uint64_t>(sent) : 0;
  }

 private:
  std::vector<char> bytes_;
  std::vector<iovec> frames_;
  size_t next_ = 0;
  int socket_ = -1;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5 || argc % 2 == 0) {
    std::fprintf(stderr, "packet-sender SECONDS FRAMES (INTERFACE PCAP)...\n");
    return 2;
  }
  const double seconds = std::atof(argv[1]);
  const uint64_t frames = std::strtoull(argv[2], nullptr, 10);
  std::vector<Line> lines(static_cast<size_t>(argc - 3) / 2);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (!lines[i].Open(argv[3 + 2 * i], argv[4 + 2 * i])) {
      std::fprintf(stderr, "packet-sender: %s or %s can't be used\n", argv[3 + 2 * i],
                   argv[4 + 2 * i]);
      return 1;
    }
  }
  uint64_t packets = 0;
  const double begin = Seconds(CLOCK_MONOTONIC);
  const double cpu = Seconds(CLOCK_PROCESS_CPUTIME_ID);
  while (frames != 0 ? packets < frames : Seconds(CLOCK_MONOTONIC) < begin + seconds) {
    const uint64_t before = packets;
    for (Line& line : lines) packets += line.Send();
    if (packets == before) {
      std::fprintf(stderr, "packet-sender: nothing can be sent\n");
      return 1;
    }
  }
  std::printf("{\"packets\":%llu,\"seconds\":%.6f,\"cpu_seconds\":%.6f}\n",
              static_cast<unsigned long long>(packets), Seconds(CLOCK_MONOTONIC) - begin,
              Seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
  return 0;
}
