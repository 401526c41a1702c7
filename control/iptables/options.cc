#include "control/iptables/options.h"

namespace postern::control::iptables {

OptionScanner::OptionScanner(std::vector<std::string> words, std::string_view short_options,
                             std::vector<LongOption> long_options)
    : words_(std::move(words)),
      short_options_(short_options),
      long_options_(std::move(long_options)),
      base_count_(long_options_.size()) {}

void OptionScanner::AddLongOptions(const std::vector<LongOption>& options) {
  long_options_.insert(long_options_.begin() + static_cast<std::ptrdiff_t>(base_count_),
                       options.begin(), options.end());
}

const std::string& OptionScanner::LastWord() const {
  static const std::string kNone;
  return index_ == 0 ? kNone : words_[index_ - 1];
}

bool OptionScanner::HasFreeWord() const {
  return !AtEnd() && (words_[index_].empty() ||
                      (words_[index_].front() != '-' && words_[index_].front() != '!'));
}

int OptionScanner::Next() {
  has_argument_ = false;
  if (cluster_ != 0) return NextShort();
  if (AtEnd()) return kEnd;
  const std::string& word = words_[index_];
  if (word == "--") {
    ++index_;
    return kEnd;
  }
  if (word.size() < 2 || word.front() != '-') {
    argument_ = word;
    has_argument_ = true;
    ++index_;
    return kWord;
  }
  if (word[1] == '-') return NextLong();
  cluster_ = 1;
  return NextShort();
}

// An exact name, or the only one that begins so (several with the same meaning count as one).
const LongOption* OptionScanner::FindLong(std::string_view name, bool* ambiguous) const {
  const LongOption* found = nullptr;
  *ambiguous = false;
  for (const LongOption& option : long_options_) {
    if (!option.name.starts_with(name)) continue;
    if (option.name.size() == name.size()) {
      *ambiguous = false;
      return &option;
    }
    if (found == nullptr) {
      found = &option;
    } else if (found->argument != option.argument || found->value != option.value) {
      *ambiguous = true;
    }
  }
  return found;
}

int OptionScanner::NextLong() {
  const std::string_view word = words_[index_++];
  const size_t equals = word.find('=');
  const std::string_view name = word.substr(2, equals == word.npos ? word.npos : equals - 2);
  bool ambiguous = false;
  const LongOption* option = FindLong(name, &ambiguous);
  if (option == nullptr || ambiguous) return kUnknown;
  if (equals != word.npos) {
    if (option->argument == HasArgument::kNo) return kUnknown;
    argument_ = word.substr(equals + 1);
    has_argument_ = true;
  } else if (option->argument == HasArgument::kRequired) {
    if (AtEnd()) return kMissing;
    argument_ = words_[index_++];
    has_argument_ = true;
  }
  return option->value;
}

int OptionScanner::NextShort() {
  const std::string& word = words_[index_];
  const char letter = letter_ = word[cluster_++];
  const bool last = cluster_ == word.size();
  const size_t at = letter == ':' ? short_options_.npos : short_options_.find(letter);
  if (at == short_options_.npos || !short_options_.substr(at + 1).starts_with(':')) {
    if (last) {
      ++index_;
      cluster_ = 0;
    }
    return at == short_options_.npos ? kUnknown : letter;
  }
  const bool optional = short_options_.substr(at + 1).starts_with("::");
  if (!last) {
    argument_ = word.substr(cluster_);
    has_argument_ = true;
  }
  ++index_;
  cluster_ = 0;
  if (has_argument_ || optional) return letter;
  if (AtEnd()) return kMissing;
  argument_ = words_[index_++];
  has_argument_ = true;
  return letter;
}

}  // namespace postern::control::iptables
