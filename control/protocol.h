// What the tool and the daemon say to each other on the control socket.
//
// Frames in both directions: four bytes of payload length (little endian), one byte of kind, the
// payload. The client sends kArguments, then kInput as often as it needs, then kRun; the daemon
// answers with kOut and kError in the order of writing and ends with kExit. Meanwhile the client
// may send kStop once; a command that has no ending of its own then ends without kExit. One command
// a connection.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::control {

enum class FrameKind : uint8_t {
  kArguments = 1,  // the program's name and its arguments, each ended by a NUL
  kInput = 2,      // a piece of standard input
  kRun = 3,        // empty: that was all
  kOut = 4,        // for standard output
  kError = 5,      // for standard error
  kExit = 6,       // one byte: the exit status
  kStop = 7,       // empty: the user wants the command to end
};

inline constexpr size_t kFrameHeader = 5;
inline constexpr size_t kMaxFramePayload = size_t{1} << 20;
// Standard input of one command, and of all commands that wait to run.
inline constexpr size_t kMaxInput = size_t{256} << 20;
inline constexpr size_t kMaxInputOfAll = size_t{512} << 20;

struct Frame {
  FrameKind kind = FrameKind::kRun;
  std::string payload;
};

// `payload` is at most kMaxFramePayload bytes.
void AppendFrame(FrameKind kind, std::string_view payload, std::string* to);
// Any length, in as many frames as it takes.
void AppendFrames(FrameKind kind, std::string_view payload, std::string* to);

// Takes bytes as they come and gives frames. Once broken it stays broken.
class FrameDecoder {
 public:
  void Feed(std::string_view bytes);
  // The next whole frame; nothing when more bytes are needed or the stream is broken.
  std::optional<Frame> Next();
  // A kind that doesn't exist or a payload that is too long came.
  bool broken() const { return broken_; }

 private:
  std::string buffer_;
  size_t read_ = 0;
  bool broken_ = false;
};

std::string EncodeArguments(const std::vector<std::string>& arguments);
// False where the payload isn't a list of NUL-ended strings or has none.
bool DecodeArguments(std::string_view payload, std::vector<std::string>* arguments);

}  // namespace postern::control
