// What sysctl(8) sees below /proc/sys: a tree of small files. Paths are relative to it, with
// slashes ("net/ipv4/ip_forward"); "" is the tree itself.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace postern::control {

enum class SysctlKind { kMissing, kFile, kDirectory };

struct SysctlNode {
  SysctlKind kind = SysctlKind::kMissing;
  bool readable = true;
  bool writable = true;
};

// How a read or a write ended.
struct SysctlOutcome {
  int error = 0;         // of errno(3); 0: good
  std::string sentence;  // instead of strerror's, where there is more to say
  std::string text;      // what was read
};

class SysctlTree {
 public:
  virtual ~SysctlTree() = default;
  virtual SysctlNode Find(const std::string& path) = 0;
  // The names in a directory, sorted.
  virtual std::vector<std::string> Children(const std::string& path) = 0;
  virtual SysctlOutcome Read(const std::string& path) = 0;
  virtual SysctlOutcome Write(const std::string& path, const std::string& value) = 0;
  // A name of the machine that isn't this tree's business: a file may set it, without effect.
  virtual bool Foreign(const std::string& path) const = 0;
};

// Who holds Postern's values: posternd behind its socket, or a test.
class SysctlAccess {
 public:
  virtual ~SysctlAccess() = default;
  struct Value {
    std::string text;
    bool writable = true;
  };
  // All of them by path. Nothing where they can't be had; the reason has been told.
  virtual std::optional<std::map<std::string, Value>> Values() = 0;
  virtual SysctlOutcome Set(const std::string& path, const std::string& value) = 0;
};

// The names that Postern has. Asks for values only when they are wanted.
class PosternSysctlTree : public SysctlTree {
 public:
  explicit PosternSysctlTree(SysctlAccess* access);
  SysctlNode Find(const std::string& path) override;
  std::vector<std::string> Children(const std::string& path) override;
  SysctlOutcome Read(const std::string& path) override;
  SysctlOutcome Write(const std::string& path, const std::string& value) override;
  bool Foreign(const std::string& path) const override;

 private:
  using Values = std::map<std::string, SysctlAccess::Value>;
  const Values* Fetch();

  SysctlAccess* const access_;
  const std::map<std::string, bool> names_;  // path: may it be written?
  std::optional<Values> values_;             // until the next write
};

// Files below a folder: /proc/sys, or a test's.
class HostSysctlTree : public SysctlTree {
 public:
  explicit HostSysctlTree(std::string root) : root_(std::move(root)) {}
  SysctlNode Find(const std::string& path) override;
  std::vector<std::string> Children(const std::string& path) override;
  SysctlOutcome Read(const std::string& path) override;
  SysctlOutcome Write(const std::string& path, const std::string& value) override;
  bool Foreign(const std::string&) const override { return false; }

 private:
  std::string PathOf(const std::string& path) const { return root_ + "/" + path; }
  const std::string root_;
};

// Both: a name that the first tree has is the first one's, everything else the second one's.
class SysctlUnion : public SysctlTree {
 public:
  SysctlUnion(SysctlTree* first, SysctlTree* second) : first_(first), second_(second) {}
  SysctlNode Find(const std::string& path) override;
  std::vector<std::string> Children(const std::string& path) override;
  SysctlOutcome Read(const std::string& path) override { return Of(path).Read(path); }
  SysctlOutcome Write(const std::string& path, const std::string& value) override {
    return Of(path).Write(path, value);
  }
  bool Foreign(const std::string&) const override { return false; }

 private:
  SysctlTree& Of(const std::string& path) {
    return first_->Find(path).kind == SysctlKind::kFile ? *first_ : *second_;
  }
  SysctlTree* const first_;
  SysctlTree* const second_;
};

}  // namespace postern::control
