#include "dataplane/rules/pairing.h"

#include <string_view>
#include <unordered_map>

#include "dataplane/rules/rule_set.h"

namespace postern::rules {

namespace {

// Over what most often tells rules apart; equal rules have equal fingerprints.
class Fingerprint {
 public:
  void Add(uint64_t value) {
    hash_ = (hash_ ^ value) * 0x9e3779b97f4a7c15U;
    hash_ ^= hash_ >> 32;
  }
  void Add(std::string_view text) { Add(std::hash<std::string_view>()(text)); }
  void Add(const AddressMatch& match) {
    for (int i = 0; i < 4; ++i) Add((uint64_t{match.address.Word(i)} << 32) | match.mask.Word(i));
  }
  void Add(const PortRange& range) { Add((uint64_t{range.first} << 16) | range.last); }
  uint64_t value() const { return hash_; }

 private:
  uint64_t hash_ = 0;
};

void AddMatch(const Match& match, Fingerprint* print) {
  print->Add(match.index());
  if (const auto* tcp = std::get_if<TcpMatch>(&match)) {
    print->Add(tcp->source);
    print->Add(tcp->destination);
  } else if (const auto* udp = std::get_if<UdpMatch>(&match)) {
    print->Add(udp->source);
    print->Add(udp->destination);
  } else if (const auto* multiport = std::get_if<MultiportMatch>(&match)) {
    for (const PortRange& range : multiport->ports) print->Add(range);
  } else if (const auto* comment = std::get_if<CommentMatch>(&match)) {
    print->Add(comment->comment);
  } else if (const auto* mark = std::get_if<MarkMatch>(&match)) {
    print->Add(mark->mark);
  }
}

uint64_t FingerprintOf(const Rule& rule) {
  Fingerprint print;
  print.Add(rule.ip.source);
  print.Add(rule.ip.destination);
  print.Add(rule.ip.in.name);
  print.Add(rule.ip.out.name);
  print.Add(rule.ip.protocol);
  for (const Match& match : rule.matches) AddMatch(match, &print);
  print.Add(rule.target.index());
  if (const auto* jump = std::get_if<JumpTarget>(&rule.target)) print.Add(jump->chain);
  return print.value();
}

}  // namespace

std::vector<uint32_t> PairRules(const std::vector<Rule>& previous, const std::vector<Rule>& next) {
  std::vector<uint32_t> pairs(next.size(), kUnpaired);
  // Rules of `previous` that are still to be paired, in order, by fingerprint.
  std::unordered_map<uint64_t, std::vector<uint32_t>> waiting;
  for (size_t i = 0; i < previous.size(); ++i) {
    waiting[FingerprintOf(previous[i])].push_back(static_cast<uint32_t>(i));
  }
  for (size_t i = 0; i < next.size(); ++i) {
    const auto found = waiting.find(FingerprintOf(next[i]));
    if (found == waiting.end()) continue;
    for (uint32_t& candidate : found->second) {
      if (candidate == kUnpaired || !previous[candidate].SameAs(next[i])) continue;
      pairs[i] = candidate;
      candidate = kUnpaired;
      break;
    }
  }
  return pairs;
}

std::vector<RuleId> MatchRules(const RuleSet& previous, const RuleSet& next) {
  std::vector<RuleId> same(next.rule_count(), kNoRule);
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    for (int t = 0; t < net::kTableCount; ++t) {
      const auto table = static_cast<net::Table>(t);
      const TableModel& before = previous.model().family(family).table(table);
      const TableModel& after = next.model().family(family).table(table);
      for (size_t c = 0; c < after.chains.size(); ++c) {
        const Chain& chain = after.chains[c];
        const Chain* match = before.Find(chain.name);
        if (match == nullptr) continue;
        const auto old_c = static_cast<uint16_t>(match - before.chains.data());
        const auto new_c = static_cast<uint16_t>(c);
        if (chain.builtin && match->builtin) {
          same[next.IdOf({family, table, new_c, 0})] = previous.IdOf({family, table, old_c, 0});
        }
        const std::vector<uint32_t> pairs = PairRules(match->rules, chain.rules);
        for (uint32_t r = 0; r < pairs.size(); ++r) {
          if (pairs[r] == kUnpaired) continue;
          same[next.IdOf({family, table, new_c, r + 1})] =
              previous.IdOf({family, table, old_c, pairs[r] + 1});
        }
      }
    }
  }
  return same;
}

}  // namespace postern::rules
