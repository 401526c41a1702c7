// The part of Tracker that does what the operator asks: ctnetlink_create_conntrack and
// ctnetlink_change_conntrack.
#include <algorithm>

#include "ctrack/tcp_tracking.h"
#include "ctrack/tracker.h"

namespace postern::ctrack {

namespace {

Time DurationOf(uint32_t timeout) { return std::min(timeout, kMostTimeout) * net::kSecond; }

}  // namespace

Connection* Tracker::Begin(const ConnectionRequest& request, Time now, RequestOutcome* outcome) {
  *outcome = RequestOutcome::kExists;
  if (TupleTaken(request.original, nullptr, now) || TupleTaken(request.reply, nullptr, now)) {
    return nullptr;
  }
  bool full = false;
  Connection* connection = Create(request.original, now, &full);
  *outcome = RequestOutcome::kFull;
  if (connection == nullptr) return nullptr;
  AlterReply(connection, request.reply);
  connection->expires = DurationOf(request.timeout.value_or(0));
  connection->mark = request.mark.value_or(0);
  if (request.tcp_state) ChangeTcp(connection, *request.tcp_state);
  if (request.sctp) connection->protocol.sctp = *request.sctp;
  *outcome = ChangeStatus(connection, request.status.value_or(0));
  if (*outcome == RequestOutcome::kDone) return connection;
  FreeUnconfirmed(connection);
  return nullptr;
}

RequestOutcome Tracker::Change(Connection* connection, const ConnectionRequest& request, Time now) {
  if (request.timeout) {
    if (connection->Has(kFixedTimeout)) return RequestOutcome::kNotPermitted;
    connection->expires = now + DurationOf(*request.timeout);
  }
  if (request.status) {
    const RequestOutcome outcome = ChangeStatus(connection, *request.status);
    if (outcome != RequestOutcome::kDone) return outcome;
  }
  if (request.tcp_state) ChangeTcp(connection, *request.tcp_state);
  if (request.mark) connection->mark = *request.mark;
  observer_->OnConnection(ConnEvent::kUpdate,
                          kChangeReply | kChangeAssured | kChangeProtoInfo | kChangeMark,
                          *connection, now);
  if (request.tcp_state && IsClosing(*request.tcp_state)) observer_->OnClosed(*connection);
  return RequestOutcome::kDone;
}

// nf_ct_change_status_common: what conntrack and NAT decide for themselves is left out or refused.
RequestOutcome Tracker::ChangeStatus(Connection* connection, uint32_t status) {
  constexpr uint32_t kOperators = kSeenReply | kAssured | kFixedTimeout;
  if (((status ^ connection->status) & kExpected) != 0) return RequestOutcome::kBusy;
  connection->status |= status & kOperators;
  return RequestOutcome::kDone;
}

// The command asks for no window checks on what it makes, because nobody knows the windows
// (libct_proto_tcp's flags).
void Tracker::ChangeTcp(Connection* connection, TcpState state) {
  TcpTracking& tcp = connection->protocol.tcp;
  tcp.state = state;
  uint8_t flags = kTcpPeerBeLiberal | kTcpPeerSackPermitted;
  if (state >= TcpState::kTimeWait) flags |= kTcpPeerCloseInit;
  for (TcpPeer& peer : tcp.peer) peer.flags |= flags;
}

}  // namespace postern::ctrack
