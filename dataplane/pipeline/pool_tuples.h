// What nat's map of translated sources reads of the connections.
#pragma once

#include "ctrack/pool.h"
#include "nat/source_map.h"

namespace postern::pipeline {

class PoolTuples final : public nat::SourceMap::Connections {
 public:
  explicit PoolTuples(ctrack::ConnectionPool* pool) : pool_(pool) {}
  const net::Tuple& Original(uint32_t slot) const override { return pool_->At(slot)->original(); }
  const net::Tuple& Reply(uint32_t slot) const override { return pool_->At(slot)->reply(); }
  bool OriginalKey(uint32_t slot, net::Ipv4Key* key) const override {
    const ctrack::Connection& connection = pool_->slots()[slot];
    if (connection.HasKeys()) *key = connection.Key(net::Direction::kOriginal);
    return connection.HasKeys();
  }

 private:
  ctrack::ConnectionPool* pool_;
};

}  // namespace postern::pipeline
