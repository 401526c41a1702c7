// libFuzzer: fragments, ARP and neighbour messages, on memory that ends with the frame.
//
// The input is cut into frames. Each has a head of four bytes: how many milliseconds pass before
// it, its length (two bytes) and what is mended before parsing, because chance doesn't find
// checksums: bit 0 the IPv4 header's, bit 1 the transport's; bit 2: it comes as a copy. Buffers are
// counted: whatever happens, none may be lost or freed twice.
#include <cstdlib>
#include <cstring>
#include <optional>

#include "dataplane/net/checksum.h"
#include "dataplane/net/parse.h"
#include "dataplane/route/fragment.h"
#include "dataplane/route/neighbor_table.h"
#include "dataplane/route/route_table.h"
#include "tests/support/heap_pool.h"

namespace {

using namespace postern;

void Require(bool holds) {
  if (!holds) std::abort();
}

class World final : public route::FragmentSink,
                    public route::NeighborSink,
                    public route::FragmentEmitter {
 public:
  explicit World(net::BufferPool* pool) : pool_(pool) {}
  void Drop(net::Packet* packet, net::DropReason) override { pool_->Free(packet); }
  void TimedOut(net::Packet* first) override { pool_->Free(first); }
  void SendFrame(net::Packet* packet) override { pool_->Free(packet); }
  void Unresolved(net::Packet* packet) override { pool_->Free(packet); }
  void Emit(net::Packet* fragment) override {
    Require(fragment->ip.l3_length <= 1280);
    pool_->Free(fragment);
  }

 private:
  net::BufferPool* pool_;
};

route::RouteTable Routes() {
  route::PortConfig port;
  port.mac = {{2, 0, 0, 0, 0, 2}};
  port.addresses = {*net::ParsePrefix("192.0.2.1/24"), *net::ParsePrefix("2001:db8::1/64")};
  return {{port}, {}, route::MakeTrieFib(), 1};
}

// The neighbour and reassembly settings are small, so that limits are reached.
struct Machine {
  Machine() : world(&pool), routes(Routes()) {
    route::NeighborSettings neighbor;
    neighbor.capacity = 8;
    neighbor.queued_total = 8;
    table.emplace(neighbor, &pool, &world, 1);
    table->Configure(&routes, {});
    route::ReassemblySettings reassembly;
    reassembly.max_datagrams = 8;
    reassembly.max_bytes = 65536;
    reassembler.emplace(reassembly, &pool, &world);
  }

  test::HeapPool pool;
  World world;
  route::RouteTable routes;
  std::optional<route::NeighborTable> table;
  std::optional<route::Reassembler> reassembler;
  net::Time now = net::kSecond;
};

void MendIpv4(net::Packet* packet) {
  auto* header = packet->At<net::Ipv4Header>(sizeof(net::EthernetHeader));
  if (header == nullptr || header->Version() != 4) return;
  if (sizeof(net::EthernetHeader) + header->HeaderLength() > packet->length) return;
  if (header->HeaderLength() < sizeof(net::Ipv4Header)) return;
  header->total_length = static_cast<uint16_t>(packet->length - sizeof(net::EthernetHeader));
  net::SetIpv4Checksum(header);
}

void Feed(Machine* machine, const uint8_t* bytes, uint32_t length, uint8_t mend) {
  net::Packet packet;
  Require(machine->pool.Allocate(length, &packet));
  std::memcpy(packet.data, bytes, length);
  packet.in_port = 0;
  packet.out_port = 0;
  if ((mend & 1) != 0) MendIpv4(&packet);
  const net::ParseResult parsed = net::Parse(&packet);
  const bool copy = (mend & 4) != 0;
  if (parsed.kind == net::FrameKind::kArp) {
    machine->table->HandleArp(&packet, machine->now, copy);
    return;
  }
  if (parsed.kind == net::FrameKind::kInvalid) {
    machine->pool.Free(&packet);
    return;
  }
  if ((mend & 2) != 0) net::SetTransportChecksum(&packet);
  if (packet.ip.fragment) {
    if (!machine->reassembler->Add(&packet, machine->now)) return;
    Require(!packet.ip.fragment && packet.largest_fragment != 0);
    Require(packet.ip.l3_offset + packet.ip.l3_length == packet.length);
    if (packet.ip.l3_length > 1280) {
      if (!route::Fragment(&machine->pool, &packet, 1280, 1, &machine->world)) {
        machine->pool.Free(&packet);
      }
      return;
    }
  }
  machine->table->HandleNd(packet, machine->now, copy);
  machine->table->Send(&packet, packet.ip.family, packet.ip.destination, machine->now);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Machine machine;
  while (size >= 4) {
    machine.now += uint64_t{data[0]} * 64 * net::kMillisecond;
    machine.table->Tick(machine.now);
    machine.reassembler->Tick(machine.now);
    const auto wanted = static_cast<size_t>((data[1] << 8 | data[2]) & 0x0fff);
    const uint8_t mend = data[3];
    data += 4;
    size -= 4;
    const size_t length = wanted < size ? wanted : size;
    Feed(&machine, data, static_cast<uint32_t>(length), mend);
    data += length;
    size -= length;
  }
  machine.table.reset();
  machine.reassembler.reset();
  Require(machine.pool.lent() == 0 && machine.pool.bad_frees() == 0);
  return 0;
}
