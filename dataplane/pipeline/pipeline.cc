#include "dataplane/pipeline/pipeline.h"

#include <algorithm>
#include <cstring>

#include "dataplane/pipeline/pipeline_impl.h"
#include "dataplane/rules/classify/tuple_classes.h"

namespace postern::pipeline {
namespace {

route::NeighborSettings NeighborSettingsFor(const Pipeline::Context& context) {
  route::NeighborSettings settings;
  settings.assume_reachable = context.assume_neighbors;
  return settings;
}

route::ReassemblySettings ReassemblyFor(const ctrack::Settings& conntrack) {
  route::ReassemblySettings settings;
  settings.timeout_ipv4 = conntrack.frag_timeout_ipv4 * net::kSecond;
  settings.timeout_ipv6 = conntrack.frag_timeout_ipv6 * net::kSecond;
  settings.max_bytes = conntrack.frag_high_thresh;
  return settings;
}

// The key of the hash is there to stay: a sender who knew it could choose datagrams that collide.
route::ReassemblySettings ReassemblyAtStart(uint64_t seed) {
  route::ReassemblySettings settings;
  settings.hash_key = net::Rng(seed ^ 0x66726167).Next();
  return settings;
}

LogRecord RecordOf(const net::Packet& packet, net::Hook hook, net::PortId in, net::PortId out,
                   net::Time now) {
  LogRecord record;
  record.time = now;
  record.hook = hook;
  record.in = in;
  record.out = out;
  record.mark = packet.mark;
  record.l3_offset = packet.ip.l3_offset;
  record.l3_length = packet.ip.l3_length;
  record.family = packet.ip.family;
  record.captured = static_cast<uint16_t>(std::min<size_t>(packet.length, LogRecord::kMaxBytes));
  std::memcpy(record.bytes, packet.data, record.captured);
  // What comes by lo has a header of zeros there; here it still has the port's.
  constexpr size_t kMacs = 12;
  if (in == net::kLoopbackPort) std::memset(record.bytes, 0, kMacs);
  return record;
}

}  // namespace

Pipeline::Impl::Impl(const Context& context)
    : context_(context),
      rng_(context.seed),
      tracker_(context.table, context.pool, context.shared, this, context.seed ^ 0x7472616b),
      pool_tuples_(context.pool),
      sources_(context.pool->capacity(), context.seed ^ 0x736e6174, &pool_tuples_,
               context.source_memory),
      claims_(MostClaims(context.owners->workers()), context.table),
      neighbors_(NeighborSettingsFor(context), context.io->pool(), this, context.seed ^ 0x617270),
      reassembler_(ReassemblyAtStart(context.seed), context.io->pool(), this) {}

Pipeline::Impl::~Impl() {
  claims_.ForEachPacket([this](net::Packet* packet) { context_.io->pool()->Free(packet); });
}

void Pipeline::Impl::Adopt(const Snapshot* snapshot) {
  if (snapshot_ != nullptr) LeaveRules();
  const bool renewable = snapshot_ != nullptr && OnlyRulesDiffer(*snapshot);
  snapshot_ = snapshot;
  has_connlimit_ = rules().HasConnlimit();
  tracker_.SetSettings(&snapshot->conntrack);
  reassembler_.Configure(ReassemblyFor(snapshot->conntrack));
  classes_.Clear();
  openings_.Clear();
  for (const net::Family family : {net::Family::kIpv4, net::Family::kIpv6}) {
    uint8_t* tables = &tables_[IndexOf(family)];
    *tables = 0;
    for (int t = 0; t < net::kTableCount; ++t) {
      if (rules().HasTable(family, static_cast<net::Table>(t))) *tables |= uint8_t{1} << t;
    }
    may_advance_[IndexOf(family)] = snapshot->fast_path && RawPassesAll(family);
    may_open_[IndexOf(family)] =
        may_advance_[IndexOf(family)] && rules().tuple_classes(family).complete();
  }
  if (++epoch_ == 0) ++epoch_;
  if (renewable) return;
  neighbors_.Configure(snapshot->routes.get(), snapshot->neighbors);
  next_hops_.Clear();
  renewable_from_ = epoch_;
}

bool Pipeline::Impl::Tick(net::Time now) {
  now_ = now;
  const size_t before = tracker_.size();
  tracker_.Sweep(now, std::max(kSweepBudget, context_.pool->high_water() / kTicksAPass), kMostEnds);
  const bool many = before - tracker_.size() >= kMostEnds / 2;
  if (now - last_tick_ < 10 * net::kMillisecond) return many;
  last_tick_ = now;
  neighbors_.Tick(now);
  reassembler_.Tick(now);
  return many;
}

void Pipeline::Impl::OnConnection(ctrack::ConnEvent event, uint32_t changes,
                                  const ctrack::Connection& connection, net::Time now) {
  if (event != ctrack::ConnEvent::kUpdate) ++table_changes_;
  if (event == ctrack::ConnEvent::kNew && has_connlimit_) rules().NoteConnection(connection);
  if (event == ctrack::ConnEvent::kDestroy) {
    if (connection.Has(ctrack::kSrcNat)) sources_.Erase(context_.pool->SlotOf(&connection));
    if (context_.owners->workers() > 1) TellOwnersOfEnd(connection);
  }
  if (context_.events == nullptr || !context_.events->WantsConnections()) return;
  Report(event, changes, connection, now);
}

void Pipeline::Impl::Report(ctrack::ConnEvent event, uint32_t changes,
                            const ctrack::Connection& connection, net::Time now) {
  ConnRecord record;
  record.time = now;
  record.event = event;
  record.changes = changes;
  record.reporter = reporter_;
  record.connection = connection;
  if (connection.extension != nullptr) {
    const ctrack::Extension& more = *connection.extension;
    record.counted = more.counted;
    record.packets = more.packets;
    record.bytes = more.bytes;
    record.start = more.start;
  }
  context_.events->OnConnection(record);
}

// Who owns a tuple is found without reading it, where that can be.
void Pipeline::Impl::TellOwnersOfEnd(const ctrack::Connection& connection) {
  const net::OwnerMap& owners = *context_.owners;
  const bool by_ports = connection.kind == net::kProtoTcp || connection.kind == net::kProtoUdp;
  for (const auto direction : {net::Direction::kOriginal, net::Direction::kReply}) {
    const unsigned owner = by_ports ? owners.OwnerOfPorts(connection.Key(direction))
                                    : owners.OwnerOf(connection.tuple(direction));
    if (owner != context_.worker) {
      TellOwner(connection.tuple(direction), RemoteEntry::Kind::kRemove);
    }
  }
}

void Pipeline::Impl::OnClosed(ctrack::Connection& connection) {
  if (has_connlimit_) rules().NoteConnection(connection);
}

void Pipeline::Impl::OnEndsAhead(std::span<ctrack::Connection* const> connections) {
  for (const ctrack::Connection* connection : connections) {
    if (connection->Has(ctrack::kSrcNat)) {
      sources_.PrefetchErase(context_.pool->SlotOf(connection));
    }
  }
}

const ctrack::Connection* Pipeline::Impl::FindConnection(const net::Tuple& tuple, net::Time now) {
  ctrack::Direction direction;
  return tracker_.Find(tuple, &direction, now);
}

void Pipeline::Impl::Log(const rules::LogTarget& target, const net::Packet& packet, net::Hook hook,
                         net::PortId in, net::PortId out, net::Time now) {
  if (context_.events == nullptr) return;
  LogRecord record = RecordOf(packet, hook, in, out, now);
  record.level = target.level;
  record.options = target.options;
  const size_t prefix = std::min(target.prefix.size(), sizeof(record.prefix) - 1);
  std::memcpy(record.prefix, target.prefix.data(), prefix);
  context_.events->OnLog(record);
}

// nf_l4proto_log_invalid: with netfilter's default level and options.
void Pipeline::Impl::LogInvalid(const Flight& f, net::Hook hook) {
  constexpr uint8_t kAllProtocols = 255;
  constexpr uint8_t kNotice = 5;
  const uint8_t wanted = snapshot_->conntrack.log_invalid;
  const uint8_t protocol = f.packet->ip.protocol;
  if (context_.events == nullptr || (wanted != kAllProtocols && wanted != protocol)) return;
  const bool output = hook == net::Hook::kOutput;
  LogRecord record =
      RecordOf(*f.packet, hook, output ? net::kNoPort : f.in, output ? f.out : net::kNoPort, f.now);
  record.level = kNotice;
  record.options =
      rules::LogTarget::kTcpSequence | rules::LogTarget::kTcpOptions | rules::LogTarget::kIpOptions;
  record.protocol = protocol;
  record.invalid = tracker_.note();
  context_.events->OnLog(record);
  if (record.invalid.then == ctrack::InvalidWhy::kNone) return;
  record.invalid.why = record.invalid.then;
  context_.events->OnLog(record);
}

rules::PathBuilder* Pipeline::Impl::BeginPath() {
  rules::PathBuilder* path = &paths_[std::min<size_t>(path_depth_, paths_.size() - 1)];
  path->Clear();
  return path;
}

Pipeline::Pipeline(const Context& context) : impl_(std::make_unique<Impl>(context)) {}
Pipeline::~Pipeline() = default;

void Pipeline::Adopt(const Snapshot* snapshot) { impl_->Adopt(snapshot); }
const Snapshot* Pipeline::snapshot() const { return impl_->snapshot(); }
void Pipeline::Receive(std::span<const Frame> frames, net::PortId in_port, net::Time now) {
  impl_->Receive(frames, in_port, now);
}
void Pipeline::Receive(std::span<net::Packet> packets, net::Time now) {
  impl_->Receive(packets, now);
}
void Pipeline::ReceiveHandoff(net::Packet* packet, HandoffKind kind, net::Time now) {
  impl_->ReceiveHandoff(packet, kind, now);
}
void Pipeline::ReceiveRemoteEntry(const RemoteEntry& entry, net::Time now) {
  impl_->ReceiveRemoteEntry(entry, now);
}
void Pipeline::ReceiveHost(net::Packet* packet, net::Time now) { impl_->ReceiveHost(packet, now); }
bool Pipeline::Tick(net::Time now) { return impl_->Tick(now); }
bool Pipeline::Owns(const net::Tuple& original) const { return impl_->Owns(original); }
std::optional<ctrack::RequestOutcome> Pipeline::Insert(const ctrack::ConnectionRequest& request,
                                                       const NatWish& nat, net::Time now) {
  return impl_->Insert(request, nat, now);
}
void Pipeline::SetReporter(uint32_t reporter) { impl_->SetReporter(reporter); }
ctrack::Tracker& Pipeline::tracker() { return impl_->tracker(); }
const PipelineStats& Pipeline::stats() const { return impl_->stats(); }

}  // namespace postern::pipeline
