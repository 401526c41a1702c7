#include "dataplane/rules/matches/conntrack.h"

namespace postern::rules {

namespace {

using Field = ConntrackMatch::Field;

// One option's test against the connection; true where it was not given.
class Options {
 public:
  explicit Options(const ConntrackMatch& match) : match_(match) {}

  bool Passes(Field field, bool matched) const {
    return !Given(field) || matched != ((match_.inverted & field) != 0);
  }
  bool Address(Field field, const IpAddress& address, const AddressMatch& wanted) const {
    return !Given(field) ||
           Passes(field, (address & wanted.mask) == (wanted.address & wanted.mask));
  }
  bool Port(Field field, uint16_t key, const PortRange& range) const {
    return Passes(field, range.Contains(key));
  }
  bool Given(Field field) const { return (match_.fields & field) != 0; }

 private:
  const ConntrackMatch& match_;
};

bool TuplesMatch(const ConntrackMatch& match, const ctrack::Connection& connection) {
  const Options options(match);
  const net::Tuple& original = connection.original();
  const net::Tuple& reply = connection.reply();
  return options.Address(Field::kOrigSrc, original.source, match.orig_src) &&
         options.Address(Field::kOrigDst, original.destination, match.orig_dst) &&
         options.Address(Field::kReplSrc, reply.source, match.repl_src) &&
         options.Address(Field::kReplDst, reply.destination, match.repl_dst) &&
         options.Passes(Field::kProto, original.protocol == match.protocol) &&
         options.Port(Field::kOrigSrcPort, original.source_key, match.orig_src_port) &&
         options.Port(Field::kOrigDstPort, original.destination_key, match.orig_dst_port) &&
         options.Port(Field::kReplSrcPort, reply.source_key, match.repl_src_port) &&
         options.Port(Field::kReplDstPort, reply.destination_key, match.repl_dst_port);
}

// The reply tuple and the NAT bits of a connection change while its first packet passes the nat
// table, so an answer taken from them may differ for the next packet in state NEW.
constexpr uint16_t kReplyFields =
    Field::kReplSrc | Field::kReplDst | Field::kReplSrcPort | Field::kReplDstPort;

}  // namespace

Answer Matches(const CompiledConntrack& compiled, const WalkContext& context, uint16_t* depends) {
  const ConntrackMatch& match = *compiled.match;
  const Options options(match);
  const ctrack::Connection* connection = context.ct->connection;

  if (options.Given(Field::kState)) {
    uint16_t state = CtStateOf(*context.ct);
    if ((match.state & (kCtStateSnat | kCtStateDnat)) != 0 && connection != nullptr) {
      *depends |= kDependsCtStatus;
      if (connection->Has(ctrack::kSrcNat)) state |= kCtStateSnat;
      if (connection->Has(ctrack::kDstNat)) state |= kCtStateDnat;
    }
    if (!options.Passes(Field::kState, (match.state & state) != 0)) return Answer::kNo;
  }
  // Without a connection there is nothing else to ask: the kernel answers yes if the state was
  // asked for, whatever the other options say, and no otherwise.
  if (connection == nullptr) return AnswerOf(options.Given(Field::kState));

  const bool is_reply = ctrack::IsReply(context.ct->info);
  if (!options.Passes(Field::kDirection, is_reply == match.direction_reply)) return Answer::kNo;
  if ((match.fields & kReplyFields) != 0) *depends |= kDependsCtStatus;
  if (!TuplesMatch(match, *connection)) return Answer::kNo;

  if (options.Given(Field::kStatus)) {
    *depends |= kDependsCtStatus;
    // NONE is an empty mask, which no status meets.
    if (!options.Passes(Field::kStatus, (match.status & connection->status) != 0)) {
      return Answer::kNo;
    }
  }
  if (options.Given(Field::kExpires)) {
    *depends |= kDependsTime;
    const uint64_t left = SecondsLeft(*connection, context.now);
    if (!options.Passes(Field::kExpires, match.expires_min <= left && left <= match.expires_max)) {
      return Answer::kNo;
    }
  }
  return Answer::kYes;
}

}  // namespace postern::rules
