// A Runtime in a network namespace of its own, with capture files as wires.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/dpdk/runtime.h"
#include "tests/support/packet_builder.h"

namespace postern::test {

inline bool EnterOwnNetwork() { return unshare(CLONE_NEWNET) == 0; }

// The classic format, microseconds, Ethernet.
inline void WritePcap(const std::string& file, const std::vector<Bytes>& frames) {
  FILE* out = fopen(file.c_str(), "wb");
  const uint32_t header[6] = {0xa1b2c3d4, 2 | 4 << 16, 0, 0, 65535, 1};
  fwrite(header, sizeof(header), 1, out);
  for (const Bytes& frame : frames) {
    const auto size = static_cast<uint32_t>(frame.size());
    const uint32_t record[4] = {1, 0, size, size};
    fwrite(record, sizeof(record), 1, out);
    fwrite(frame.data(), 1, frame.size(), out);
  }
  fclose(out);
}

inline std::vector<Bytes> ReadPcap(const std::string& file) {
  std::vector<Bytes> frames;
  FILE* in = fopen(file.c_str(), "rb");
  if (in == nullptr) return frames;
  uint32_t header[6];
  uint32_t record[4];
  if (fread(header, sizeof(header), 1, in) != 1) header[0] = 0;
  while (fread(record, sizeof(record), 1, in) == 1) {
    Bytes frame(record[2]);
    if (fread(frame.data(), 1, frame.size(), in) != frame.size()) break;
    frames.push_back(std::move(frame));
  }
  fclose(in);
  return frames;
}

// A small daemon's data plane: ordinary memory, both workers on CPU 0.
inline dpdk::RuntimeConfig SmallConfig() {
  dpdk::RuntimeConfig config;
  config.workers = {0, 0};
  config.main_core = 0;
  config.hugepages = false;
  config.memory_mb = 256;
  config.mbufs = 8192;
  config.conntrack_capacity = 4096;
  config.seed = 5;
  return config;
}

inline dpdk::PortSettings MakePort(const std::string& name, const std::string& device,
                                   bool host = false) {
  dpdk::PortSettings port;
  port.name = name;
  port.device = device;
  port.host = host;
  return port;
}

// Runs `body` in a child process, because DPDK starts once a process. What it returns comes back.
class Child {
 public:
  explicit Child(const std::function<std::string()>& body) {
    int pipe_ends[2];
    if (pipe(pipe_ends) != 0) return;
    pid_ = fork();
    if (pid_ == 0) {
      close(pipe_ends[0]);
      const std::string text = body();
      [[maybe_unused]] const ssize_t written = write(pipe_ends[1], text.data(), text.size());
      _exit(0);
    }
    close(pipe_ends[1]);
    fd_ = pipe_ends[0];
  }
  ~Child() {
    Kill();
    if (fd_ >= 0) close(fd_);
  }
  // Until the child has ended.
  std::string Read() const {
    std::string text;
    char buffer[512];
    ssize_t size = 0;
    while ((size = read(fd_, buffer, sizeof(buffer))) > 0) {
      text.append(buffer, static_cast<size_t>(size));
    }
    return text;
  }
  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
  int fd_ = -1;
};

}  // namespace postern::test
