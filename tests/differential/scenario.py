"""A scenario: rules, settings and packets, read from a case folder or made by the generator.

packets.txt has a line a packet: `TIME PORT EXPRESSION [=> VERDICT [REASON] [CTSTATE]]`. TIME is seconds
since the first packet, or `+S` after the one before. PORT is a port's name, or `host:PORT` for what
the appliance itself sends there, or `<N|PORT` for the port by which packet N left (PORT where it
didn't). EXPRESSION is one of the functions of `Vocabulary`; endpoints are
`name:port` with the names of HOSTS, or addresses (`[2001:db8::1]:80`). A line that begins with
`name = ` names an expression for later ones. What follows `=>` is Postern's own view (replay events),
checked word by word.
"""

import pathlib
import re
import struct

import conf
import wire

COMMON_CONF = pathlib.Path(__file__).resolve().parents[1] / "cases" / "postern.conf"

HOSTS = {
    # name: IPv4, and name + "6": IPv6
    "lan1": ("192.168.1.10", "2001:db8:2::10"),
    "lan2": ("192.168.1.11", "2001:db8:2::11"),
    "server": ("192.168.1.100", "2001:db8:2::100"),
    "lanip": ("192.168.1.1", "2001:db8:2::1"),
    "wanip": ("203.0.113.2", "2001:db8:1::2"),
    "wanalias": ("203.0.113.10", "2001:db8:1::10"),
    "gw": ("203.0.113.1", "2001:db8:1::1"),
    "web": ("198.51.100.7", "2001:db8:ffff::7"),
    "dns": ("198.51.100.53", "2001:db8:ffff::53"),
    "attacker": ("198.51.100.66", "2001:db8:ffff::66"),
    "hop": ("198.51.100.1", "2001:db8:ffff::1"),
    "dmz1": ("192.0.2.20", "2001:db8:3::20"),
    "dmzip": ("192.0.2.1", "2001:db8:3::1"),
}
PEER_MAC = wire.mac("02:00:00:00:aa:01")

# What names an earlier packet, in an expression or as a port.
REFERENCE = re.compile(r"(\b(?:out|back|there|seen_source|echo_id)\(|<)(\d+)")

BUILT_IN = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
}


def host_address(name):
    if name in HOSTS:
        return HOSTS[name][0]
    if name.endswith("6") and name[:-1] in HOSTS:
        return HOSTS[name[:-1]][1]
    return name[1:name.index("]")] if name.startswith("[") else name


def endpoint(text):
    """("address", port) of "name:port"."""
    name, _, port = text.rpartition(":")
    return host_address(name), int(port)


class Framed(bytes):
    """A network packet in a frame of its own making: see Vocabulary.framed."""


class Vocabulary:
    """What expressions can say. `emitted` maps a packet's number to the network packets that it made
    come out, as far as the run is."""

    def __init__(self, emitted=None):
        self.emitted = emitted if emitted is not None else {}  # {number: [(port, packet)]}
        self.sent = {}

    # packets that came before ------------------------------------------------------------------

    def out(self, number, which=0):
        """What packet `number` came out as; as it went in where it didn't."""
        packets = self.emitted.get(number, [])
        return packets[which][1] if len(packets) > which else self.sent[number]

    def left_by(self, port):
        """The port that `<N|PORT` means."""
        if not port.startswith("<"):
            return port
        number, _, otherwise = port[1:].partition("|")
        packets = self.emitted.get(int(number), [])
        return packets[0][0] if packets and packets[0][0] != "host:lo" else otherwise

    def _port(self, number, place):
        packet = self.out(number)
        parsed = wire.Parsed(packet)
        places = parsed.port_places()
        if not places:
            return 0
        return struct.unpack_from("!H", packet, places[min(place, len(places) - 1)])[0]

    def back(self, number):
        """The source that the world saw in packet `number`: where an answer must go."""
        parsed = wire.Parsed(self.out(number))
        return f"[{wire.ipaddress.ip_address(parsed.src)}]:{self._port(number, 0)}"

    def seen_source(self, number):
        """The address of `back`."""
        return str(wire.ipaddress.ip_address(wire.Parsed(self.out(number)).src))

    def there(self, number):
        """The destination of packet `number` as it came out: who answers."""
        parsed = wire.Parsed(self.out(number))
        return f"[{wire.ipaddress.ip_address(parsed.dst)}]:{self._port(number, 1)}"

    def echo_id(self, number):
        return self._port(number, 0)

    # new ones ----------------------------------------------------------------------------------

    @staticmethod
    def tcp(src, dst, flags="A", seq=0, ack=0, win=64240, opts=(), data=b"", tsum=None, urg=0,
            doff=None, **ip):
        (src, sport), (dst, dport) = endpoint(src), endpoint(dst)
        data = data.encode() if isinstance(data, str) else data
        return wire.ip(src, dst, wire.TCP, wire.tcp_segment(
            src, dst, sport, dport, flags, seq, ack, win, opts, data, tsum, urg, doff), **ip)

    @staticmethod
    def udp(src, dst, data=b"", usum=None, ulen=None, **ip):
        (src, sport), (dst, dport) = endpoint(src), endpoint(dst)
        data = data.encode() if isinstance(data, str) else data
        return wire.ip(src, dst, wire.UDP,
                       wire.udp_datagram(src, dst, sport, dport, data, usum, ulen), **ip)

    @staticmethod
    def sctp(src, dst, *chunks, tag=0, crc=None, **ip):
        """`chunks`: what wire.sctp_chunk reads."""
        (src, sport), (dst, dport) = endpoint(src), endpoint(dst)
        return wire.ip(src, dst, wire.SCTP, wire.sctp_packet(sport, dport, tag, chunks, crc), **ip)

    @staticmethod
    def icmp(src, dst, kind, code=0, rest=b"\0\0\0\0", data=b"", isum=None, **ip):
        src, dst = host_address(src), host_address(dst)
        proto = wire.ICMP6 if ":" in src else wire.ICMP
        return wire.ip(src, dst, proto,
                       wire.icmp_message(src, dst, kind, code, rest, data, isum), **ip)

    def ping(self, src, dst, echo=1, seq=1, data=b"abcdefgh", **ip):
        kind = 128 if ":" in host_address(src) else 8
        return self.icmp(src, dst, kind, 0, struct.pack("!HH", echo, seq), data, **ip)

    def pong(self, src, dst, echo=1, seq=1, data=b"abcdefgh", **ip):
        kind = 129 if ":" in host_address(src) else 0
        return self.icmp(src, dst, kind, 0, struct.pack("!HH", echo, seq), data, **ip)

    def error(self, src, dst, kind, code, quote, bytes=None, mtu=0, **ip):
        """An ICMP error of `src` to `dst` that quotes a packet (or its first `bytes`)."""
        return self.icmp(src, dst, kind, code, struct.pack("!I", mtu), quote[:bytes], **ip)

    @staticmethod
    def other(src, dst, proto, data=b"", **ip):
        return wire.ip(host_address(src), host_address(dst), proto, data, **ip)

    @staticmethod
    def wire_address(name):
        return wire.address(host_address(name))

    @staticmethod
    def fragment(packet, size, index, id6=0x1234):
        return wire.fragments(packet, size, id6=id6)[index]

    @staticmethod
    def chain(packet, *headers):
        """An IPv6 packet with (protocol, hex of the header's body) extension headers put in."""
        following, inserted = packet[6], b""
        for proto, body in reversed(headers):
            body = bytes.fromhex(body)
            body = body.ljust((len(body) + 2 + 7) // 8 * 8 - 2, b"\0")
            inserted = bytes([following, (len(body) + 2) // 8 - 1]) + body + inserted
            following = proto
        length = struct.unpack_from("!H", packet, 4)[0] + len(inserted)
        return packet[:4] + struct.pack("!HB", length, following) + packet[7:40] + inserted + packet[40:]

    @staticmethod
    def cut(packet, length):
        return packet[:length]

    @staticmethod
    def patch(packet, offset, text):
        """Bytes (hex) written over the packet's."""
        data = bytes.fromhex(text)
        return packet[:offset] + data + packet[offset + len(data):]

    @staticmethod
    def framed(packet, to=None, trailer="", kind=None):
        """The packet in a frame to another MAC, with bytes (hex) behind it, of another EtherType."""
        frame = Framed(packet)
        frame.to = wire.mac(to) if to else None
        frame.trailer, frame.kind = bytes.fromhex(trailer), kind
        return frame

    @staticmethod
    def scapy(text):
        """Whatever else scapy's language can say, e.g. scapy("IP(dst='192.0.2.1')/GRE()")."""
        import scapy.all  # slow to load, so only where it is used
        return bytes(eval(text, vars(scapy.all)))  # pylint: disable=eval-used

    def environment(self):
        names = ("out", "back", "there", "seen_source", "echo_id", "tcp", "udp", "sctp", "icmp", "ping", "pong", "error",
                 "other", "fragment", "chain", "cut", "patch", "framed", "scapy", "wire_address")
        return {name: getattr(self, name) for name in names}


class Step:
    """One input packet."""

    def __init__(self, time, port, expression, expected=""):
        self.time, self.port, self.expression, self.expected = time, port, expression, expected
        self.code = compile(expression, expression, "eval")
        # Built from what came out before, so perhaps another packet on each side.
        self.depends = bool(REFERENCE.search(f"{port} {expression}"))

    def text(self):
        tail = f"  => {self.expected}" if self.expected else ""
        return f"{self.time:.6f}".rstrip("0").rstrip(".") + f" {self.port} {self.expression}{tail}"


def normal_rules(text):
    """Rules with every built-in chain of their tables declared, as iptables-save writes them: an
    undeclared one has no policy counters in the nf_tables back end."""
    if not text.strip():
        return ""
    lines, table, declared, chains_done = [], None, set(), False
    for line in text.splitlines():
        if line.startswith("*"):
            table, declared, chains_done = line[1:].strip(), set(), False
        elif line.startswith(":"):
            declared.add(line[1:].split()[0])
        elif table and not chains_done and not line.startswith("#") and line.strip():
            lines += [f":{chain} ACCEPT [0:0]" for chain in BUILT_IN[table] if chain not in declared]
            chains_done = True
        lines.append(line)
    return "\n".join(lines) + "\n"


class Scenario:

    def __init__(self, name, conf_text=None, rules4="", rules6="", steps=(), names=(), note=""):
        self.name = name
        self.own_conf = conf_text
        self.conf_text = conf_text or COMMON_CONF.read_text()
        self.conf = conf.parse(self.conf_text)
        self.rules4, self.rules6 = normal_rules(rules4), normal_rules(rules6)
        self.steps = list(steps)
        self.names = list(names)  # [(name, expression)] of packets.txt
        self.note = note
        self.sysctl_text = ""  # of a case's sysctl.conf
        self.macs = {p["name"]: wire.mac(p["mac"]) for p in self.conf["ports"]}

    def topology(self):
        """What makes two scenarios fit one namespace."""
        return repr((self.conf["ports"], self.conf.get("routes")))

    def has_fragments(self):
        return any(word in step.expression for step in self.steps
                   for word in ("fragment(", "mf=", "offset=", "patch("))

    def sysctls(self):
        """The configuration's conntrack group in the kernel's names, and sysctl.conf."""
        found = {f"net.netfilter.{name}": int(value)
                 for name, value in self.conf.get("conntrack", {}).items()
                 if name.startswith("nf_conntrack_")}
        found.update(re.findall(r"^(net\.\S+) *= *(\d+)", self.sysctl_text, re.M))
        return found

    def frame(self, port, l3):
        if port.startswith("host:"):
            return wire.frame(PEER_MAC, self.macs[port.removeprefix("host:")], l3)
        frame = wire.frame(self.macs[port], PEER_MAC, l3)
        if isinstance(l3, Framed):
            kind = frame[12:14] if l3.kind is None else struct.pack("!H", l3.kind)
            frame = (l3.to or frame[:6]) + frame[6:12] + kind + frame[14:] + l3.trailer
        return frame

    def build(self, index, vocabulary):
        """(port, network packet) of step `index` (from 0), remembered in the vocabulary."""
        step = self.steps[index]
        environment = vocabulary.environment()
        for name, code in self.names:
            environment[name] = eval(code, dict(environment))  # pylint: disable=eval-used
        packet = eval(step.code, environment)  # pylint: disable=eval-used
        vocabulary.sent[index + 1] = packet
        return vocabulary.left_by(step.port), packet


def with_conf(scenario, settings):
    """The scenario with more settings in its configuration."""
    changed = Scenario(scenario.name, scenario.conf_text + settings, scenario.rules4, scenario.rules6,
                       scenario.steps, scenario.names, scenario.note)
    changed.sysctl_text = scenario.sysctl_text
    return changed


ABROAD = (("198.51.100.", "198.51.101."), ("2001:db8:ffff:", "2001:db8:fffe:"))


def moved(scenario):
    """The scenario with every host of the Internet at another address."""
    def away(text):
        for here, there in ABROAD:
            text = text.replace(here, there)
        return text

    def move(expression):
        def spelt_out(match):
            name, six = match.groups()
            return f'"[{HOSTS[name][1]}]' if six else f'"{HOSTS[name][0]}'
        return away(re.sub(r'"(web|dns|attacker|hop)(6?)(?=[":])', spelt_out, expression))

    changed = Scenario(scenario.name, away(scenario.conf_text), away(scenario.rules4), away(scenario.rules6),
                       [Step(s.time, s.port, move(s.expression), s.expected) for s in scenario.steps],
                       [(name, move(expression)) for name, expression in scenario.names], scenario.note)
    changed.sysctl_text = scenario.sysctl_text
    return changed


def moved_back(place):
    """A Difference's place in the scenario that was moved."""
    if isinstance(place, tuple):
        return tuple(map(moved_back, place))
    if isinstance(place, str):
        for here, there in ABROAD:
            place = place.replace(there, here)
    return place


def load(folder):
    """The scenario of a case folder."""
    folder = pathlib.Path(folder)

    def text(name):
        path = folder / name
        return path.read_text() if path.exists() else None

    steps, names, time = [], [], 0.0
    for number, line in enumerate(text("packets.txt").splitlines(), 1):
        line = line.split(" #")[0].strip() if not line.startswith("#") else ""
        if not line:
            continue
        try:
            named = re.match(r"(\w+) = (.*)", line)
            if named:
                names.append((named.group(1), named.group(2)))
                continue
            when, port, rest = line.split(None, 2)
            expression, _, expected = rest.partition("=>")
            time = time + float(when[1:]) if when.startswith("+") else float(when)
            steps.append(Step(time, port, expression.strip(), expected.strip()))
        except (ValueError, SyntaxError) as error:
            raise ValueError(f"{folder}/packets.txt:{number}: {error}") from error
    scenario = Scenario(folder.name, text("postern.conf"), text("rules.v4") or "",
                        text("rules.v6") or "", steps, names)
    scenario.sysctl_text = text("sysctl.conf") or ""
    return scenario


def save(scenario, folder):
    """Writes a scenario as a case folder (without what is expected)."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if scenario.own_conf:
        (folder / "postern.conf").write_text(scenario.own_conf)
    (folder / "rules.v4").write_text(scenario.rules4)
    (folder / "rules.v6").write_text(scenario.rules6)
    lines = [f"# {line}" for line in scenario.note.splitlines()]
    lines += [f"{name} = {code}" for name, code in scenario.names]
    lines += [step.text() for step in scenario.steps]
    (folder / "packets.txt").write_text("\n".join(lines) + "\n")
