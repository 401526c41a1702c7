// Rewriting packets: addresses, ports, ids and every checksum over them
// (nf_nat_proto.c).
#pragma once

#include "dataplane/net/nat_range.h"
#include "dataplane/net/packet.h"
#include "dataplane/net/tuple.h"

namespace postern::nat {

// Makes the packet's source (or destination) that of `target`, whose direction is the packet's
// own; packet->ip follows. Checksums by RFC 1624; a UDP checksum of zero stays zero, one that
// becomes zero is sent as 0xffff; SCTP's CRC is computed anew. Later fragments get addresses only.
// False and nothing written when the transport header is too short to rewrite.
bool Rewrite(net::Packet* packet, net::Manip manip, const net::Tuple& target);

// nf_nat_icmp_reply_translation for one manip: the quoted packet of an ICMP error is the
// reverse of the error's own direction, so where the error's source (destination) is changed,
// the quoted destination (source) is. `target` is the tuple for the outer header;
// the quoted header becomes its mirror's half. All checksums are mended, the quoted transport
// checksum where it is quoted. False, and the packet must be dropped: fewer than 8 bytes of
// transport are quoted, the error's own checksum is wrong, or it is a redirect.
bool RewriteIcmpError(net::Packet* packet, net::Manip manip, const net::Tuple& target);

}  // namespace postern::nat
