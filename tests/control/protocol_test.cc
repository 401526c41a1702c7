// Framing on the control socket, with bytes as they may come.
#include "control/protocol.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace postern::control {
namespace {

TEST(Protocol, FramesSurviveEveryWayOfCuttingTheStream) {
  std::string stream;
  AppendFrame(FrameKind::kArguments, EncodeArguments({"iptables", "-L", "", "a b"}), &stream);
  AppendFrame(FrameKind::kInput, std::string("\0\n\xff", 3), &stream);
  AppendFrame(FrameKind::kRun, "", &stream);
  for (size_t step = 1; step <= stream.size(); ++step) {
    FrameDecoder decoder;
    std::vector<Frame> frames;
    for (size_t at = 0; at < stream.size(); at += step) {
      decoder.Feed(std::string_view(stream).substr(at, step));
      while (auto frame = decoder.Next()) frames.push_back(std::move(*frame));
    }
    ASSERT_EQ(frames.size(), 3u) << step;
    std::vector<std::string> arguments;
    ASSERT_TRUE(DecodeArguments(frames[0].payload, &arguments));
    EXPECT_EQ(arguments, (std::vector<std::string>{"iptables", "-L", "", "a b"}));
    EXPECT_EQ(frames[1].payload, std::string("\0\n\xff", 3));
    EXPECT_EQ(frames[2].kind, FrameKind::kRun);
    EXPECT_FALSE(decoder.broken());
  }
}

TEST(Protocol, LongTextGoesInSeveralFrames) {
  const std::string text(kMaxFramePayload * 2 + 7, 'x');
  std::string stream;
  AppendFrames(FrameKind::kOut, text, &stream);
  FrameDecoder decoder;
  decoder.Feed(stream);
  std::string joined;
  int frames = 0;
  while (const auto frame = decoder.Next()) {
    joined += frame->payload;
    ++frames;
  }
  EXPECT_EQ(frames, 3);
  EXPECT_EQ(joined, text);
}

struct MalformedRow {
  const char* what;
  std::string bytes;
};

TEST(Protocol, MalformedStreamsBreakAndStayBroken) {
  const MalformedRow rows[] = {
      {"kind 0", std::string("\1\0\0\0\0x", 6)},
      {"kind 8", std::string("\1\0\0\0\10x", 6)},
      {"payload too long", std::string("\1\0\x10\0\1", 5)},
      {"longest length", std::string("\xff\xff\xff\xff\2", 5)},
      {"text", "GET / HTTP/1.1\r\n\r\n"},
  };
  for (const MalformedRow& row : rows) {
    FrameDecoder decoder;
    decoder.Feed(row.bytes);
    EXPECT_FALSE(decoder.Next()) << row.what;
    EXPECT_TRUE(decoder.broken()) << row.what;
    std::string good;
    AppendFrame(FrameKind::kRun, "", &good);
    decoder.Feed(good);
    EXPECT_FALSE(decoder.Next()) << row.what;
  }
}

TEST(Protocol, ArgumentsMustEndWithANul) {
  std::vector<std::string> arguments;
  EXPECT_FALSE(DecodeArguments("", &arguments));
  EXPECT_FALSE(DecodeArguments("iptables", &arguments));
  EXPECT_TRUE(DecodeArguments(std::string("\0", 1), &arguments));
  EXPECT_EQ(arguments, std::vector<std::string>{""});
}

}  // namespace
}  // namespace postern::control
