#include "control/iptables/merge.h"

#include <algorithm>

namespace postern::control::iptables {
namespace {

using net::PortRange;
using rules::TcpMatch;
using rules::UdpMatch;

bool HasFlags(const TcpMatch& tcp) { return tcp.flag_mask != 0 || tcp.invert_flags; }

template <typename T>
bool HasPorts(const T& match) {
  return !match.source.IsAll() || !match.destination.IsAll();
}

// Those that the original stores in parts; with a TCP option, or with nothing, it is the whole
// struct.
bool IsStoredInParts(const TcpMatch& tcp) {
  return tcp.option == 0 && !tcp.invert_option && (HasPorts(tcp) || HasFlags(tcp));
}
bool IsStoredInParts(const UdpMatch& udp) { return HasPorts(udp); }

bool Clash(const PortRange& a, const PortRange& b) { return !a.IsAll() && !b.IsAll(); }

template <typename T>
bool MergePorts(const T& later, T* earlier) {
  if (Clash(later.source, earlier->source) || Clash(later.destination, earlier->destination)) {
    return false;
  }
  if (!later.source.IsAll()) {
    earlier->source = later.source;
    earlier->invert_source = later.invert_source;
  }
  if (!later.destination.IsAll()) {
    earlier->destination = later.destination;
    earlier->invert_destination = later.invert_destination;
  }
  return true;
}

bool Merge(const UdpMatch& later, UdpMatch* earlier) { return MergePorts(later, earlier); }

bool Merge(const TcpMatch& later, TcpMatch* earlier) {
  if (HasFlags(later) && HasFlags(*earlier)) return false;
  if (!MergePorts(later, earlier)) return false;
  if (!HasFlags(later)) return true;
  earlier->flag_mask = later.flag_mask;
  earlier->flag_compare = later.flag_compare;
  earlier->invert_flags = later.invert_flags;
  return true;
}

template <typename T>
void MergeAll(std::vector<rules::Match>* matches) {
  T* first = nullptr;
  std::erase_if(*matches, [&first](rules::Match& match) {
    T* const mine = std::get_if<T>(&match);
    if (mine == nullptr || !IsStoredInParts(*mine)) return false;
    if (first != nullptr) return Merge(*mine, first);
    first = mine;
    return false;
  });
}

}  // namespace

void MergePortMatches(std::vector<rules::Match>* matches) {
  MergeAll<TcpMatch>(matches);
  MergeAll<UdpMatch>(matches);
}

}  // namespace postern::control::iptables
