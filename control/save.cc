#include "control/save.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "control/iptables/restore.h"

namespace postern::control {
namespace {

net::Error Failed(const std::string& path) {
  return net::Error{fmt::format("{} can't be written: {}", path, std::strerror(errno))};
}

bool WriteAll(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    content.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

// A rename lasts when its folder has been flushed, too.
void FlushFolder(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const int fd = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

}  // namespace

net::Status ReplaceFile(const std::string& path, const std::string& content) {
  std::string temporary = path + ".XXXXXX";
  const int fd = mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) return Failed(path);
  const bool written = WriteAll(fd, content) && fchmod(fd, 0640) == 0 && fsync(fd) == 0;
  const int reason = errno;
  close(fd);
  if (written && std::rename(temporary.c_str(), path.c_str()) == 0) {
    FlushFolder(path);
    return {};
  }
  if (!written) errno = reason;
  const net::Error error = Failed(path);
  unlink(temporary.c_str());
  return error;
}

int RunSave(const CommandIo& io, Engine* engine) {
  iptables::SaveOptions options;
  for (const std::string& argument : io.arguments) {
    if (argument == "-c" || argument == "--counters") {
      options.counters = true;
      continue;
    }
    io.error("Usage: postern save [-c]\n");
    return 2;
  }
  const RuleFiles& files = engine->config().rules;
  const rules::Model model = engine->Rules();
  int status = 0;
  const auto save = [&](const RuleFile& file, const rules::FamilyModel& family) {
    if (file.path.empty()) return;
    const net::Status saved = ReplaceFile(file.path, iptables::PrintSave(family, options, true));
    if (saved) return;
    io.error(fmt::format("postern save: {}\n", saved.error()));
    status = 1;
  };
  save(files.ipv4, model.ipv4);
  save(files.ipv6, model.ipv6);
  return status;
}

}  // namespace postern::control
