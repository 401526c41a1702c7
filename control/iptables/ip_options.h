// Arguments of the options that describe the packet's header and the rule's counters.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "dataplane/rules/model.h"

namespace postern::control::iptables {

// -i and -o; adds to *warnings. Fails with the original's sentence, or with ours for what can't be
// saved.
rules::InterfaceMatch ParseInterface(const std::string& name, bool invert, std::string* warnings);

// For an IPv6 extension header, which -p never sees: it looks at the last header. "" for others.
std::string WarningOfProtocol(const std::string& name, uint8_t protocol);

// sscanf's %llu: digits at the beginning are enough.
std::optional<uint64_t> LeadingNumber(const std::string& text);
// -c. Fails with the original's sentence.
rules::Counters CountersOf(const std::string& packets, const std::string& bytes);

}  // namespace postern::control::iptables
