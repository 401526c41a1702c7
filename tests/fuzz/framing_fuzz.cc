// The control socket's framing: however the stream is cut, the same frames come out of it, the
// decoder never holds more than was fed, and arguments survive being written again.
//
// The first byte of the input is the length of the pieces, the rest is the stream.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control/protocol.h"

namespace {

using namespace postern::control;

void Require(bool holds) {
  if (!holds) std::abort();
}

struct Decoded {
  std::vector<std::pair<FrameKind, std::string>> frames;
  bool broken = false;
  friend bool operator==(const Decoded&, const Decoded&) = default;
};

Decoded Decode(std::string_view stream, size_t piece) {
  Decoded result;
  FrameDecoder decoder;
  while (!stream.empty()) {
    decoder.Feed(stream.substr(0, piece));
    stream.remove_prefix(std::min(piece, stream.size()));
    while (auto frame = decoder.Next()) {
      Require(!decoder.broken());
      result.frames.emplace_back(frame->kind, std::move(frame->payload));
    }
  }
  result.broken = decoder.broken();
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view stream(reinterpret_cast<const char*>(data + 1), size - 1);
  const Decoded whole = Decode(stream, std::max<size_t>(stream.size(), 1));
  Require(whole == Decode(stream, size_t{data[0]} + 1));
  std::string again;
  for (const auto& [kind, payload] : whole.frames) {
    AppendFrame(kind, payload, &again);
    std::vector<std::string> arguments;
    if (DecodeArguments(payload, &arguments)) Require(EncodeArguments(arguments) == payload);
  }
  Require(stream.starts_with(again));
  return 0;
}
