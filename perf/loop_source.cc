#include "perf/loop_source.h"

#include <algorithm>

#include "dataplane/net/random.h"

namespace postern::perf {

LoopSource::LoopSource(net::PortId client_port, std::vector<Frame> client,
                       std::vector<Frame> server, std::vector<uint32_t> order)
    : client_port_(client_port),
      frames_{client_port == kWan ? std::move(client) : std::move(server),
              client_port == kWan ? std::move(server) : std::move(client)},
      order_(std::move(order)),
      size_(order_.empty() ? frames_[0].size() : order_.size()),
      limit_(size_) {
  static_assert(kWan == 0 && kLan == 1);
}

size_t LoopSource::Arrive(net::PortId port, std::span<Arrival> arrivals) {
  const size_t limit = limit_.load(std::memory_order_relaxed);
  const std::vector<Frame>& frames = frames_[port];
  size_t cursor = cursor_[port] < limit ? cursor_[port] : 0;
  const size_t count = std::min(arrivals.size(), limit - cursor);
  const auto at = [&](size_t place) {
    return frames.data() + (order_.empty() ? place : order_[place]);
  };
  for (size_t i = 0; i < count; ++i) arrivals[i] = {at(cursor + i), 0};
  cursor += count;
  if (cursor == limit) {
    cursor = 0;
    rounds_[port].Add(1);
  }
  cursor_[port] = cursor;
  // By the next call they are here, as they would be after a NIC's DMA.
  for (size_t i = 0; i < std::min(count, limit - cursor); ++i) {
    const Frame* next = at(cursor + i);
    __builtin_prefetch(next);
    __builtin_prefetch(next + 1);
  }
  return count;
}

size_t MixSource::Arrive(net::PortId port, std::span<Arrival> arrivals) {
  if (port == flood_port_) {
    flood_next_ = !flood_next_;
    if (!flood_next_) {
      const size_t count = flood_->Arrive(port, arrivals);
      flood_arrived_.Add(count);
      return count;
    }
  }
  const size_t count = known_->Arrive(port, arrivals);
  known_arrived_.Add(count);
  return count;
}

void MixSource::Sent(net::PortId port, uint32_t tag, std::span<const uint8_t> frame) {
  if (tag == 0) {
    known_sent_.Add(1);
    return;
  }
  flood_sent_.Add(1);
  flood_->Sent(port, tag, frame);
}

size_t RateSource::Arrive(net::PortId port, std::span<Arrival> arrivals) {
  Queue& queue = queues_[port];
  const uint64_t now = ThreadNanoseconds();
  if (queue.updated == 0) queue.updated = now;
  queue.due += static_cast<double>(now - queue.updated) * per_nanosecond_;
  queue.updated = now;
  const auto arrived = static_cast<uint64_t>(queue.due);
  queue.due -= static_cast<double>(arrived);
  queue.waiting += arrived;
  offered_.Add(arrived);
  if (queue.waiting > kDescriptors) {
    missed_.Add(queue.waiting - kDescriptors);
    queue.waiting = kDescriptors;
  }
  const size_t wanted = std::min<size_t>(arrivals.size(), queue.waiting);
  if (wanted == 0) return 0;
  const size_t count = loop_->Arrive(port, arrivals.first(wanted));
  queue.waiting -= count;
  return count;
}

std::vector<uint32_t> ZipfOrder(uint32_t flows, size_t length, uint64_t seed) {
  std::vector<double> sums(flows);
  double sum = 0;
  for (uint32_t i = 0; i < flows; ++i) sums[i] = sum += 1.0 / (i + 1.0);
  net::Rng random(seed);
  std::vector<uint32_t> order(length);
  for (uint32_t& flow : order) {
    const double wanted = static_cast<double>(random.Next() >> 11) * 0x1p-53 * sum;
    const auto found = std::upper_bound(sums.begin(), sums.end(), wanted);
    flow = static_cast<uint32_t>(
        std::min<size_t>(static_cast<size_t>(found - sums.begin()), flows - size_t{1}));
  }
  return order;
}

}  // namespace postern::perf
