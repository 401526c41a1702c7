#include "control/conntrack_events.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <utility>

#include "control/conntrack_printer.h"

namespace postern::control {
namespace {

constexpr std::string_view kBanner = "conntrack v1.4.7 (conntrack-tools)";
constexpr size_t kMaxReporters = 64;
// Text that waits for a listener that doesn't read, without -b and at least.
constexpr uint64_t kUsualBuffer = uint64_t{1} << 20;
constexpr uint64_t kLeastBuffer = 2304;
constexpr uint64_t kMostBuffer = uint64_t{64} << 20;

// The kernel books twice of what was asked for, and no less than a packet's worth.
uint64_t BookedBuffer(uint64_t asked) {
  return std::clamp<uint64_t>(std::min<uint64_t>(asked, INT_MAX / 2) * 2, kLeastBuffer, INT_MAX);
}

class EventCommand : public Command, private ConntrackListener {
 public:
  EventCommand(const CommandIo& io, ConntrackOptions options, ConntrackHub* hub,
               std::function<int64_t(net::Time)> wall_clock)
      : options_(std::move(options)),
        hub_(hub),
        wall_clock_(std::move(wall_clock)),
        wake_(io.wake) {
    listens_ = hub_->Add(this);
    if (!options_.given.Has('b')) return;
    const uint64_t booked = BookedBuffer(options_.buffer_size);
    limit_ = std::min(booked, kMostBuffer);
    notice_ = fmt::format("NOTICE: Netlink socket buffer size has been set to {} bytes.\n", booked);
  }
  ~EventCommand() override { hub_->Remove(this); }
  EventCommand(const EventCommand&) = delete;
  EventCommand& operator=(const EventCommand&) = delete;

  std::optional<int> Step(const CommandIo& io) override {
    if (!listens_) {
      io.error(fmt::format("{}: Can't open netlink socket\n", kBanner));
      return 1;
    }
    if (!notice_.empty()) io.error(std::exchange(notice_, {}));
    if (std::exchange(lost_, false)) {
      io.error(
          "WARNING: We have hit ENOBUFS! We are losing events.\n"
          "This message means that the current netlink socket buffer size is too small.\n"
          "Please, check --buffer-size in conntrack(8) manpage.\n");
    }
    if (!pending_.empty()) io.out(std::exchange(pending_, {}));
    if (!stopped_) return std::nullopt;
    if (head_shown_) io.out(kXmlTail);
    const bool expect = options_.table == ConntrackTable::kExpect;
    io.error(fmt::format("{}: {} {} events have been shown.\n", kBanner, shown_,
                         expect ? "expectation" : "flow"));
    return 0;
  }

  bool Waits() const override { return pending_.empty() && !lost_ && !stopped_; }
  bool Stop() override {
    stopped_ = true;
    return true;
  }

 private:
  static std::pair<ConntrackMessage, uint8_t> MessageOf(ctrack::ConnEvent event) {
    switch (event) {
      case ctrack::ConnEvent::kNew:
        return {ConntrackMessage::kNew, kNewEvents};
      case ctrack::ConnEvent::kUpdate:
        return {ConntrackMessage::kUpdate, kUpdateEvents};
      case ctrack::ConnEvent::kDestroy:
        break;
    }
    return {ConntrackMessage::kDestroy, kDestroyEvents};
  }

  void OnEvent(const pipeline::ConnRecord& record) override {
    const auto [message, bit] = MessageOf(record.event);
    // Postern has no expectations, so nothing happens to one.
    if (options_.table == ConntrackTable::kExpect || (options_.events & bit) == 0 || stopped_ ||
        !options_.filter.Matches(record.connection, record.time)) {
      return;
    }
    const size_t before = pending_.size();
    Print(record, message);
    if (pending_.size() > limit_ && before != 0) {
      pending_.resize(before);
      OnLost();
      return;
    }
    ++shown_;
    if (before == 0) wake_();
  }

  void Print(const pipeline::ConnRecord& record, ConntrackMessage message) {
    ConnectionCopy copy;
    copy.connection = record.connection;
    copy.now = record.time;
    copy.counted = record.counted;
    copy.packets = record.packets;
    copy.bytes = record.bytes;
    copy.start = record.start;
    ConntrackOccasion occasion;
    occasion.message = message;
    occasion.changes = record.changes;
    occasion.by_operator = record.reporter != 0;
    occasion.wall_nanoseconds = wall_clock_(record.time);
    const ConntrackFormat& format = options_.format;
    if (format.xml && !std::exchange(head_shown_, true)) pending_ += kXmlHead;
    if (format.timestamp && !format.xml) {
      const int64_t micro = occasion.wall_nanoseconds / 1000;
      pending_ += fmt::format("[{}.{:06}]\t", micro / 1'000'000, micro % 1'000'000);
    }
    AppendConnection(copy, format, occasion, &pending_);
    pending_ += hub_->ReporterText(record.reporter);
    pending_ += '\n';
  }

  void OnLost() override {
    if (!std::exchange(lost_, true)) wake_();
  }

  const ConntrackOptions options_;
  ConntrackHub* const hub_;
  const std::function<int64_t(net::Time)> wall_clock_;
  const std::function<void()> wake_;
  uint64_t limit_ = kUsualBuffer;
  bool listens_ = false;
  std::string notice_;
  std::string pending_;
  uint64_t shown_ = 0;
  bool head_shown_ = false;
  bool lost_ = false;
  bool stopped_ = false;
};

}  // namespace

bool ConntrackHub::Add(ConntrackListener* listener) {
  if (listeners_.size() >= kMaxListeners) return false;
  listeners_.push_back(listener);
  if (listeners_.size() == 1) wants_(true);
  return true;
}

void ConntrackHub::Remove(ConntrackListener* listener) {
  const auto at = std::find(listeners_.begin(), listeners_.end(), listener);
  if (at == listeners_.end()) return;
  listeners_.erase(at);
  if (listeners_.empty()) wants_(false);
}

void ConntrackHub::Publish(const pipeline::ConnRecord& record) {
  for (ConntrackListener* listener : listeners_) listener->OnEvent(record);
}

void ConntrackHub::NoteLost(uint64_t total) {
  if (std::exchange(lost_, total) == total) return;
  for (ConntrackListener* listener : listeners_) listener->OnLost();
}

void ConntrackHub::NameReporter(uint32_t reporter, const std::string& program) {
  if (reporters_.size() >= kMaxReporters) reporters_.clear();
  reporters_[reporter] = program;
}

std::string ConntrackHub::ReporterText(uint32_t reporter) const {
  if (reporter == 0) return "";
  std::string text = fmt::format(" [USERSPACE] portid={}", reporter);
  const auto named = reporters_.find(reporter);
  if (named != reporters_.end()) text += " progname=" + named->second;
  return text;
}

std::unique_ptr<Command> MakeEventCommand(const CommandIo& io, ConntrackOptions options,
                                          ConntrackHub* hub,
                                          std::function<int64_t(net::Time)> wall_clock) {
  return std::make_unique<EventCommand>(io, std::move(options), hub, std::move(wall_clock));
}

}  // namespace postern::control
