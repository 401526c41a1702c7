// The rule file parser on arbitrary text: what it takes, it must print so that it reads back as
// the same rules.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "control/iptables/restore.h"

namespace {

using postern::net::Family;
using postern::rules::FamilyModel;

bool Same(const FamilyModel& a, const FamilyModel& b) {
  if (a.present != b.present) return false;
  for (size_t t = 0; t < a.tables.size(); ++t) {
    for (const auto& chain : a.tables[t].chains) {
      const auto* other = b.tables[t].Find(chain.name);
      if (other == nullptr || other->policy != chain.policy ||
          other->rules.size() != chain.rules.size()) {
        return false;
      }
      for (size_t i = 0; i < chain.rules.size(); ++i) {
        if (!chain.rules[i].SameAs(other->rules[i])) return false;
        if (chain.rules[i].counters != other->rules[i].counters) return false;
      }
    }
  }
  return true;
}

void RoundTrip(Family family, std::string_view text) {
  using namespace postern::control::iptables;
  RestoreOptions options;
  options.counters = true;
  FamilyModel model = postern::rules::EmptyModel(family);
  std::vector<std::string> errors;
  if (!ParseRestore(text, "fuzz", options, &model, &errors)) return;
  SaveOptions save;
  save.counters = true;
  const std::string printed = PrintSave(model, save, false);
  FamilyModel again = postern::rules::EmptyModel(family);
  if (!ParseRestore(printed, "again", options, &again, &errors) || !Same(model, again)) {
    std::fprintf(stderr, "%s%s", printed.c_str(), PrintSave(again, save, false).c_str());
    for (const std::string& error : errors) std::fprintf(stderr, "%s\n", error.c_str());
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  RoundTrip(Family::kIpv4, text);
  RoundTrip(Family::kIpv6, text);
  return 0;
}
