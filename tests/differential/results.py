"""What one side (kernel or Postern) made of a scenario, and how two of them are compared."""

import re
import struct

import roles
import wire


class Difference(str):
    """What two sides don't have in common, as text. `place` names where: the same one for the same thing
    in another run."""

    def __new__(cls, place, text):
        made = super().__new__(cls, text)
        made.place = place
        return made

    def __getnewargs__(self):  # for the way between processes
        return self.place, str(self)


class Result:
    """`sent[i]`: (port, network packet) of step i as this side got it; `out[i]`: [(port, network
    packet)] that it made come out; `conntrack`: lines; `counters`: {(family, table, chain, what):
    (packets, bytes)}; `events`: replay's, None for the kernel; `unsent`: steps whose packet no program
    could send, being larger than the MTU; `settled`: no answer would change any more, whatever port NAT
    chose for what it answers; `by_lo`: steps with an answer that the appliance gave itself by `lo`."""

    def __init__(self, count):
        self.sent = [("", b"")] * count
        self.out = [[] for _ in range(count)]
        self.times = [0.0] * count
        self.conntrack = []
        self.counters = {}
        self.events = None
        self.unsent = set()
        self.settled = True
        self.by_lo = set()


# --- counters ----------------------------------------------------------------------------------

def parse_counters(text, family, into):
    """Adds what iptables-save -c prints. Equal rules of a chain are told apart by their turn."""
    table = None
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            chain, policy, counts = line[1:].split()
            if policy != "-":
                packets, count = counts.strip("[]").split(":")
                into[(family, table, chain, f"policy {policy}", 0)] = (int(packets), int(count))
        elif line.startswith("["):
            counts, _, rule = line.partition(" ")
            packets, count = counts.strip("[]").split(":")
            words = rule.split(None, 2)
            turn = 0
            while (family, table, words[1], words[2] if len(words) > 2 else "", turn) in into:
                turn += 1
            into[(family, table, words[1], words[2] if len(words) > 2 else "", turn)] = (
                int(packets), int(count))


def compare_counters(kernel, postern):
    differences = []
    for key in sorted(set(kernel) | set(postern)):
        ours, theirs = postern.get(key), kernel.get(key)
        # A table that nobody loaded isn't printed by one side or shows zeros on the other.
        if ours != theirs and (ours or (0, 0)) != (theirs or (0, 0)):
            family, table, chain, rule, _ = key
            differences.append(Difference(key, f"counter {family} {table} {chain} [{rule}]: "
                                               f"kernel {theirs}, postern {ours}"))
    return differences


# --- the connection table ----------------------------------------------------------------------

_TIMEOUT = re.compile(r"^(\S+\s+\d+) (\d+) ")


def in_order(lines):
    return sorted(lines, key=lambda line: _TIMEOUT.sub(r"\1 ", line))


def connection_lines(text, since=0):
    """Lines of conntrack -L without `use=`, sorted, with the seconds left as they were `since` seconds ago."""
    found = []
    for line in text.splitlines():
        line = re.sub(r" use=\d+", "", line.strip())
        line = re.sub(r" secctx=\S+| zone=\d+", "", line)
        if re.match(r"\S+\s+\d+ ", line):
            line = re.sub(r"^(\S+)\s+", r"\1 ", line)
            found.append(_TIMEOUT.sub(
                lambda m: f"{m.group(1)} {int(m.group(2)) + int(since)} ", line))
    return in_order(found)


def translate_ports(line, ports):
    """A line of conntrack -L with chosen ports replaced."""
    def one(match):
        value = int(match.group(2))
        return f"{match.group(1)}={ports.get(value, value)}"
    return re.sub(r"\b(sport|dport|id)=(\d+)", one, line)


_PORT = re.compile(r"\b(?:sport|dport|id)=(\d+)")
_ADDRESS = re.compile(r"\b(?:src|dst)=(\S+)")


def same_but_for_choices(kernel, postern, choices, any_port):
    """Whether two lines of conntrack -L differ in nothing but what each side chose."""
    def rest(line):
        return _ADDRESS.sub("", _PORT.sub("", line))

    if rest(kernel) != rest(postern):
        return False
    ports = zip(_PORT.findall(kernel), _PORT.findall(postern))
    addresses = zip(_ADDRESS.findall(kernel), _ADDRESS.findall(postern))
    return all(a == b or any_port or (int(b), int(a)) in choices.ports for a, b in ports) and \
        all(a == b or (wire.address(b), wire.address(a)) in choices.addresses for a, b in addresses)


def compare_connections(kernel, postern, choices, any_port=False, slack=2):
    """`choices`: roles.Choices; `any_port`: each port may be another."""
    def split(line):
        match = _TIMEOUT.match(line)
        if not match:
            return line, 0
        return match.group(1) + " " + line[match.end():], int(match.group(2))

    def difference(line, text):
        return Difference(_PORT.sub("", line), f"connection {text}")

    differences, left = [], [split(line) for line in postern]
    for line, seconds in map(split, kernel):
        alike = [e for e in left if e[0] == line] or \
            [e for e in left if same_but_for_choices(line, e[0], choices, any_port)]
        if not alike:
            differences.append(difference(line, f"only kernel: {line} ({seconds} s left)"))
            continue
        nearest = min(alike, key=lambda e, s=seconds: abs(e[1] - s))
        left.remove(nearest)
        if abs(nearest[1] - seconds) > slack:
            differences.append(
                difference(line, f"{line}: kernel {seconds} s left, postern {nearest[1]}"))
    return differences + [difference(line, f"only postern: {line} ({seconds} s left)")
                          for line, seconds in left]


ERRORS = [bytes([kind]) for kind in wire.ICMP_ERRORS]


# --- packets -----------------------------------------------------------------------------------

def comparable(packet, sent):
    """The packet with what the appliance itself chose put to zero: the IP id of an error that it made
    (for a packet that wasn't one, and where an answer quotes it), the id of IPv6 fragments."""
    parsed = wire.Parsed(packet)
    changed = bytearray(packet)
    for base, quoted in roles.layers(packet)[1:]:
        if quoted.version == 4 and quoted.proto == wire.ICMP and quoted.l3[quoted.l4:quoted.l4 + 1] in ERRORS:
            for at in (base + 4, base + 10, parsed.sum_place()):
                changed[at:at + 2] = b"\0\0"
    if parsed.version == 4 and parsed.is_error() and not wire.Parsed(sent).is_error():
        changed[4:6] = changed[10:12] = b"\0\0"
    for proto, at, _ in parsed.extensions:
        if proto == 44:
            changed[at + 4:at + 8] = bytes(4)
    return bytes(changed)


def what_each_chose(kernel, postern, ranges=()):
    """roles.Choices: ports and ids in which packets differ and nothing else does; with `ranges`, [(first, last)]
    of packed addresses, also addresses that both took from one range."""
    choices = roles.Choices(set(), set())
    for theirs, ours in zip(kernel.out, postern.out):
        for (port_k, a), (port_p, b) in zip(*map(whole_for_host, (theirs, ours))):
            if port_k == port_p and a != b and len(a) == len(b):
                mine, other = wire.Parsed(b), wire.Parsed(a)
                choices.ports.update(roles.differing_ports(mine, other))
                choices.addresses.update(
                    pair for pair in roles.differing_addresses(mine, other)
                    if any(len(pair[0]) == len(first) and first <= min(pair) <= max(pair) <= last
                           for first, last in ranges))
    return choices


def without_sums(packet):
    """The packet without transport checksums, its own and a quoted packet's (however little of it)."""
    changed = bytearray(packet)
    for base, layer in roles.layers(packet):
        at = layer.sum_place() or (layer.l4 + 2 if layer.proto in (wire.ICMP, wire.ICMP6) else None)
        if at and base + at + 2 <= len(changed):
            changed[base + at:base + at + 2] = b"\0\0"
    return bytes(changed)


def whole_for_host(out):
    """What came out, with a datagram for the host that was cut to its twin's MTU put together again:
    the kernel's own stack gets it whole."""
    joined = []
    for port, l3 in out:
        before = joined[-1] if joined else ("", b"")
        if port.startswith("host:") and before[0] == port and _follows(before[1], l3):
            joined.pop()
            l3 = (_join4 if l3[0] >> 4 == 4 else _join6)(before[1], l3)
        joined.append((port, l3))
    return [(port, _without_df(l3) if port.startswith("host:") else l3) for port, l3 in joined]


def _without_df(l3):
    """A long datagram as it is where it was cut and put together again."""
    if len(l3) < 1280 or l3[0] >> 4 != 4:
        return l3
    changed = bytearray(l3)
    changed[6] &= ~0x40
    changed[10:12] = b"\0\0"
    return bytes(changed)


def _follows(first, second):
    """Whether the second packet continues the datagram that the first begins."""
    a, b = wire.Parsed(first), wire.Parsed(second)
    if a.version != b.version or not b.offset or not a.more:
        return False
    if a.version == 4:
        return first[4:6] == second[4:6]
    return a.extensions[-1][0] == 44 == b.extensions[-1][0] and \
        first[a.extensions[-1][1] + 4:][:4] == second[b.extensions[-1][1] + 4:][:4]


def _join4(first, second):
    parsed = wire.Parsed(second)
    packet = bytearray(first + second[parsed.l4:parsed.end])
    struct.pack_into("!H", packet, 2, len(packet))
    bits = struct.unpack_from("!H", packet, 6)[0]
    struct.pack_into("!H", packet, 6, bits & ~0x2000 | parsed.more << 13)
    packet[10:12] = b"\0\0"
    packet[10:12] = struct.pack("!H", wire.checksum(bytes(packet[:parsed.l4])))
    return bytes(packet)


def _join6(first, second):
    """The fragment header goes with the last piece."""
    a, b = wire.Parsed(first), wire.Parsed(second)
    packet = bytearray(first + second[b.l4:b.end])
    header = a.extensions[-1][1]
    if b.more:
        struct.pack_into("!H", packet, 4, len(packet) - 40)
        return bytes(packet)
    place = 6 if len(a.extensions) == 1 else a.extensions[-2][1]
    packet[place] = packet[header]
    del packet[header:header + 8]
    struct.pack_into("!H", packet, 4, len(packet) - 40)
    return bytes(packet)


def _port(entry):
    return entry[0]  # within a port the order counts


def sum_follows_port(step):
    """Whether a fixed or cut off checksum makes the packet's sum depend on the ports that were chosen."""
    return step.depends and re.search(r"\b(usum|tsum|isum|bytes)=|\bcut\(", step.expression)


def same_packets(theirs, ours, choices, loose, sent):
    """`theirs`, `ours`: [(port, comparable packet)], sorted by port; `sent`: what both were sent."""
    if [p for p, _ in theirs] != [p for p, _ in ours]:
        return False
    for (port, a), (_, b) in zip(theirs, ours):
        b = roles.align(b, a, choices, sent[1], sent[0])
        # Nobody computes sums for what goes by `lo`.
        if a != b and not ((loose or port == ON_LO) and without_sums(a) == without_sums(b)):
            return False
    return True


ON_LO = "host"


def came_out(side, index, by_lo):
    """[(port, packet)] of a step, whole and comparable, by port. What the appliance says to itself goes by `lo` there,
    and to some twin here."""
    sent_on, sent = side.sent[index]
    by_lo = by_lo or sent_on.startswith("host:")
    return sorted(((ON_LO if by_lo and port.startswith("host:") else port, comparable(l3, sent))
                   for port, l3 in whole_for_host(side.out[index])), key=_port)


def compare(scenario, kernel, postern, any_port=False, ranges=()):
    """[Difference] of two results of one scenario. `any_port`: connections may have another port where no packet
    came out that shows it. `ranges`: of what_each_chose."""
    choices = what_each_chose(kernel, postern, ranges)
    differences = []
    for index, step in enumerate(scenario.steps):
        theirs, ours = (came_out(side, index, index in kernel.by_lo) for side in (kernel, postern))
        if not same_packets(theirs, ours, choices, any(choices) and sum_follows_port(step),
                            [side.sent[index][1] for side in (kernel, postern)]):
            differences.append(Difference(index, "\n".join(
                [f"packet {index + 1} on {step.port}: {step.expression}"] +
                [f"    kernel:  {p} {wire.describe(l3)}" for p, l3 in kernel.out[index]] +
                (["    kernel:  nothing"] if not theirs else []) +
                [f"    postern: {p} {wire.describe(l3)}" for p, l3 in postern.out[index]] +
                (["    postern: nothing"] if not ours else []) +
                ([f"    postern: {postern.events[index]}"] if postern.events else []))))
    differences += compare_counters(kernel.counters, postern.counters)
    differences += compare_connections(kernel.conntrack, postern.conntrack, choices, any_port)
    return differences
