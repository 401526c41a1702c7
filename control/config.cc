#include "control/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "control/config_network.h"
#include "control/config_reader.h"
#include "control/file.h"
#include "control/suggest.h"

namespace postern::control {
namespace {

using libconfig::Setting;

constexpr uint64_t kMaxCpu = 1023;
constexpr size_t kMaxWorkers = 64;      // OwnerMap
constexpr size_t kMaxSocketPath = 107;  // sun_path without its NUL
constexpr std::string_view kConntrackPrefix = "net.netfilter.";

// Where relative paths of the configuration begin.
std::string Absolute(const std::string& config_file, const std::string& path) {
  if (path.empty() || path[0] == '/') return path;
  return (std::filesystem::path(config_file).parent_path() / path).string();
}

// A group that isn't there stands at the file's beginning.
ConfigPlace PlaceOf(const Setting* setting, GroupReader& root) {
  if (setting == nullptr) return {root.errors()->main_file(), 1};
  return {root.errors()->FileOf(*setting), static_cast<int>(setting->getSourceLine())};
}

void ReadSystem(GroupReader* root, Config* config) {
  const Setting* group = root->Group("system");
  GroupReader reader(group, "system", root->errors());
  config->system.place = PlaceOf(group, *root);
  SystemConfig& system = config->system;
  if (const Setting* s = reader.Text("control_socket", &system.control_socket); s != nullptr) {
    system.control_socket = Absolute(config->file, system.control_socket);
    if (system.control_socket.empty() || system.control_socket.size() > kMaxSocketPath) {
      reader.Error(*s, "control_socket",
                   fmt::format("must be a path of at most {} characters", kMaxSocketPath));
    }
  }
  if (const Setting* s = reader.Text("metrics", &system.metrics); s != nullptr) {
    if (!system.metrics.empty() && !IsListenAddress(system.metrics)) {
      reader.Error(
          *s, "metrics",
          fmt::format("\"{}\" isn't ADDRESS:PORT, as in \"127.0.0.1:9797\"", system.metrics));
    }
  }
  if (const Setting* s = reader.Text("state_dir", &system.state_dir); s != nullptr) {
    system.state_dir = Absolute(config->file, system.state_dir);
    if (system.state_dir.empty()) reader.Error(*s, "state_dir", "must not be empty");
  }
  reader.Finish();
}

void ReadDataplane(GroupReader* root, Config* config) {
  const Setting* group = root->Group("dataplane");
  GroupReader reader(group, "dataplane", root->errors());
  config->dataplane.place = PlaceOf(group, *root);
  DataplaneConfig& dataplane = config->dataplane;
  if (const Setting* s = reader.Numbers("workers", 0, kMaxCpu, &dataplane.workers); s != nullptr) {
    if (s->getLength() == 0) reader.Error(*s, "workers", "must have at least one CPU");
    if (static_cast<size_t>(s->getLength()) > kMaxWorkers) {
      reader.Error(*s, "workers", fmt::format("must have at most {} CPUs", kMaxWorkers));
    }
  }
  reader.Number("main_core", 0, kMaxCpu, &dataplane.main_core);
  reader.Boolean("hugepages", &dataplane.hugepages);
  reader.Number("memory_mb", 64, 1U << 20, &dataplane.memory_mb);
  reader.Number("mbufs", 1024, 1U << 24, &dataplane.mbufs);
  reader.Number("rx_descriptors", 32, 32768, &dataplane.rx_descriptors);
  reader.Number("tx_descriptors", 32, 32768, &dataplane.tx_descriptors);
  reader.Number("burst", 1, 64, &dataplane.burst);
  reader.Texts("eal_args", &dataplane.eal_args);
  std::string idle = "auto";
  reader.Choice("idle", {"auto", "poll", "sleep"}, &idle);
  dataplane.idle = idle == "poll"    ? IdleMode::kPoll
                   : idle == "sleep" ? IdleMode::kSleep
                                     : IdleMode::kAuto;
  reader.Finish();
}

void ReadSysctlFiles(GroupReader* root, Config* config) {
  const Setting* list = root->Texts("sysctl_files", &config->sysctl_files);
  if (list == nullptr) return;
  config->sysctl_files.clear();
  for (int i = 0; i < list->getLength(); ++i) {
    const Setting& element = (*list)[i];
    if (element.getType() != Setting::TypeString) continue;
    const std::string path = Absolute(config->file, element.c_str());
    config->sysctl_files.push_back(path);
    const auto text = ReadFile(path);
    if (!text) {
      root->Error(element, fmt::format("sysctl_files[{}]", i),
                  fmt::format("\"{}\" can't be read: {}", path, text.error()));
      continue;
    }
    std::vector<std::string> errors;
    ReadSysctlText(*text, path, &config->sysctls, &errors, &config->warnings);
    for (std::string& error : errors) root->errors()->AddLocated(std::move(error));
  }
}

void ReadHelpers(GroupReader* reader, Config* config) {
  const Setting* list = reader->Texts("helpers", &config->helpers);
  if (list == nullptr) return;
  constexpr auto kKernelHelpers = std::to_array<std::string_view>(
      {"amanda", "ftp", "h323", "irc", "netbios-ns", "pptp", "sane", "sip", "snmp", "tftp"});
  for (int i = 0; i < list->getLength(); ++i) {
    const Setting& element = (*list)[i];
    if (element.getType() != Setting::TypeString) continue;
    const std::string_view name = element.c_str();
    const bool known =
        std::find(kKernelHelpers.begin(), kKernelHelpers.end(), name) != kKernelHelpers.end();
    reader->Error(
        element, fmt::format("helpers[{}]", i),
        known ? fmt::format("\"{}\" isn't supported yet", name)
              : fmt::format("\"{}\" isn't a helper{}", name, Suggestion(name, kKernelHelpers)));
  }
}

// A value of the conntrack group: a number, or true and false for a switch.
std::optional<std::string> ConntrackValue(const Setting& setting) {
  if (const auto number = WholeNumber(setting)) return fmt::format("{}", *number);
  if (setting.getType() != Setting::TypeBoolean) return std::nullopt;
  return static_cast<bool>(setting) ? "1" : "0";
}

void ReadConntrack(GroupReader* root, Config* config) {
  GroupReader reader(root->Group("conntrack"), "conntrack", root->errors());
  ReadHelpers(&reader, config);
  for (const SysctlName& name : SysctlNames()) {
    if (!name.name.starts_with(kConntrackPrefix)) continue;
    const std::string key(name.name.substr(kConntrackPrefix.size()));
    const Setting* setting = reader.Find(key);
    if (setting == nullptr) continue;
    const auto value = ConntrackValue(*setting);
    if (!value) {
      reader.Error(*setting, key,
                   fmt::format("must be a whole number, not {}", TypeName(*setting)));
    } else if (!SetSysctl(name, *value, &config->sysctls)) {
      reader.Error(
          *setting, key,
          fmt::format("must be from {} to {}, not {}", name.minimum, name.maximum, *value));
    }
  }
  for (int i = 0; reader.present() && i < reader.setting()->getLength(); ++i) {
    const Setting& child = (*reader.setting())[i];
    const std::string name = fmt::format("{}{}", kConntrackPrefix, child.getName());
    if (FindSysctl(name) != nullptr || !IsUnsupportedSysctl(name)) continue;
    reader.Find(child.getName());
    reader.Error(child, child.getName(), "isn't supported yet");
  }
  reader.Finish();
}

void ReadNat(GroupReader* root, Config* config) {
  GroupReader reader(root->Group("nat"), "nat", root->errors());
  std::string preservation = "owner";
  reader.Choice("port_preservation", {"owner", "strict"}, &preservation);
  config->nat.strict_port_preservation = preservation == "strict";
  reader.Finish();
}

void ReadRuleFile(GroupReader* reader, std::string_view key, const Config& config, RuleFile* file) {
  const Setting* setting = reader->Text(key, &file->path);
  if (setting == nullptr) return;
  file->place = {reader->errors()->FileOf(*setting), static_cast<int>(setting->getSourceLine())};
  if (file->path.empty()) {
    reader->Error(*setting, key, "must be the path of a file");
    return;
  }
  file->path = Absolute(config.file, file->path);
}

bool HasSets(const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find_first_not_of(" \t\r");
    if (first != std::string::npos && line[first] != '#') return true;
  }
  return false;
}

void ReadRules(GroupReader* root, Config* config) {
  const Setting* group = root->Group("rules");
  if (group == nullptr) {
    root->Missing("rules", "name the rule files, as in { ipv4 = \"rules.v4\"; }");
    return;
  }
  GroupReader reader(group, "rules", root->errors());
  ReadRuleFile(&reader, "ipv4", *config, &config->rules.ipv4);
  ReadRuleFile(&reader, "ipv6", *config, &config->rules.ipv6);
  ReadRuleFile(&reader, "ipset", *config, &config->rules.ipset);
  if (!config->rules.ipset.path.empty()) {
    const auto text = ReadFile(config->rules.ipset.path);
    if (!text) {
      root->errors()->Add(config->rules.ipset.place.file, config->rules.ipset.place.line,
                          fmt::format("the file of sets \"{}\" can't be read: {}",
                                      config->rules.ipset.path, text.error()));
    } else if (HasSets(*text)) {
      root->errors()->Add(config->rules.ipset.place.file, config->rules.ipset.place.line,
                          "rules.ipset isn't supported yet");
    }
  }
  reader.Finish();
}

void ReadLog(GroupReader* root, Config* config) {
  GroupReader reader(root->Group("log"), "log", root->errors());
  if (const Setting* s = reader.Text("rules_file", &config->log.rules_file); s != nullptr) {
    if (config->log.rules_file.empty()) reader.Error(*s, "rules_file", "must be a file's path");
    config->log.rules_file = Absolute(config->file, config->log.rules_file);
  }
  reader.Choice("facility",
                {"daemon", "user", "local0", "local1", "local2", "local3", "local4", "local5",
                 "local6", "local7"},
                &config->log.facility);
  if (const Setting* s = reader.Text("identifier", &config->log.identifier); s != nullptr) {
    if (config->log.identifier.empty()) reader.Error(*s, "identifier", "must not be empty");
  }
  reader.Finish();
}

std::optional<Config> ReadConfig(const libconfig::Config& parsed, const std::string& file,
                                 std::vector<std::string>* errors) {
  ConfigErrors collected(file);
  Config config;
  config.file = file;
  GroupReader root(&parsed.getRoot(), "", &collected);
  ReadSystem(&root, &config);
  ReadDataplane(&root, &config);
  ReadNetwork(&root, &config);
  ReadSysctlFiles(&root, &config);
  ReadConntrack(&root, &config);  // after the files: the configuration's own word is the last
  ReadNat(&root, &config);
  ReadRules(&root, &config);
  ReadLog(&root, &config);
  root.Finish();
  if (collected.empty()) return config;
  const std::vector<std::string> sorted = collected.Sorted();
  errors->insert(errors->end(), sorted.begin(), sorted.end());
  return std::nullopt;
}

// Lets libconfig parse, and turns its exceptions into an error line.
template <typename Parse>
std::optional<Config> Guarded(const std::string& file, std::vector<std::string>* errors,
                              Parse parse) {
  libconfig::Config parsed;
  try {
    const std::string folder = std::filesystem::path(file).parent_path().string();
    parsed.setIncludeDir(folder.empty() ? "." : folder.c_str());
    parse(&parsed);
  } catch (const libconfig::ParseException& e) {
    const char* where = e.getFile();
    errors->push_back(
        fmt::format("{}:{}: {}", where == nullptr ? file : where, e.getLine(), e.getError()));
    return std::nullopt;
  } catch (const libconfig::FileIOException&) {
    errors->push_back(fmt::format("{}:1: can't be read: {}", file,
                                  errno == 0 ? "input/output error" : std::strerror(errno)));
    return std::nullopt;
  }
  return ReadConfig(parsed, file, errors);
}

}  // namespace

bool DataplaneConfig::SameAs(const DataplaneConfig& o) const {
  return workers == o.workers && main_core == o.main_core && hugepages == o.hugepages &&
         memory_mb == o.memory_mb && mbufs == o.mbufs && rx_descriptors == o.rx_descriptors &&
         tx_descriptors == o.tx_descriptors && burst == o.burst && eal_args == o.eal_args &&
         idle == o.idle;
}

std::vector<std::string> Config::PortNames() const {
  std::vector<std::string> names;
  for (const PortSettings& port : ports) names.push_back(port.name);
  return names;
}

std::optional<Config> LoadConfig(const std::string& file, std::vector<std::string>* errors) {
  return Guarded(file, errors, [&](libconfig::Config* parsed) {
    errno = std::filesystem::is_directory(file) ? EISDIR : 0;
    if (errno != 0) throw libconfig::FileIOException();
    parsed->readFile(file.c_str());
  });
}

std::optional<Config> ParseConfig(const std::string& text, const std::string& file,
                                  std::vector<std::string>* errors) {
  return Guarded(file, errors,
                 [&](libconfig::Config* parsed) { parsed->readString(text.c_str()); });
}

bool IsListenAddress(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return false;
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  unsigned number = 0;
  const auto [end, code] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (port.empty() || code != std::errc() || end != port.data() + port.size() || number > 65535) {
    return false;
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host == "localhost") return true;
  return net::ParseAddress(net::Family::kIpv4, host).has_value() ||
         (text.starts_with('[') && net::ParseAddress(net::Family::kIpv6, host).has_value());
}

}  // namespace postern::control
