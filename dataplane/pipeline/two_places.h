// A small map that forgets: a key has two places. Where both are taken it gets the first, who had
// that moves to the second, and who had the second is forgotten.
//
// Key{} is nobody's. Key::Mixed() spreads over all 64 bits; the highest choose the first place.
// Threads: one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace postern::pipeline {

template <typename Key, typename Value, unsigned kBits>
class TwoPlaces {
 public:
  void Clear() { places_ = {}; }
  void Set(const Key& key, const Value& value) {
    Place* first = &places_[PlaceOf(key)];
    Place* second = &places_[PlaceOf(key) ^ 1];
    if (first->key != key && first->key != Key{}) {
      if (second->key == key || second->key == Key{}) {
        first = second;
      } else {
        *second = *first;
      }
    }
    *first = {key, value};
  }
  // Null: not there, or forgotten.
  const Value* Find(const Key& key) const {
    const size_t first = PlaceOf(key);
    if (places_[first].key == key) return &places_[first].value;
    return places_[first ^ 1].key == key ? &places_[first ^ 1].value : nullptr;
  }

 private:
  struct Place {
    Key key;
    Value value;
  };
  static constexpr size_t PlaceOf(const Key& key) {
    return static_cast<size_t>(key.Mixed() >> (64 - kBits));
  }
  std::array<Place, size_t{1} << kBits> places_{};
};

}  // namespace postern::pipeline
