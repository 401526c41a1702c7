#include "control/iptables/host_names.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/stat.h>

#include <array>
#include <cctype>
#include <fstream>
#include <sstream>

namespace postern::control::iptables {
namespace {

using net::Family;
using net::IpAddress;

constexpr std::array kFiles = {"/etc/hosts", "/etc/networks"};

// Changes when a file does.
using Stamp = std::array<int64_t, kFiles.size() * 5>;
Stamp StampOfFiles() {
  Stamp stamp{};
  auto* to = stamp.data();
  for (const char* file : kFiles) {
    struct stat status {};
    if (stat(file, &status) != 0) status = {};
    for (const int64_t part :
         {static_cast<int64_t>(status.st_dev), static_cast<int64_t>(status.st_ino),
          static_cast<int64_t>(status.st_size), static_cast<int64_t>(status.st_mtim.tv_sec),
          static_cast<int64_t>(status.st_mtim.tv_nsec)}) {
      *to++ = part;
    }
  }
  return stamp;
}

std::string SmallLetters(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

const HostNames& HostNames::Get() {
  static HostNames names;
  static Stamp read{};
  if (const Stamp now = StampOfFiles(); now != read) {
    names = Read();
    read = now;
  }
  return names;
}

HostNames HostNames::Read() {
  HostNames names;
  std::ifstream hosts(kFiles[0]);
  for (std::string line; std::getline(hosts, line);) names.AddLine(line);
  setnetent(0);
  while (const netent* entry = getnetent()) {
    if (entry->n_addrtype != AF_INET) continue;
    const uint32_t wire = htonl(entry->n_net);
    const IpAddress address = IpAddress::FromWire(Family::kIpv4, &wire);
    names.networks_.try_emplace(SmallLetters(entry->n_name), address);
    for (char** alias = entry->n_aliases; *alias != nullptr; ++alias) {
      names.networks_.try_emplace(SmallLetters(*alias), address);
    }
    names.ipv4_.names.try_emplace(net::ToString(Family::kIpv4, address), entry->n_name);
  }
  endnetent();
  return names;
}

void HostNames::AddLine(const std::string& line) {
  std::istringstream words(line.substr(0, line.find('#')));
  std::string address;
  words >> address;
  std::vector<std::string> names;
  for (std::string word; words >> word;) names.push_back(word);
  if (names.empty()) return;
  AddHost(Family::kIpv4, address, names);
  AddHost(Family::kIpv6, address, names);
  // So does the C library, even if the host has that address already.
  if (address == "::1") AddHost(Family::kIpv4, "127.0.0.1", names);
}

void HostNames::AddHost(Family family, const std::string& address,
                        const std::vector<std::string>& names) {
  std::array<uint8_t, sizeof(in6_addr)> wire{};
  const int af = family == Family::kIpv4 ? AF_INET : AF_INET6;
  if (inet_pton(af, address.c_str(), wire.data()) != 1) return;
  const IpAddress parsed = IpAddress::FromWire(family, wire.data());
  OfFamily& of = family == Family::kIpv4 ? ipv4_ : ipv6_;
  of.names.try_emplace(net::ToString(family, parsed), names.front());
  for (const std::string& name : names) of.addresses[SmallLetters(name)].push_back(parsed);
}

const HostNames::OfFamily& HostNames::Of(Family family) const {
  return family == Family::kIpv4 ? ipv4_ : ipv6_;
}

std::vector<IpAddress> HostNames::Addresses(Family family, const std::string& host) const {
  const auto found = Of(family).addresses.find(SmallLetters(host));
  return found == Of(family).addresses.end() ? std::vector<IpAddress>{} : found->second;
}

std::optional<IpAddress> HostNames::Network(const std::string& name) const {
  const auto found = networks_.find(SmallLetters(name));
  return found == networks_.end() ? std::nullopt : std::optional(found->second);
}

std::string HostNames::Name(Family family, const IpAddress& address) const {
  const auto found = Of(family).names.find(net::ToString(family, address));
  return found == Of(family).names.end() ? "" : found->second;
}

}  // namespace postern::control::iptables
