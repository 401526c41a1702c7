#include "control/protocol.h"

#include <algorithm>

namespace postern::control {
namespace {

bool IsKind(uint8_t byte) {
  return byte >= static_cast<uint8_t>(FrameKind::kArguments) &&
         byte <= static_cast<uint8_t>(FrameKind::kStop);
}

}  // namespace

void AppendFrame(FrameKind kind, std::string_view payload, std::string* to) {
  const auto size = static_cast<uint32_t>(payload.size());
  for (int shift = 0; shift < 32; shift += 8) to->push_back(static_cast<char>(size >> shift));
  to->push_back(static_cast<char>(kind));
  to->append(payload);
}

void AppendFrames(FrameKind kind, std::string_view payload, std::string* to) {
  while (!payload.empty()) {
    const std::string_view piece = payload.substr(0, kMaxFramePayload);
    AppendFrame(kind, piece, to);
    payload.remove_prefix(piece.size());
  }
}

void FrameDecoder::Feed(std::string_view bytes) {
  if (broken_) return;
  if (read_ > 0) {
    buffer_.erase(0, read_);
    read_ = 0;
  }
  buffer_.append(bytes);
}

std::optional<Frame> FrameDecoder::Next() {
  const std::string_view rest = std::string_view(buffer_).substr(read_);
  if (broken_ || rest.size() < kFrameHeader) return std::nullopt;
  uint32_t size = 0;
  for (size_t i = 0; i < 4; ++i) size |= uint32_t{static_cast<uint8_t>(rest[i])} << (8 * i);
  const auto kind = static_cast<uint8_t>(rest[4]);
  if (size > kMaxFramePayload || !IsKind(kind)) {
    broken_ = true;
    buffer_.clear();
    read_ = 0;
    return std::nullopt;
  }
  if (rest.size() - kFrameHeader < size) return std::nullopt;
  read_ += kFrameHeader + size;
  return Frame{static_cast<FrameKind>(kind), std::string(rest.substr(kFrameHeader, size))};
}

std::string EncodeArguments(const std::vector<std::string>& arguments) {
  std::string payload;
  for (const std::string& argument : arguments) {
    payload += argument;
    payload += '\0';
  }
  return payload;
}

bool DecodeArguments(std::string_view payload, std::vector<std::string>* arguments) {
  if (payload.empty() || payload.back() != '\0') return false;
  arguments->clear();
  while (!payload.empty()) {
    const size_t end = payload.find('\0');
    arguments->emplace_back(payload.substr(0, end));
    payload.remove_prefix(end + 1);
  }
  return true;
}

}  // namespace postern::control
