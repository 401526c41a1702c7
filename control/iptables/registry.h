// Which extensions there are, by name and by what they make.
#pragma once

#include <string_view>

#include "control/iptables/extension.h"

namespace postern::control::iptables {

// By the name that -m or -j gives; null: none of ours.
const MatchExtension* FindMatch(std::string_view name, Family family);
const TargetExtension* FindTarget(std::string_view name, Family family);
// The extension that writes this struct; a target without extension (none, ACCEPT, a chain): null.
const MatchExtension& MatchOwner(const rules::Match& match, Family family);
const TargetExtension* TargetOwner(const rules::Target& target);

// The original has an extension of this name and we don't.
bool IsForeignMatch(std::string_view name, Family family);
bool IsForeignTarget(std::string_view name, Family family);
// No chain may have such a name.
bool IsTargetName(std::string_view name, Family family);

// The extensions, one function a file ext_*.cc.
const MatchExtension& TcpMatchExtension();
const MatchExtension& UdpMatchExtension();
const MatchExtension& IcmpMatchExtension();
const MatchExtension& Icmp6MatchExtension();
const MatchExtension& MultiportMatchExtension();
const MatchExtension& ConntrackMatchExtension();
const MatchExtension& StateMatchExtension();
const MatchExtension& CommentMatchExtension();
const MatchExtension& MarkMatchExtension();
const MatchExtension& LimitMatchExtension();
const MatchExtension& RecentMatchExtension();
const MatchExtension& ConnlimitMatchExtension();
const TargetExtension& RejectTargetExtension();
const TargetExtension& Reject6TargetExtension();
const TargetExtension& LogTargetExtension();
const TargetExtension& MarkTargetExtension();
const TargetExtension& SnatTargetExtension();
const TargetExtension& DnatTargetExtension();
const TargetExtension& MasqueradeTargetExtension();
const TargetExtension& RedirectTargetExtension();
const TargetExtension& CtTargetExtension();
const TargetExtension& NotrackTargetExtension();

}  // namespace postern::control::iptables
