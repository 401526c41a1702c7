#include "control/config_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "control/suggest.h"

namespace postern::control {

using libconfig::Setting;

void ConfigErrors::Add(const Setting& where, std::string message) {
  // libconfig gives the root no line.
  Add(FileOf(where), std::max(1, static_cast<int>(where.getSourceLine())), std::move(message));
}

void ConfigErrors::Add(std::string file, int line, std::string message) {
  entries_.push_back({std::move(file), line, std::move(message)});
}

void ConfigErrors::AddLocated(std::string message) { located_.push_back(std::move(message)); }

std::string ConfigErrors::FileOf(const Setting& where) const {
  const char* file = where.getSourceFile();
  return file == nullptr || *file == '\0' ? main_file_ : file;
}

std::vector<std::string> ConfigErrors::Sorted() const {
  std::vector<Entry> entries = entries_;
  std::stable_sort(entries.begin(), entries.end(), [this](const Entry& a, const Entry& b) {
    if (a.file == b.file) return a.line < b.line;
    if ((a.file == main_file_) != (b.file == main_file_)) return a.file == main_file_;
    return a.file < b.file;
  });
  std::vector<std::string> result;
  for (const Entry& entry : entries) {
    result.push_back(fmt::format("{}:{}: {}", entry.file, entry.line, entry.message));
  }
  result.insert(result.end(), located_.begin(), located_.end());
  return result;
}

std::string_view TypeName(const Setting& setting) {
  switch (setting.getType()) {
    case Setting::TypeInt:
    case Setting::TypeInt64:
      return "a whole number";
    case Setting::TypeFloat:
      return "a number with a point";
    case Setting::TypeString:
      return "a string";
    case Setting::TypeBoolean:
      return "true or false";
    case Setting::TypeGroup:
      return "a group { … }";
    case Setting::TypeArray:
      return "an array [ … ]";
    case Setting::TypeList:
      return "a list ( … )";
    case Setting::TypeNone:
      break;
  }
  return "nothing";
}

std::optional<int64_t> WholeNumber(const Setting& setting) {
  // libconfig converts neither into the other unless told to.
  if (setting.getType() == Setting::TypeInt) return static_cast<int>(setting);
  if (setting.getType() == Setting::TypeInt64) return static_cast<long long>(setting);
  return std::nullopt;
}

GroupReader::GroupReader(const Setting* group, std::string name, ConfigErrors* errors)
    : group_(group), name_(std::move(name)), errors_(errors) {
  if (group_ != nullptr && !group_->isGroup()) {
    errors_->Add(*group_,
                 fmt::format("{} must be a group {{ … }}, not {}", name_, TypeName(*group_)));
    group_ = nullptr;
  }
}

std::string GroupReader::Path(std::string_view key) const {
  return name_.empty() ? std::string(key) : fmt::format("{}.{}", name_, key);
}

const Setting* GroupReader::Find(std::string_view key) {
  known_.emplace_back(key);
  if (group_ == nullptr || !group_->exists(known_.back())) return nullptr;
  return &(*group_)[known_.back().c_str()];
}

void GroupReader::Error(const Setting& where, std::string_view key, std::string_view message) {
  errors_->Add(where, fmt::format("{} {}", Path(key), message));
}

void GroupReader::Missing(std::string_view key, std::string_view message) {
  if (group_ == nullptr) return;
  errors_->Add(*group_, fmt::format("{} is missing: {}", Path(key), message));
}

const Setting* GroupReader::Boolean(std::string_view key, bool* value) {
  const Setting* found = Find(key);
  if (found == nullptr) return nullptr;
  if (found->getType() != Setting::TypeBoolean) {
    Error(*found, key, fmt::format("must be true or false, not {}", TypeName(*found)));
    return nullptr;
  }
  *value = static_cast<bool>(*found);
  return found;
}

namespace {

// False (with a message) where a setting isn't a whole number in the range.
bool TakeInteger(const Setting& setting, uint64_t minimum, uint64_t maximum, uint64_t* value,
                 std::string* message) {
  const auto whole = WholeNumber(setting);
  if (!whole) {
    *message = fmt::format("must be a whole number, not {}", TypeName(setting));
    return false;
  }
  const int64_t number = *whole;
  if (number < 0 || static_cast<uint64_t>(number) < minimum ||
      static_cast<uint64_t>(number) > maximum) {
    *message = fmt::format("must be from {} to {}, not {}", minimum, maximum, number);
    return false;
  }
  *value = static_cast<uint64_t>(number);
  return true;
}

}  // namespace

const Setting* GroupReader::Integer(std::string_view key, uint64_t minimum, uint64_t maximum,
                                    uint64_t* value) {
  const Setting* found = Find(key);
  if (found == nullptr) return nullptr;
  std::string message;
  if (!TakeInteger(*found, minimum, maximum, value, &message)) {
    Error(*found, key, message);
    return nullptr;
  }
  return found;
}

const Setting* GroupReader::Text(std::string_view key, std::string* value) {
  const Setting* found = Find(key);
  if (found == nullptr) return nullptr;
  if (found->getType() != Setting::TypeString) {
    Error(*found, key, fmt::format("must be a string, not {}", TypeName(*found)));
    return nullptr;
  }
  *value = found->c_str();
  return found;
}

const Setting* GroupReader::Choice(std::string_view key,
                                   const std::vector<std::string_view>& choices,
                                   std::string* value) {
  std::string given;
  const Setting* found = Text(key, &given);
  if (found == nullptr) return nullptr;
  if (std::find(choices.begin(), choices.end(), given) == choices.end()) {
    std::string list;
    for (const std::string_view choice : choices) {
      list += fmt::format("{}\"{}\"", list.empty() ? "" : ", ", choice);
    }
    Error(*found, key, fmt::format("must be one of {}, not \"{}\"", list, given));
    return nullptr;
  }
  *value = given;
  return found;
}

const Setting* GroupReader::Texts(std::string_view key, std::vector<std::string>* values) {
  const Setting* found = Find(key);
  if (found == nullptr) return nullptr;
  if (!found->isArray() && !found->isList()) {
    Error(*found, key, fmt::format("must be an array of strings, not {}", TypeName(*found)));
    return nullptr;
  }
  values->clear();
  for (int i = 0; i < found->getLength(); ++i) {
    const Setting& element = (*found)[i];
    if (element.getType() != Setting::TypeString) {
      Error(element, fmt::format("{}[{}]", key, i),
            fmt::format("must be a string, not {}", TypeName(element)));
      continue;
    }
    values->emplace_back(element.c_str());
  }
  return found;
}

const Setting* GroupReader::Numbers(std::string_view key, uint64_t minimum, uint64_t maximum,
                                    std::vector<unsigned>* values) {
  const Setting* found = Find(key);
  if (found == nullptr) return nullptr;
  if (!found->isArray() && !found->isList()) {
    Error(*found, key, fmt::format("must be an array of numbers, not {}", TypeName(*found)));
    return nullptr;
  }
  values->clear();
  for (int i = 0; i < found->getLength(); ++i) {
    uint64_t number = 0;
    std::string message;
    if (!TakeInteger((*found)[i], minimum, maximum, &number, &message)) {
      Error((*found)[i], fmt::format("{}[{}]", key, i), message);
      continue;
    }
    values->push_back(static_cast<unsigned>(number));
  }
  return found;
}

const Setting* GroupReader::Group(std::string_view key) {
  // A setting of another type is reported by the reader that is made of it.
  return Find(key);
}

std::vector<const Setting*> GroupReader::Groups(std::string_view key) {
  std::vector<const Setting*> result;
  const Setting* found = Find(key);
  if (found == nullptr) return result;
  const bool empty_array = found->isArray() && found->getLength() == 0;
  if (!found->isList() && !empty_array) {
    Error(*found, key, fmt::format("must be a list ( {{ … }}, … ), not {}", TypeName(*found)));
    return result;
  }
  for (int i = 0; i < found->getLength(); ++i) result.push_back(&(*found)[i]);
  return result;
}

void GroupReader::Finish() {
  if (group_ == nullptr) return;
  for (int i = 0; i < group_->getLength(); ++i) {
    const Setting& child = (*group_)[i];
    const char* name = child.getName();
    if (name == nullptr || std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    const std::vector<std::string_view> names(known_.begin(), known_.end());
    errors_->Add(child,
                 fmt::format("{} isn't a known setting{}", Path(name), Suggestion(name, names)));
  }
}

}  // namespace postern::control
