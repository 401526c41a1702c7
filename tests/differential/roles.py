"""What NAT chose on each side, and packets with the other side's choice in its place.

A choice is a port, an ICMP id or, of a range of several, an address. It stands in a packet's own headers and in
those of the packets that it quotes, quotes of quotes among them, as far as they go; the checksums follow. A packet
that answers what came out before brings such choices along where nobody reads them: in a piece of a fragment that is
quoted, in a checksum whose data is cut off. What goes through as it was sent is the same on both sides, too.
"""

import collections
import struct

import wire

# {(Postern's, the kernel's)} of each; addresses are packed.
Choices = collections.namedtuple("Choices", "ports addresses")

SCTP_SUM = 8


def layers(packet):
    """[(offset, wire.Parsed)]: the packet, the one that it quotes, what that one quotes ..."""
    base, parsed = 0, wire.Parsed(packet)
    found = [(base, parsed)]
    while parsed.quoted_at():
        base += parsed.quoted_at()
        parsed = wire.Parsed(packet[base:])
        if not parsed.ok:
            break
        found.append((base, parsed))
    return found


def port_places(parsed):
    """As Parsed.port_places, and also where no more than one port is left of a quoted packet."""
    if parsed.ok and not parsed.offset and parsed.proto in (wire.TCP, wire.UDP, wire.UDPLITE, wire.SCTP):
        return [at for at in (parsed.l4, parsed.l4 + 2) if len(parsed.l3) >= at + 2]
    return parsed.port_places()


def address_places(parsed):
    """[(offset, size)] of source and destination."""
    if not parsed.ok:
        return []
    return [(12, 4), (16, 4)] if parsed.version == 4 else [(8, 16), (24, 16)]


def differing_ports(ours, theirs):
    """{(Postern's, the kernel's)} of two parsed packets."""
    places = port_places(ours)
    if places != port_places(theirs):
        return set()
    pairs = {tuple(struct.unpack_from("!H", p.l3, at)[0] for p in (ours, theirs)) for at in places}
    return {(mine, other) for mine, other in pairs if mine != other}


def differing_addresses(ours, theirs):
    """The same for addresses."""
    if ours.version != theirs.version:
        return set()
    pairs = {tuple(p.l3[at:at + size] for p in (ours, theirs)) for at, size in address_places(ours)}
    return {(mine, other) for mine, other in pairs if mine != other}


class Rewriter:
    """A packet to write other words into, its checksums following."""

    def __init__(self, packet):
        self.data = bytearray(packet)
        self.layers = layers(packet)
        # A layer's transport checksum, or None: quoted packets end early, and UDP may go without.
        self.sums = [self._sum_of(base, parsed) for base, parsed in self.layers]

    def _sum_of(self, base, parsed):
        place = parsed.sum_place()
        if parsed.proto == wire.UDPLITE and not parsed.offset and len(parsed.l3) >= parsed.l4 + 8:
            place = parsed.l4 + 6
        if place is None or (parsed.proto == wire.UDP and parsed.l3[place:place + 2] == b"\0\0"):
            return None
        return base + place

    def put_port(self, depth, at, value):
        """`at`: in the layer."""
        base, parsed = self.layers[depth]
        before = bytes(self.data[base + at:base + at + 2])
        self._put(base + at, value, [self.sums[depth]] + self._around(depth))
        if parsed.proto == wire.SCTP:
            self._follow_crc(depth, at, before)

    def put_address(self, depth, at, value):
        base, parsed = self.layers[depth]
        over_address = parsed.proto != wire.ICMP
        own = [base + 10] if parsed.version == 4 else []
        for step in range(0, len(value), 2):
            word = struct.unpack_from("!H", value, step)[0]
            # The pseudo header is in no header: its part of the transport's sum changes apart.
            if over_address and self.sums[depth] is not None:
                old = struct.unpack_from("!H", self.data, base + at + step)[0]
                self._adjust(self.sums[depth], old, word, self._around(depth))
            self._put(base + at + step, word, own + self._around(depth))

    def _around(self, depth):
        """The checksums over a layer, the innermost first."""
        return [place for place in reversed(self.sums[:depth]) if place is not None]

    def _put(self, at, value, sums):
        old = struct.unpack_from("!H", self.data, at)[0]
        struct.pack_into("!H", self.data, at, value)
        changes = [(old, value)]
        for place in sums:
            if place is None or place == at:
                continue
            before = after = struct.unpack_from("!H", self.data, place)[0]
            for was, now in changes:
                after = _updated(after, was, now)
            struct.pack_into("!H", self.data, place, after)
            changes.append((before, after))  # an inner sum is data of the outer ones

    def _adjust(self, place, old, new, around):
        """A checksum for a word that it sums and that isn't in the packet."""
        before = struct.unpack_from("!H", self.data, place)[0]
        self._put(place, _updated(before, old, new), around)

    def _follow_crc(self, depth, at, before):
        """SCTP's CRC, which is linear: what the port changes of it depends on the length alone. A quoted
        packet's was computed over all of it or, where it has been translated, over what is quoted."""
        base, parsed = self.layers[depth]
        place = base + parsed.l4 + SCTP_SUM
        after = bytes(self.data[base + at:base + at + 2])
        whole = parsed.payload
        if len(whole) < SCTP_SUM + 4:
            return
        quoted_only = wire.sctp_checksum(whole) == whole[SCTP_SUM:SCTP_SUM + 4]
        length = len(whole) if quoted_only else parsed.end - parsed.l4
        changed = bytes(at - parsed.l4) + _xor(before, after)
        change = _xor(wire.sctp_checksum(changed.ljust(length, b"\0")), wire.sctp_checksum(bytes(length)))
        crc = _xor(self.data[place:place + 4], change)
        for step in (0, 2):
            self._put(place + step, struct.unpack_from("!H", crc, step)[0], self._around(depth))


def _xor(first, second):
    return bytes(a ^ b for a, b in zip(first, second))


def _updated(checksum, old, new):
    total = (~checksum & 0xFFFF) + (~old & 0xFFFF) + new  # RFC 1624 equation 3
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def rewrite(packet, choices, other=None):
    """The packet with the kernel's choices for Postern's. `other`: only where this one, as long, has something
    else: what was chosen may be the same as what wasn't."""
    ports, addresses = dict(choices.ports), dict(choices.addresses)
    rewriter = Rewriter(packet)
    for depth, (base, parsed) in enumerate(rewriter.layers):
        for at in port_places(parsed):
            value = struct.unpack_from("!H", parsed.l3, at)[0]
            if value in ports and (other is None or other[base + at:base + at + 2] != parsed.l3[at:at + 2]):
                rewriter.put_port(depth, at, ports[value])
        for at, size in address_places(parsed):
            value = parsed.l3[at:at + size]
            if value in addresses and (other is None or other[base + at:base + at + size] != value):
                rewriter.put_address(depth, at, addresses[value])
    return bytes(rewriter.data)


def align(ours, theirs, choices, our_sent=b"", their_sent=b""):
    """Postern's packet with the kernel's choices where both chose, and what the kernel was sent where each side lets
    through what it was sent."""
    if ours == theirs or len(ours) != len(theirs):
        return ours
    pairs = list(zip(layers(ours), layers(theirs)))
    ports = set().union(*(differing_ports(a, b) for (_, a), (_, b) in pairs))
    addresses = set().union(*(differing_addresses(a, b) for (_, a), (_, b) in pairs))
    aligned = rewrite(ours, Choices(ports & choices.ports, addresses & choices.addresses), theirs)
    if aligned == theirs or our_sent == their_sent:
        return aligned
    return _as_sent(aligned, ours, theirs, our_sent, their_sent)


def _as_sent(aligned, ours, theirs, our_sent, their_sent):
    """`aligned` with `theirs` where each of the two is what that side was sent: at the same place, or in the quote of
    an error about it. Checksums for which that isn't so follow."""
    changed = bytearray(aligned)
    found = layers(ours)

    def passed(at):
        return any(ours[at:at + 2] == our_sent[at - base:at - base + 2] and
                   theirs[at:at + 2] == their_sent[at - base:at - base + 2]
                   for base, _ in found if at >= base)

    changes = []
    for at in range(0, len(ours), 2):
        if changed[at:at + 2] != theirs[at:at + 2] and passed(at):
            changes.append((at, _word(changed, at), _word(theirs, at)))
            changed[at:at + 2] = theirs[at:at + 2]
    places = {at for at, _, _ in changes}
    for (base, parsed), place in zip(reversed(found), reversed(Rewriter(ours).sums)):
        if place is None or place in places:
            continue
        before = after = _word(changed, place)
        for at, was, now in changes:
            if at >= base + parsed.l4:
                after = _updated(after, was, now)
        struct.pack_into("!H", changed, place, after)
        changes.append((place, before, after))
    return bytes(changed)


def _word(data, at):
    """The 16 bits that a checksum sums there."""
    return int.from_bytes(bytes(data[at:at + 2]).ljust(2, b"\0"), "big")
