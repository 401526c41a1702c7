// capset(2) changes one thread only, and DPDK has made its threads by the time the ports are up,
// so each of them is asked by a signal to take over the capabilities of the calling thread, as
// libc does for setuid(2).
#include "app/privileges.h"

#include <cap-ng.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <thread>

namespace postern::app {
namespace {

std::array<__user_cap_data_struct, 2> g_kept;
std::atomic<int> g_answers{0};
std::atomic<bool> g_failed{false};

// Async-signal-safe: one system call and atomics.
void TakeOver(int) {
  const int saved = errno;
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  if (syscall(SYS_capset, &header, g_kept.data()) != 0) g_failed = true;
  ++g_answers;
  errno = saved;
}

net::Status InOtherThreads() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  if (syscall(SYS_capget, &header, g_kept.data()) != 0) {
    return net::Error{fmt::format("capget: {}", std::strerror(errno))};
  }
  const int signal = SIGRTMAX - 1;
  struct sigaction action {};
  struct sigaction old {};
  action.sa_handler = &TakeOver;
  action.sa_flags = SA_RESTART;
  sigaction(signal, &action, &old);
  const pid_t self = static_cast<pid_t>(syscall(SYS_gettid));
  int asked = 0;
  std::error_code ignored;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", ignored)) {
    const pid_t thread = std::atoi(task.path().filename().c_str());
    if (thread != self && syscall(SYS_tgkill, getpid(), thread, signal) == 0) ++asked;
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  while (g_answers < asked && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  if (g_answers < asked || g_failed) {
    return net::Error{"a thread didn't give up its capabilities"};
  }
  sigaction(signal, &old, nullptr);
  return {};
}

}  // namespace

net::Status DropCapabilities() {
  capng_get_caps_process();
  if (capng_have_capabilities(CAPNG_SELECT_CAPS) == CAPNG_NONE) return {};
  constexpr std::array<int, 3> kKept = {CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK};
  std::array<bool, kKept.size()> had{};
  for (size_t i = 0; i < kKept.size(); ++i) {
    had[i] = capng_have_capability(CAPNG_PERMITTED, static_cast<unsigned>(kKept[i])) != 0;
  }
  // The bounding set takes CAP_SETPCAP, which a container may not give.
  const bool bounding = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) != 0;
  const capng_select_t what = bounding ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS;
  capng_clear(what);
  for (size_t i = 0; i < kKept.size(); ++i) {
    if (!had[i]) continue;
    capng_update(CAPNG_ADD, static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED),
                 static_cast<unsigned>(kKept[i]));
  }
  if (capng_apply(what) != 0) {
    return net::Error{"the capabilities that aren't needed can't be dropped"};
  }
  return InOtherThreads();
}

}  // namespace postern::app
