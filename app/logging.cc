#include "app/logging.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <string_view>

namespace postern::app {
namespace {

// sd-daemon(3): a line on a journal stream may begin with its priority, "<4>".
class PriorityFlag : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& to) override {
    constexpr std::array<std::string_view, 7> kPriorities = {"<7>", "<7>", "<6>", "<4>",
                                                             "<3>", "<2>", "<7>"};
    const std::string_view text = kPriorities[static_cast<size_t>(message.level)];
    to.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return spdlog::details::make_unique<PriorityFlag>();
  }
};

}  // namespace

bool SetUpLogging(const std::string& level) {
  const spdlog::level::level_enum number = spdlog::level::from_str(level);
  // from_str gives "off" for what it doesn't know.
  if (number == spdlog::level::off && level != "off") return false;
  auto logger = std::make_shared<spdlog::logger>("posternd",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  if (std::getenv("JOURNAL_STREAM") != nullptr) {
    formatter->add_flag<PriorityFlag>('*').set_pattern("%*%v");
  } else {
    formatter->set_pattern("%Y-%m-%d %H:%M:%S.%e posternd %l: %v");
  }
  logger->set_formatter(std::move(formatter));
  logger->set_level(number);
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
  return true;
}

}  // namespace postern::app
