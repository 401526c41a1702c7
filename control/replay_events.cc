#include "control/replay_events.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "control/conntrack_printer.h"

namespace postern::control {
namespace {

using Json = nlohmann::ordered_json;

struct TargetNamer {
  std::string operator()(const rules::NoTarget&) const { return ""; }
  std::string operator()(const rules::AcceptTarget&) const { return "ACCEPT"; }
  std::string operator()(const rules::DropTarget&) const { return "DROP"; }
  std::string operator()(const rules::ReturnTarget&) const { return "RETURN"; }
  std::string operator()(const rules::JumpTarget& jump) const { return jump.chain; }
  std::string operator()(const rules::RejectTarget&) const { return "REJECT"; }
  std::string operator()(const rules::LogTarget&) const { return "LOG"; }
  std::string operator()(const rules::MarkTarget&) const { return "MARK"; }
  std::string operator()(const rules::SnatTarget&) const { return "SNAT"; }
  std::string operator()(const rules::DnatTarget&) const { return "DNAT"; }
  std::string operator()(const rules::MasqueradeTarget&) const { return "MASQUERADE"; }
  std::string operator()(const rules::RedirectTarget&) const { return "REDIRECT"; }
  std::string operator()(const rules::NotrackTarget& t) const {
    return t.spelled_notrack ? "NOTRACK" : "CT";
  }
};

Json StepJson(rules::RuleId id, const rules::RuleSet& rules) {
  const rules::RulePlace place = rules.Place(id);
  const rules::Chain& chain =
      rules.model().family(place.family).table(place.table).chains[place.chain];
  Json step;
  step["table"] = net::ToString(place.table);
  step["chain"] = chain.name;
  step["rule"] = place.number;  // 0: the chain's policy
  step["target"] = place.number == 0
                       ? std::string(chain.policy == net::Verdict::kAccept ? "ACCEPT" : "DROP")
                       : TargetName(chain.rules[place.number - 1].target);
  return step;
}

Json TupleJson(const net::Tuple& tuple) {
  Json json;
  json["src"] = net::ToString(tuple.family, tuple.source);
  json["dst"] = net::ToString(tuple.family, tuple.destination);
  if (net::HasPorts(tuple.protocol)) {
    json["sport"] = tuple.source_key;
    json["dport"] = tuple.destination_key;
  } else if (tuple.protocol == net::kProtoIcmp || tuple.protocol == net::kProtoIcmpv6) {
    json["type"] = tuple.IcmpType();
    json["code"] = tuple.IcmpCode();
    json["id"] = tuple.source_key;
  }
  return json;
}

Json ConnectionJson(const ReplayEvent& event) {
  const ctrack::Connection& connection = event.connection;
  Json json;
  json["id"] = connection.id;
  json["protocol"] = ConntrackProtocolName(connection.original().protocol);
  if (connection.original().protocol == net::kProtoTcp) {
    json["state"] = ctrack::ToString(connection.protocol.tcp.state);
  }
  json["original"] = TupleJson(connection.original());
  json["reply"] = TupleJson(connection.reply());
  constexpr std::pair<ctrack::Status, const char*> kNames[] = {
      {ctrack::kExpected, "EXPECTED"}, {ctrack::kSeenReply, "SEEN_REPLY"},
      {ctrack::kAssured, "ASSURED"},   {ctrack::kConfirmed, "CONFIRMED"},
      {ctrack::kSrcNat, "SRC_NAT"},    {ctrack::kDstNat, "DST_NAT"},
  };
  json["status"] = Json::array();
  for (const auto& [bit, name] : kNames) {
    if (connection.Has(bit)) json["status"].push_back(name);
  }
  json["mark"] = connection.mark;
  return json;
}

}  // namespace

const char* CtStateName(ctrack::CtInfo info) {
  switch (info) {
    case ctrack::CtInfo::kEstablished:
    case ctrack::CtInfo::kEstablishedReply:
      return "ESTABLISHED";
    case ctrack::CtInfo::kRelated:
    case ctrack::CtInfo::kRelatedReply:
      return "RELATED";
    case ctrack::CtInfo::kNew:
      return "NEW";
    case ctrack::CtInfo::kUntracked:
      return "UNTRACKED";
    case ctrack::CtInfo::kInvalid:
      break;
  }
  return "INVALID";
}

std::string TargetName(const rules::Target& target) { return std::visit(TargetNamer{}, target); }

std::string ToJson(const ReplayEvent& event, const rules::RuleSet& rules) {
  Json json;
  json["n"] = event.number;
  json["time"] = static_cast<double>(event.time / net::kMicrosecond) / 1e6;
  json["in"] = event.in;
  json["verdict"] = net::ToString(event.verdict);
  json["reason"] = net::ToString(event.reason);
  json["ctstate"] = event.tracked ? Json(CtStateName(event.info)) : Json(nullptr);
  json["out"] = event.out;
  json["path"] = Json::array();
  for (const rules::RuleId id : event.path) json["path"].push_back(StepJson(id, rules));
  json["ct"] = event.has_connection ? ConnectionJson(event) : Json(nullptr);
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace postern::control
