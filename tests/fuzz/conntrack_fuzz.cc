// conntrack's command line of arbitrary words: never more than a sentence, and what it takes must
// be able to choose, change, make and print a connection.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "control/conntrack_options.h"
#include "control/conntrack_printer.h"

namespace {

using namespace postern;

ctrack::Connection Sample() {
  ctrack::Connection connection;
  net::Tuple& tuple = connection.tuples[0];
  tuple.protocol = 6;
  tuple.source = *net::ParseAddress(net::Family::kIpv4, "192.0.2.1");
  tuple.destination = *net::ParseAddress(net::Family::kIpv4, "198.51.100.2");
  tuple.source_key = 1234;
  tuple.destination_key = 80;
  connection.tuples[1] = *net::Mirror(tuple);
  connection.status = ctrack::kConfirmed | ctrack::kSeenReply;
  return connection;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::string> words(1);
  for (size_t i = 0; i < size; ++i) {
    if (data[i] == '\n' || data[i] == '\0') {
      words.emplace_back();
    } else {
      words.back() += static_cast<char>(data[i]);
    }
  }
  control::ConntrackOptions options;
  control::ConntrackError error;
  if (!control::ParseConntrackOptions(words, &options, &error)) {
    if (error.message.empty()) __builtin_trap();
    return 0;
  }
  static const ctrack::Connection connection = Sample();
  options.filter.Matches(connection, 0);
  options.filter.MatchesForUpdate(connection);
  options.filter.Update(connection, 0);
  options.filter.Key();
  options.filter.Insertion();
  std::string text;
  control::AppendConnection(control::CopyOf(connection, 0), options.format, {}, &text);
  if (text.empty()) __builtin_trap();
  return 0;
}
