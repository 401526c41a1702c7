// Mutations for targets that read a language: chance finds bytes, but no words.
//
// A target with such an input defines LLVMFuzzerCustomMutator and calls MutateWords: half of the
// time libFuzzer changes bytes as ever, otherwise a word of the language is put in, or takes the
// place of a word that is there.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <string_view>

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace postern::test {

// `separators` end a word of the input. The new size.
inline size_t MutateWords(uint8_t* data, size_t size, size_t max_size, unsigned seed,
                          std::span<const std::string_view> words, std::string_view separators) {
  std::minstd_rand random(seed);
  const auto below = [&](size_t bound) { return static_cast<size_t>(random() % bound); };
  if (below(2) == 0) return LLVMFuzzerMutate(data, size, max_size);
  std::string text(reinterpret_cast<const char*>(data), size);
  const std::string_view word = words[below(words.size())];
  size_t at = text.find_first_of(separators, below(size + 1));
  at = at == std::string::npos ? 0 : at + 1;
  if (below(2) == 0) {
    const size_t end = text.find_first_of(separators, at);
    text.replace(at, end == std::string::npos ? end : end - at, word);
  } else {
    text.insert(at, std::string(word) + separators[below(separators.size())]);
  }
  const size_t length = std::min(text.size(), max_size);
  std::copy_n(text.begin(), length, data);
  return length;
}

}  // namespace postern::test
