"""Frames: built from a few words, told as one line of text.

Byte code of our own and not scapy, because a run builds and reads hundreds of thousands of them;
scapy stays available to cases for what isn't here. Everything is bytes of a network packet ("l3")
or of an Ethernet frame ("frame").
"""

import ipaddress
import struct
import zlib

ICMP, TCP, UDP, ICMP6, SCTP, UDPLITE = 1, 6, 17, 58, 132, 136
ICMP_ERRORS = (3, 4, 5, 11, 12)
TCP_FLAGS = "FSRPAUEC"
EXTENSIONS = (0, 43, 60)  # hop-by-hop, routing, destination options


# --- checksums ---------------------------------------------------------------------------------

def ones_sum(data):
    if len(data) & 1:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def checksum(data):
    return ~ones_sum(data) & 0xFFFF


def pseudo(src, dst, proto, length):
    if len(src) == 4:
        return src + dst + struct.pack("!BBH", 0, proto, length)
    return src + dst + struct.pack("!IHBB", length, 0, 0, proto)


def _crc32c_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


CRC32C = _crc32c_table()


def sctp_checksum(data):
    """RFC 9260 appendix A, of a packet whose checksum counts as zero; the header's 4 bytes."""
    crc = 0xFFFFFFFF
    for byte in data[:8] + bytes(4) + data[12:]:
        crc = crc >> 8 ^ CRC32C[(crc ^ byte) & 0xFF]
    return struct.pack("<I", crc ^ 0xFFFFFFFF)


# --- building ----------------------------------------------------------------------------------

def address(text):
    return ipaddress.ip_address(text).packed


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def ip(src, dst, proto, payload, ttl=64, id=1, tos=0, df=False, mf=False, offset=0, options=b"",
       flow=0, sum=None, length=None, version=None, ihl=None):
    """An IPv4 or IPv6 packet, as the addresses say. `offset` in bytes, IPv4 only; `sum`, `length`,
    `version` and `ihl` falsify the header."""
    src, dst = address(src), address(dst)
    if len(src) == 16:
        return struct.pack("!IHBB", (version or 6) << 28 | tos << 20 | flow,
                           len(payload) if length is None else length, proto, ttl
                           ) + src + dst + payload
    words = 5 + (len(options) + 3) // 4
    header = struct.pack(
        "!BBHHHBBH", (version or 4) << 4 | (words if ihl is None else ihl), tos,
        words * 4 + len(payload) if length is None else length, id,
        (0x4000 if df else 0) | (0x2000 if mf else 0) | offset // 8, ttl, proto, 0
    ) + src + dst + options.ljust(words * 4 - 20, b"\0")
    value = checksum(header) if sum is None else sum
    return header[:10] + struct.pack("!H", value) + header[12:] + payload


def tcp_options(options):
    out = b""
    for kind, *values in options:
        if kind == "mss":
            out += struct.pack("!BBH", 2, 4, *values)
        elif kind == "ws":
            out += struct.pack("!BBBB", 1, 3, 3, *values)
        elif kind == "sackok":
            out += b"\1\1\4\2"
        elif kind == "ts":
            out += struct.pack("!BBBBII", 1, 1, 8, 10, *values)
        elif kind == "sack":
            out += struct.pack(f"!BBBB{len(values)}I", 1, 1, 5, 2 + 4 * len(values), *values)
        else:
            out += bytes.fromhex(values[0])
    return out.ljust((len(out) + 3) // 4 * 4, b"\0")


def transport(src, dst, proto, head, data, where, sum=None):
    """`head` with its checksum filled in at `where`, and the data."""
    raw = head + data
    if sum is None:
        value = checksum(pseudo(address(src), address(dst), proto, len(raw)) + raw)
        if proto == UDP and value == 0:
            value = 0xFFFF
    else:
        value = sum
    return head[:where] + struct.pack("!H", value) + head[where + 2:] + data


def tcp_segment(src, dst, sport, dport, flags, seq=0, ack=0, win=64240, opts=(), data=b"",
                sum=None, urg=0, doff=None):
    bits = 0
    for flag in flags:
        bits |= 1 << TCP_FLAGS.index(flag)
    raw = tcp_options(opts)
    words = 5 + len(raw) // 4 if doff is None else doff
    head = struct.pack("!HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, words << 4,
                       bits, win, 0, urg) + raw
    return transport(src, dst, TCP, head, data, 16, sum)


def udp_datagram(src, dst, sport, dport, data=b"", sum=None, length=None):
    head = struct.pack("!HHHH", sport, dport, 8 + len(data) if length is None else length, 0)
    return transport(src, dst, UDP, head, data, 6, sum)


SCTP_CHUNKS = {"DATA": 0, "INIT": 1, "INIT_ACK": 2, "SACK": 3, "HEARTBEAT": 4, "HEARTBEAT_ACK": 5, "ABORT": 6,
               "SHUTDOWN": 7, "SHUTDOWN_ACK": 8, "ERROR": 9, "COOKIE_ECHO": 10, "COOKIE_ACK": 11,
               "SHUTDOWN_COMPLETE": 14, "STRANGE": 200}


def sctp_chunk(text):
    """"INIT 7" (its tag), "DATA", "ABORT/T" (the T bit set), "SACK=0" (a length that isn't so)."""
    head, _, tag = text.partition(" ")
    head, _, length = head.partition("=")
    name, _, flag = head.partition("/")
    body = b""
    if tag:
        body = struct.pack("!IIHHI", int(tag), 65536, 1, 1, 1)
    elif name == "DATA":
        body = struct.pack("!IHHI", 1, 0, 0, 0) + b"d"
    elif name == "COOKIE_ECHO":
        body = b"cookie"
    size = int(length) if length else 4 + len(body)
    return struct.pack("!BBH", SCTP_CHUNKS[name], flag == "T", size) + body.ljust((len(body) + 3) // 4 * 4, b"\0")


def sctp_packet(sport, dport, tag, chunks, crc=None):
    raw = struct.pack("!HHII", sport, dport, tag, 0) + b"".join(map(sctp_chunk, chunks))
    return raw[:8] + (sctp_checksum(raw) if crc is None else struct.pack("!I", crc)) + raw[12:]


def icmp_message(src, dst, kind, code, rest, data=b"", sum=None):
    """ICMP or ICMPv6; `rest` is the 4 bytes after the checksum."""
    head = struct.pack("!BBH", kind, code, 0) + rest
    if len(address(src)) == 16:
        return transport(src, dst, ICMP6, head, data, 2, sum)
    value = checksum(head + data) if sum is None else sum
    return head[:2] + struct.pack("!H", value) + head[4:] + data


def fragments(l3, size, order=None, id6=0x1234):
    """The packet cut into fragments whose payload is at most `size` (a multiple of 8) bytes;
    `order` names the ones to return."""
    out = []
    if l3[0] >> 4 == 4:
        start = (l3[0] & 15) * 4
        header, payload = l3[:start], l3[start:]
        for at in range(0, len(payload), size):
            part = payload[at:at + size]
            more = 0x2000 if at + size < len(payload) else 0
            new = bytearray(header)
            struct.pack_into("!H", new, 2, start + len(part))
            struct.pack_into("!H", new, 6, (header[6] & 0x40) << 8 | more | at // 8)
            struct.pack_into("!H", new, 10, 0)
            struct.pack_into("!H", new, 10, checksum(bytes(new)))
            out.append(bytes(new) + part)
    else:
        header, payload = l3[:40], l3[40:]
        for at in range(0, len(payload), size):
            part = payload[at:at + size]
            more = 1 if at + size < len(payload) else 0
            new = bytearray(header)
            new[6] = 44
            struct.pack_into("!H", new, 4, 8 + len(part))
            out.append(bytes(new) + struct.pack("!BBHI", header[6], 0, at | more, id6) + part)
    return out if order is None else [out[i] for i in order]


def frame(dst_mac, src_mac, l3):
    kind = 0x86DD if l3 and l3[0] >> 4 == 6 else 0x0800
    return dst_mac + src_mac + struct.pack("!H", kind) + l3


# --- reading -----------------------------------------------------------------------------------

class Parsed:
    """Where things stand in a network packet. `l4` is None in later fragments and where the bytes
    end too soon."""

    def __init__(self, l3):
        self.l3 = l3
        self.version = l3[0] >> 4 if l3 else 0
        self.l4 = None
        self.proto = None
        self.more = self.offset = 0
        self.extensions = []
        self.ok = False
        if self.version == 4 and len(l3) >= 20:
            self.l4 = (l3[0] & 15) * 4
            self.end = struct.unpack_from("!H", l3, 2)[0]
            bits = struct.unpack_from("!H", l3, 6)[0]
            self.more, self.offset = bits >> 13 & 1, (bits & 0x1FFF) * 8
            self.proto = l3[9]
            self.src, self.dst = l3[12:16], l3[16:20]
            self.ok = self.l4 >= 20
        elif self.version == 6 and len(l3) >= 40:
            self.end = 40 + struct.unpack_from("!H", l3, 4)[0]
            self.src, self.dst = l3[8:24], l3[24:40]
            self.proto, self.l4 = l3[6], 40
            self.ok = True
            self._walk()

    def _walk(self):
        while True:
            if self.proto == 44 and len(self.l3) >= self.l4 + 8:
                bits = struct.unpack_from("!H", self.l3, self.l4 + 2)[0]
                self.more, self.offset = bits & 1, bits & 0xFFF8
                size = 8
            elif self.proto in EXTENSIONS and len(self.l3) >= self.l4 + 2:
                size = 8 + self.l3[self.l4 + 1] * 8
            else:
                return
            self.extensions.append((self.proto, self.l4, size))
            self.proto = self.l3[self.l4]
            self.l4 += size
            if self.offset:
                return

    @property
    def payload(self):
        return self.l3[self.l4:self.end]

    def sum_place(self):
        """Offset of the transport checksum or None."""
        place = {TCP: 16, UDP: 6, ICMP: 2, ICMP6: 2}.get(self.proto)
        if place is None or self.offset or len(self.l3) < self.l4 + place + 2:
            return None
        return self.l4 + place

    def port_places(self):
        """Offsets of the fields that NAT may choose: both ports, or a query's id."""
        if not self.ok or self.offset:
            return []
        if self.proto in (TCP, UDP, SCTP) and len(self.l3) >= self.l4 + 4:
            return [self.l4, self.l4 + 2]
        if self.proto in (ICMP, ICMP6) and len(self.l3) >= self.l4 + 8:
            if self.l3[self.l4] in (0, 8, 13, 14, 15, 16, 17, 18, 128, 129):
                return [self.l4 + 4]
        return []

    def is_error(self):
        if not self.ok or self.offset or len(self.l3) <= self.l4:
            return False
        kind = self.l3[self.l4]
        return (self.proto == ICMP and kind in ICMP_ERRORS) or (self.proto == ICMP6 and kind < 128)

    def quoted_at(self):
        """Where the packet that an ICMP error quotes begins, or None."""
        return self.l4 + 8 if self.is_error() and len(self.l3) > self.l4 + 8 else None


def _sum_text(parsed):
    place = parsed.sum_place()
    if place is None or parsed.more or len(parsed.l3) < parsed.end:
        return f" sum={parsed.l3[place:place + 2].hex()}" if place else ""
    value = struct.unpack_from("!H", parsed.l3, place)[0]
    if parsed.proto == UDP and value == 0:
        return " sum=0"
    body = parsed.payload
    if parsed.proto != ICMP:
        body = pseudo(parsed.src, parsed.dst, parsed.proto, len(body)) + body
    return "" if ones_sum(body) == 0xFFFF else " sum=BAD"


def _data_text(data):
    if not data:
        return ""
    if len(data) > 48:
        return f" data[{len(data)}]=crc32:{zlib.crc32(data):08x}"
    if all(32 <= c < 127 for c in data):
        return f' data[{len(data)}]="{data.decode()}"'
    return f" data[{len(data)}]=0x{data.hex()}"


def describe(l3):
    """One line that says everything about a network packet: two packets with the same line have
    the same bytes."""
    parsed = Parsed(l3)
    if not parsed.ok:
        return "raw" + _data_text(l3)
    src, dst = ipaddress.ip_address(parsed.src), ipaddress.ip_address(parsed.dst)
    if parsed.version == 4:
        bits = struct.unpack_from("!H", l3, 6)[0]
        text = f"IPv4 {src} > {dst} ttl={l3[8]} id={struct.unpack_from('!H', l3, 4)[0]}"
        text += f" tos={l3[1]:#x}" if l3[1] else ""
        text += " DF" if bits & 0x4000 else ""
        text += f" options={l3[20:parsed.l4].hex()}" if parsed.l4 > 20 else ""
        header = l3[:parsed.l4]
        text += "" if ones_sum(header) == 0xFFFF else f" ipsum={l3[10:12].hex()}"
    else:
        text = f"IPv6 {src} > {dst} hlim={l3[7]}"
        label = struct.unpack_from("!I", l3, 0)[0] & 0xFFFFFFF
        text += f" class/flow={label:#x}" if label else ""
        for proto, at, size in parsed.extensions:
            text += f" ext{proto}={l3[at:at + size].hex()}"
    text += " MF" if parsed.more else ""
    text += f" off={parsed.offset}" if parsed.offset else ""
    text += f" len={parsed.end}" if len(l3) != parsed.end else ""
    return text + _transport_text(parsed)


def _transport_text(parsed):
    l3, at, proto = parsed.l3, parsed.l4, parsed.proto
    if not parsed.offset and proto == TCP and len(l3) >= at + 20:
        sport, dport, seq, ack, doff, bits, win, _, urg = struct.unpack_from("!HHIIBBHHH", l3, at)
        flags = "".join(f for i, f in enumerate(TCP_FLAGS) if bits >> i & 1) or "none"
        text = f" | TCP {sport} > {dport} {flags} seq={seq} ack={ack} win={win}"
        text += f" urg={urg}" if urg else ""
        head = max(20, (doff >> 4) * 4)
        text += f" doff={doff:#x}" if (doff >> 4) * 4 != head or doff & 15 else ""
        text += f" opts={l3[at + 20:at + head].hex()}" if head > 20 else ""
        return text + _sum_text(parsed) + _data_text(l3[at + head:])
    if not parsed.offset and proto == UDP and len(l3) >= at + 8:
        sport, dport, length = struct.unpack_from("!HHH", l3, at)
        text = f" | UDP {sport} > {dport}"
        text += f" length={length}" if length != len(l3) - at else ""
        return text + _sum_text(parsed) + _data_text(l3[at + 8:])
    if not parsed.offset and proto in (ICMP, ICMP6) and len(l3) >= at + 8:
        kind, code = l3[at], l3[at + 1]
        name = "ICMP" if proto == ICMP else "ICMPv6"
        text = f" | {name} {kind}/{code} rest={l3[at + 4:at + 8].hex()}" + _sum_text(parsed)
        if parsed.quoted_at():
            return f"{text} quoting [{describe(l3[at + 8:])}]"
        return text + _data_text(l3[at + 8:])
    if not parsed.offset and proto == SCTP and len(l3) >= at + 12:
        sport, dport, tag = struct.unpack_from("!HHI", l3, at)
        good = parsed.more or len(l3) < parsed.end or sctp_checksum(parsed.payload) == l3[at + 8:at + 12]
        return f" | SCTP {sport} > {dport} tag={tag}{'' if good else ' sum=BAD'}" + _data_text(l3[at + 12:])
    return f" | proto {proto}" + _data_text(l3[at:])


def check_sums(l3):
    """A list of wrong checksums of a whole packet, its quoted packet left out."""
    parsed = Parsed(l3)
    wrong = []
    if not parsed.ok:
        return ["no IP"]
    if parsed.version == 4 and ones_sum(l3[:parsed.l4]) != 0xFFFF:
        wrong.append("IPv4 header")
    if " sum=BAD" in _sum_text(parsed):
        wrong.append("transport")
    return wrong
