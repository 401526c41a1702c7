// `conntrack -E`: what happens to the connections, told to any number of listeners.
//
// A worker writes records into its ring only while somebody listens; the daemon drains the rings
// and gives them to the hub, which hands each to every listener. A listener formats what its
// filter lets through into a buffer of bounded size; what has no room there, or had none in a ring,
// is lost, and the listener is told so as the original tells of ENOBUFS.
//
// Threads: the control thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "control/command.h"
#include "control/conntrack_options.h"
#include "dataplane/pipeline/io.h"

namespace postern::control {

class ConntrackListener {
 public:
  virtual ~ConntrackListener() = default;
  virtual void OnEvent(const pipeline::ConnRecord& record) = 0;
  virtual void OnLost() = 0;
};

class ConntrackHub {
 public:
  static constexpr size_t kMaxListeners = 64;

  // `wants` is told whether anybody listens.
  explicit ConntrackHub(std::function<void(bool)> wants) : wants_(std::move(wants)) {}

  // False when there are too many.
  bool Add(ConntrackListener* listener);
  void Remove(ConntrackListener* listener);

  void Publish(const pipeline::ConnRecord& record);
  // How many records have found no room in the rings since the start.
  void NoteLost(uint64_t total);

  // The client `reporter` (its process) is about to change connections.
  void NameReporter(uint32_t reporter, const std::string& program);
  // What the original adds to an event that a client has caused.
  std::string ReporterText(uint32_t reporter) const;

 private:
  std::function<void(bool)> wants_;
  std::vector<ConntrackListener*> listeners_;
  uint64_t lost_ = 0;
  std::map<uint32_t, std::string> reporters_;  // those of late
};

// `wall_clock`: the time of day of a worker's clock, in nanoseconds since 1970. Both outlive it.
std::unique_ptr<Command> MakeEventCommand(const CommandIo& io, ConntrackOptions options,
                                          ConntrackHub* hub,
                                          std::function<int64_t(net::Time)> wall_clock);

}  // namespace postern::control
