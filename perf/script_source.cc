#include "perf/script_source.h"

#include <algorithm>
#include <bit>

#include "dataplane/net/tuple.h"
#include "dataplane/net/wire.h"

namespace postern::perf {
namespace {

constexpr uint32_t kClientSequence = 1000;
constexpr uint32_t kServerSequence = 5000;
constexpr uint16_t kRequest = 64;  // bytes

constexpr uint8_t kSyn = net::kTcpSyn;
constexpr uint8_t kAck = net::kTcpAck;
constexpr uint8_t kFin = net::kTcpFin;

constexpr uint16_t kIpv4TcpBytes = 14 + 20 + 20;
constexpr uint16_t kIpv6TcpBytes = 14 + 40 + 20;

}  // namespace

const std::vector<Step>& OpeningScript(Transport transport) {
  static const std::vector<Step> udp = {{true}, {false}, {true}};
  static const std::vector<Step> tcp = {
      {true, kSyn, 0, 0}, {false, kSyn | kAck, 0, 1}, {true, kAck, 1, 1}};
  return transport == Transport::kUdp ? udp : tcp;
}

const std::vector<Step>& LifeScript(Transport transport) {
  static const std::vector<Step> udp = {{true}};
  static const std::vector<Step> tcp = {
      {true, kSyn, 0, 0},
      {false, kSyn | kAck, 0, 1},
      {true, kAck, 1, 1, kRequest},
      {false, kAck, 1, 1 + kRequest, kRequest},
      {true, kFin | kAck, 1 + kRequest, 1 + kRequest},
      {false, kFin | kAck, 1 + kRequest, 2 + kRequest},
      {true, kAck, 2 + kRequest, 2 + kRequest},
  };
  return transport == Transport::kUdp ? udp : tcp;
}

const std::vector<Step>& SynScript() {
  static const std::vector<Step> syn = {{true, kSyn, 0, 0}};
  return syn;
}

unsigned ConnectionKind::OwnerOf(const Endpoints& ends) const {
  if (owners->workers() == 1) return 0;
  net::Tuple tuple;
  tuple.family = family;
  tuple.protocol = transport == Transport::kUdp ? net::kProtoUdp : net::kProtoTcp;
  const bool ipv6 = family == net::Family::kIpv6;
  tuple.source = ipv6 ? Ipv6Of(ends.source) : net::IpAddress::V4(ends.source);
  tuple.destination = ipv6 ? Ipv6Of(ends.destination) : net::IpAddress::V4(ends.destination);
  tuple.source_key = ends.source_port;
  tuple.destination_key = ends.destination_port;
  return owners->OwnerOf(tuple);
}

Frame ConnectionKind::Make(const Endpoints& ends, const Step& step, uint16_t length) const {
  const net::PortId port = PortOf(step.client);
  if (transport == Transport::kUdp) return MakeUdp(ends, port, {family, length});
  if (step.payload != 0) {
    const uint16_t headers = family == net::Family::kIpv4 ? kIpv4TcpBytes : kIpv6TcpBytes;
    length = static_cast<uint16_t>(headers + step.payload);
  }
  const uint32_t own = step.client ? kClientSequence : kServerSequence;
  const uint32_t other = step.client ? kServerSequence : kClientSequence;
  const TcpFields fields{step.flags, own + step.sequence,
                         (step.flags & kAck) != 0 ? other + step.acknowledgement : 0};
  return MakeTcp(ends, fields, port, {family, length});
}

void ScriptSource::Fill(Batch* batch) {
  *batch = {};
  while (next_ < plan_.end && batch->size < kSlots) {
    const uint32_t index = next_++;
    if (plan_.kind.OwnerOf(FlowAt(index, plan_.kind.inwards)) != plan_.kind.worker) continue;
    batch->index[batch->size++] = index;
  }
  batch->alive = batch->size == kSlots ? UINT32_MAX : (1U << batch->size) - 1;
}

void ScriptSource::Finish(const Batch& batch) {
  done_.Add(static_cast<uint64_t>(std::popcount(batch.alive)));
  if (!plan_.on_done) return;
  for (unsigned slot = 0; slot < batch.size; ++slot) {
    if ((batch.alive >> slot & 1) != 0) plan_.on_done(batch.index[slot], batch.server[slot]);
  }
}

bool ScriptSource::Ready(Batch* batch, net::PortId port) {
  if (batch->waiting) {
    if (batch->seen != batch->alive && ++batch->waited < plan_.patience) return false;
    lost_.Add(static_cast<uint64_t>(std::popcount(batch->alive & ~batch->seen)));
    batch->alive &= batch->seen;
    batch->waiting = false;
    if (++batch->step == plan_.script->size() || batch->alive == 0) {
      if (batch->step == plan_.script->size()) Finish(*batch);
      batch->size = 0;
    }
  }
  if (batch->size == 0) Fill(batch);
  return batch->size != 0 && plan_.kind.PortOf((*plan_.script)[batch->step].client) == port;
}

size_t ScriptSource::Emit(unsigned number, std::span<Arrival> arrivals) {
  Batch& batch = batches_[number];
  const Step& step = (*plan_.script)[batch.step];
  size_t count = 0;
  for (unsigned slot = 0; slot < batch.size; ++slot) {
    if ((batch.alive >> slot & 1) == 0) continue;
    const Endpoints ends =
        step.client ? FlowAt(batch.index[slot], plan_.kind.inwards) : batch.server[slot];
    frames_[count] = plan_.kind.Make(ends, step);
    arrivals[count] = {&frames_[count], (number << 8 | slot) + 1};
    ++count;
  }
  batch.waiting = true;
  batch.waited = 0;
  batch.seen = 0;
  return count;
}

size_t ScriptSource::Arrive(net::PortId port, std::span<Arrival> arrivals) {
  if (arrivals.size() < kSlots) return 0;
  bool idle = true;
  for (unsigned i = 0; i < kBatches; ++i) {
    const unsigned number = (turn_ + i) % kBatches;
    if (Ready(&batches_[number], port)) {
      turn_ = number + 1;
      return Emit(number, arrivals);
    }
    idle = idle && batches_[number].size == 0;
  }
  if (idle) finished_.Set(1);
  return 0;
}

void ScriptSource::Sent(net::PortId, uint32_t tag, std::span<const uint8_t> frame) {
  if (tag == 0) return;
  Batch& batch = batches_[(tag - 1) >> 8 & (kBatches - 1)];
  const unsigned slot = (tag - 1) & (kSlots - 1);
  batch.seen |= 1U << slot;
  if (batch.step != 0 || plan_.script->size() == 1) return;
  batch.server[slot] = AnswerTo(frame);
  if (plan_.kind.OwnerOf(batch.server[slot]) != plan_.kind.worker) foreign_.Add(1);
}

}  // namespace postern::perf
