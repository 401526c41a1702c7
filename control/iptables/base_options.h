// The options that the iptables commands have without any extension, and which of them a command
// takes.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "control/iptables/options.h"

namespace postern::control::iptables {

// In getopt's form, without "-:".
extern const std::string_view kBaseLetters;
// Their long names. --line-numbers has no letter and this value.
inline constexpr char kLineNumbers = '0';
const std::vector<LongOption>& BaseOptions();

// The letter of the highest verb among `verbs` (bits of Verb), for messages.
char VerbLetter(uint32_t verbs);
// May `!` stand before the option?
bool IsInvertible(char option);
// Fails with the original's sentence if one of the options (letters) goes with none of the verbs.
void CheckOptionsOfVerbs(uint32_t verbs, std::string_view options);

}  // namespace postern::control::iptables
