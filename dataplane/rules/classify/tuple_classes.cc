#include "dataplane/rules/classify/tuple_classes.h"

#include <variant>

namespace postern::rules {

namespace {

// Visits all that rules compare tuples with.
template <typename Number>
class Collector {
 public:
  Collector(TupleClasses::Ends<Number>* addresses, TupleClasses::Ends<uint16_t>* ports)
      : addresses_(*addresses), ports_(*ports) {}

  // False: Of() would say nothing.
  bool Collect(const FamilyModel& model) {
    for (const TableModel& table : model.tables) {
      for (const Chain& chain : table.chains) {
        for (const Rule& rule : chain.rules) Add(rule);
      }
    }
    return !holes_ && addresses_.source.Finish() && addresses_.destination.Finish() &&
           ports_.source.Finish() && ports_.destination.Finish();
  }

  void operator()(const TcpMatch& match) { AddPorts(match); }
  void operator()(const UdpMatch& match) { AddPorts(match); }
  void operator()(const MultiportMatch& match) {
    for (const PortRange& range : match.ports) {
      if (match.which != MultiportMatch::Which::kDestination) Add(range, &ports_.source);
      if (match.which != MultiportMatch::Which::kSource) Add(range, &ports_.destination);
    }
  }
  void operator()(const ConntrackMatch& match) {
    const auto given = [&match](ConntrackMatch::Field field) {
      return (match.fields & field) != 0;
    };
    if (given(ConntrackMatch::kOrigSrc)) Add(match.orig_src, &addresses_.source);
    if (given(ConntrackMatch::kOrigDst)) Add(match.orig_dst, &addresses_.destination);
    if (given(ConntrackMatch::kOrigSrcPort)) Add(match.orig_src_port, &ports_.source);
    if (given(ConntrackMatch::kOrigDstPort)) Add(match.orig_dst_port, &ports_.destination);
  }
  // These read no tuple, or say that they depend on more than that.
  void operator()(const IcmpMatch&) {}
  void operator()(const StateMatch&) {}
  void operator()(const CommentMatch&) {}
  void operator()(const MarkMatch&) {}
  void operator()(const LimitMatch&) {}
  void operator()(const RecentMatch&) {}
  void operator()(const ConnlimitMatch&) {}

 private:
  void Add(const Rule& rule) {
    Add(rule.ip.source, &addresses_.source);
    Add(rule.ip.destination, &addresses_.destination);
    for (const Match& match : rule.matches) std::visit(*this, match);
  }
  template <typename Match>
  void AddPorts(const Match& match) {
    Add(match.source, &ports_.source);
    Add(match.destination, &ports_.destination);
  }
  void Add(const AddressMatch& match, Boundaries<Number>* boundaries) {
    const auto mask = NumberOf<Number>(match.mask);
    const auto host = static_cast<Number>(~mask);
    // The host's bits are all at the end: one more than they is a power of two.
    if ((host & (host + 1)) != 0) holes_ = true;
    const auto first = static_cast<Number>(NumberOf<Number>(match.address) & mask);
    boundaries->AddRange(first, first | host);
  }
  static void Add(const PortRange& range, Boundaries<uint16_t>* boundaries) {
    boundaries->AddRange(range.first, range.last);
  }

  TupleClasses::Ends<Number>& addresses_;
  TupleClasses::Ends<uint16_t>& ports_;
  bool holes_ = false;
};

}  // namespace

TupleClasses TupleClasses::Build(const FamilyModel& model) {
  TupleClasses classes;
  classes.family_ = model.family;
  const bool complete = model.family == Family::kIpv4
                            ? Collector(&classes.ipv4_, &classes.ports_).Collect(model)
                            : Collector(&classes.ipv6_, &classes.ports_).Collect(model);
  if (complete) return classes;
  classes = {};
  classes.complete_ = false;
  return classes;
}

}  // namespace postern::rules
