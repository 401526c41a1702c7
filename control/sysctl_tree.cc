#include "control/sysctl_tree.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <set>

#include "control/sysctl.h"
#include "control/sysctl_file.h"

namespace postern::control {
namespace {

std::map<std::string, bool> PosternNames() {
  std::map<std::string, bool> names;
  for (const SysctlName& name : SysctlNames()) names[SysctlPath(name.name)] = true;
  names[std::string(kConntrackCount)] = false;
  return names;
}

// "net//ipv4/" is "net/ipv4" to a file system.
std::string Plain(const std::string& path) {
  std::string result;
  for (const char c : path) {
    if (c != '/' || (!result.empty() && result.back() != '/')) result += c;
  }
  if (result.ends_with('/')) result.pop_back();
  return result;
}

std::string Prefix(const std::string& path) {
  const std::string plain = Plain(path);
  return plain.empty() ? "" : plain + "/";
}

SysctlOutcome Failed(int error) { return {error, "", ""}; }

}  // namespace

PosternSysctlTree::PosternSysctlTree(SysctlAccess* access)
    : access_(access), names_(PosternNames()) {}

const PosternSysctlTree::Values* PosternSysctlTree::Fetch() {
  if (!values_) values_ = access_->Values();
  return values_ ? &*values_ : nullptr;
}

SysctlNode PosternSysctlTree::Find(const std::string& path) {
  const auto name = names_.find(Plain(path));
  if (name != names_.end()) return {SysctlKind::kFile, true, name->second};
  const std::string prefix = Prefix(path);
  const auto below = names_.lower_bound(prefix);
  const bool folder = below != names_.end() && below->first.starts_with(prefix);
  return {folder ? SysctlKind::kDirectory : SysctlKind::kMissing, true, false};
}

std::vector<std::string> PosternSysctlTree::Children(const std::string& path) {
  const std::string prefix = Prefix(path);
  std::set<std::string> children;
  for (auto i = names_.lower_bound(prefix); i != names_.end() && i->first.starts_with(prefix);
       ++i) {
    children.insert(
        i->first.substr(prefix.size(), i->first.find('/', prefix.size()) - prefix.size()));
  }
  return {children.begin(), children.end()};
}

SysctlOutcome PosternSysctlTree::Read(const std::string& path) {
  const Values* values = Fetch();
  if (values == nullptr) return {ENOTCONN, "posternd doesn't answer", ""};
  const auto value = values->find(Plain(path));
  if (value == values->end()) return Failed(ENOENT);
  return {0, "", value->second.text + "\n"};
}

SysctlOutcome PosternSysctlTree::Write(const std::string& path, const std::string& value) {
  values_.reset();
  return access_->Set(Plain(path), value);
}

bool PosternSysctlTree::Foreign(const std::string& path) const {
  const std::string plain = Plain(path);
  return !names_.contains(plain) && !plain.starts_with("net/netfilter/nf_conntrack");
}

SysctlNode HostSysctlTree::Find(const std::string& path) {
  struct stat found {};
  if (stat(PathOf(path).c_str(), &found) != 0) return {};
  // The root user opens what nobody may read: the mode says what sysctl(8) does with it.
  return {S_ISDIR(found.st_mode) ? SysctlKind::kDirectory : SysctlKind::kFile,
          (found.st_mode & S_IRUSR) != 0, (found.st_mode & S_IWUSR) != 0};
}

std::vector<std::string> HostSysctlTree::Children(const std::string& path) {
  std::error_code error;
  std::vector<std::string> names;
  std::filesystem::directory_iterator entry(PathOf(path), error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

SysctlOutcome HostSysctlTree::Read(const std::string& path) {
  const int fd = open(PathOf(path).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Failed(errno);
  SysctlOutcome outcome;
  std::array<char, 4096> piece;
  for (;;) {
    const ssize_t size = read(fd, piece.data(), piece.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) outcome.error = errno;
    if (size <= 0) break;
    outcome.text.append(piece.data(), static_cast<size_t>(size));
  }
  close(fd);
  return outcome;
}

SysctlOutcome HostSysctlTree::Write(const std::string& path, const std::string& value) {
  const int fd = open(PathOf(path).c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  if (fd < 0) return Failed(errno);
  // One write: the kernel takes the whole text at once.
  const std::string line = value + "\n";
  const ssize_t written = write(fd, line.data(), line.size());
  const int error = written < 0 ? errno : 0;
  close(fd);
  return Failed(error);
}

SysctlNode SysctlUnion::Find(const std::string& path) {
  const SysctlNode node = first_->Find(path);
  return node.kind == SysctlKind::kFile ? node : [&] {
    const SysctlNode other = second_->Find(path);
    return other.kind == SysctlKind::kMissing ? node : other;
  }();
}

std::vector<std::string> SysctlUnion::Children(const std::string& path) {
  const std::vector<std::string> first = first_->Children(path);
  const std::vector<std::string> second = second_->Children(path);
  std::vector<std::string> both;
  std::set_union(first.begin(), first.end(), second.begin(), second.end(),
                 std::back_inserter(both));
  return both;
}

}  // namespace postern::control
