// Reads libconfig groups against what is expected of them and collects every error.
//
// A GroupReader stands for one `{ … }` of the file. Each getter names a key, takes its value if it
// is there and right, and notes an error with file and line otherwise; Finish() notes the keys that
// nobody asked for. Nothing throws.
#pragma once

#include <cstdint>
#include <libconfig.h++>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::control {

// Errors of one configuration, in the order of the file.
class ConfigErrors {
 public:
  explicit ConfigErrors(std::string main_file) : main_file_(std::move(main_file)) {}

  void Add(const libconfig::Setting& where, std::string message);
  void Add(std::string file, int line, std::string message);
  // An error that already says where ("FILE:LINE: …").
  void AddLocated(std::string message);
  bool empty() const { return entries_.empty(); }
  // "FILE:LINE: message", by line within each file.
  std::vector<std::string> Sorted() const;

  // The file that a setting stands in (an @include'd one keeps its name).
  std::string FileOf(const libconfig::Setting& where) const;
  const std::string& main_file() const { return main_file_; }

 private:
  struct Entry {
    std::string file;
    int line;
    std::string message;
  };
  std::string main_file_;
  std::vector<Entry> entries_;
  std::vector<std::string> located_;
};

class GroupReader {
 public:
  // `name` as in messages: "dataplane", "ports[1]". `group` null: the group isn't there and every
  // key keeps its default.
  GroupReader(const libconfig::Setting* group, std::string name, ConfigErrors* errors);

  bool present() const { return group_ != nullptr; }
  const libconfig::Setting* setting() const { return group_; }
  // The setting of a key, whatever its type; null if it isn't there.
  const libconfig::Setting* Find(std::string_view key);

  // Each returns the setting if the key is there and its value was taken.
  const libconfig::Setting* Boolean(std::string_view key, bool* value);
  const libconfig::Setting* Integer(std::string_view key, uint64_t minimum, uint64_t maximum,
                                    uint64_t* value);
  template <typename T>
  const libconfig::Setting* Number(std::string_view key, uint64_t minimum, uint64_t maximum,
                                   T* value) {
    uint64_t wide = 0;
    const libconfig::Setting* found = Integer(key, minimum, maximum, &wide);
    if (found != nullptr) *value = static_cast<T>(wide);
    return found;
  }
  const libconfig::Setting* Text(std::string_view key, std::string* value);
  // One of `choices`.
  const libconfig::Setting* Choice(std::string_view key,
                                   const std::vector<std::string_view>& choices,
                                   std::string* value);
  // A list or array of strings, or of numbers.
  const libconfig::Setting* Texts(std::string_view key, std::vector<std::string>* values);
  const libconfig::Setting* Numbers(std::string_view key, uint64_t minimum, uint64_t maximum,
                                    std::vector<unsigned>* values);
  // A group; null if it isn't there.
  const libconfig::Setting* Group(std::string_view key);
  // The groups of a list.
  std::vector<const libconfig::Setting*> Groups(std::string_view key);

  void Error(const libconfig::Setting& where, std::string_view key, std::string_view message);
  // A key that must be there.
  void Missing(std::string_view key, std::string_view message);
  std::string Path(std::string_view key) const;
  ConfigErrors* errors() { return errors_; }

  // Notes every key that no getter asked for.
  void Finish();

 private:
  const libconfig::Setting* group_;
  std::string name_;
  ConfigErrors* errors_;
  std::vector<std::string> known_;
};

// "a string", "a group { … }": a setting's type in words.
std::string_view TypeName(const libconfig::Setting& setting);

// A setting's value if it is a whole number.
std::optional<int64_t> WholeNumber(const libconfig::Setting& setting);

}  // namespace postern::control
