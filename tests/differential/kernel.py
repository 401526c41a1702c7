"""The oracle: Linux netfilter in a network namespace of this process's own.

`Kernel(conf)` moves the process into a new network namespace (which ends with it), with one TAP a port
of the configuration. A write to a TAP takes the frame through the whole stack before it returns, so
what it caused can be read at once.

The appliance's own stack must not answer, because Postern hands such packets to its twin interface:
the last thing on INPUT, after conntrack has confirmed, is a chain that logs the packet to this
process and drops it. "The appliance sends" is a raw socket, which enters at OUTPUT.
"""

import ctypes
import errno
import fcntl
import ipaddress
import os
import socket
import struct
import subprocess
import time

import wire

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
LOG_GROUP = 7
IFA_F_TENTATIVE = 0x40

# What keeps the kernel from saying more, less or later than the rules make it.
SYSCTLS = {
    "net/ipv4/ip_forward": 1,
    "net/ipv6/conf/all/forwarding": 1,
    "net/ipv4/icmp_ratelimit": 0,
    "net/ipv4/icmp_ratemask": 0,
    "net/ipv4/icmp_msgs_per_sec": 1000000,
    "net/ipv4/icmp_msgs_burst": 1000000,
    "net/ipv6/icmp/ratelimit": 0,
    "net/ipv6/auto_flowlabels": 0,
    "net/ipv4/conf/all/send_redirects": 0,
    "net/ipv4/conf/default/send_redirects": 0,
    "net/ipv4/conf/all/rp_filter": 0,
    "net/ipv4/conf/default/rp_filter": 0,
    "net/ipv6/conf/all/accept_dad": 0,
    "net/ipv6/conf/default/accept_dad": 0,
    "net/ipv6/conf/default/accept_ra": 0,
    "net/ipv6/conf/default/router_solicitations": 0,
}

# The first table must be there before anything uses conntrack: hooks of one priority run in reverse order
# of their coming, and conntrack's confirmation has the same, highest one.
LAST_ON_INPUT = """
table inet oracle_last {
  chain input {
    type filter hook input priority 2147483647; policy accept;
    log group %d queue-threshold 1
    drop
  }
}
""" % LOG_GROUP
# The stack's own chatter must touch no rule; conntrack must be on even where no rule asks for it.
ASIDE = """
table inet oracle_aside {
  chain output {
    type filter hook output priority -500; policy accept;
    icmpv6 type 137 meta skuid 0 accept  # from a socket of ours, not the stack's own
    icmpv6 type { 131, 132, 133, 135, 136, 137, 143 } drop
    ip protocol igmp drop
    ct mark 0xfeedface counter
  }
}
"""
# All connections in another zone: see comparison.py.
ZONE = """
table inet oracle_zone {}
delete table inet oracle_zone
"""
CHAIN_OF_ZONE = """
table inet oracle_zone {
  chain %s {
    type filter hook %s priority -250; policy accept;
    ct state untracked accept
    ct zone set %d
  }
}
"""
RESET = "".join(f"add table {family} {table}\ndelete table {family} {table}\n"
                for family in ("ip", "ip6") for table in ("raw", "mangle", "nat", "filter"))


class OracleError(Exception):
    """The kernel, or a tool of its, refused something."""


def run(*command, text=None, check=True):
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise OracleError(f"{' '.join(command)}: {done.stdout}{done.stderr}".strip())
    return done.stdout


def write_sysctl(name, value):
    with open(f"/proc/sys/{name}", "w", encoding="ascii") as file:
        file.write(str(value))


def read_sysctl(name):
    with open(f"/proc/sys/{name}", encoding="ascii") as file:
        return file.read().strip()


def ask(netlink, kind, body):
    """Sends one netfilter netlink message and waits for its acknowledgement."""
    netlink.send(struct.pack("=IHHII", 16 + len(body), kind, 5, 1, 0) + body)  # request, ack
    error = struct.unpack_from("=i", netlink.recv(65536), 16)[0]
    if error:
        raise OracleError(f"netlink {kind:#x}: {os.strerror(-error)}")


def route_line(route):
    """A route of the configuration in the words of `ip -batch`."""
    words = f"route add {route['prefix']}"
    if "via" in route:
        words += f" via {route['via']}"
    if "port" in route:
        words += f" dev {route['port']}" + (" onlink" if "via" in route else "")
    return words


def mtu_towards(conf, destination):
    """The MTU of the port that leads to an address (bytes); that of `lo` for the appliance's own."""
    address = ipaddress.ip_address(destination)
    own = {ipaddress.ip_interface(a).ip for port in conf["ports"] for a in port.get("addresses", [])}
    if address.is_loopback or address in own:
        return 65536
    routes = [r for r in conf.get("routes", []) if address in ipaddress.ip_network(r["prefix"])]
    for hop in [address] + [ipaddress.ip_address(r["via"]) for r in routes if "via" in r]:
        for port in conf["ports"]:
            if any(hop in ipaddress.ip_interface(own).network for own in port.get("addresses", [])):
                return port.get("mtu", 1500)
    return 1500


class NetfilterLog:
    """The socket on which the last chain of INPUT delivers packets."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)  # NETLINK_NETFILTER
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.socket.bind((0, 0))
        self._configure(1, struct.pack("!B", 1))                # bind to the group
        self._configure(2, struct.pack("!IBB", 0xFFFF, 2, 0))   # copy whole packets
        self._configure(5, struct.pack("!I", 1))                # one by one
        self.socket.setblocking(False)

    def _configure(self, kind, value):
        attribute = struct.pack("=HH", 4 + len(value), kind) + value
        ask(self.socket, 4 << 8 | 1, struct.pack("!BBH", 0, 0, LOG_GROUP) +
            attribute.ljust((len(attribute) + 3) & ~3, b"\0"))

    def read(self):
        """[(interface index, packet)] delivered since the last call."""
        packets = []
        while True:
            try:
                data = self.socket.recv(1 << 17)
            except BlockingIOError:
                return packets
            at = 0
            while at + 16 <= len(data):
                length, kind = struct.unpack_from("=IH", data, at)
                if kind == 4 << 8:
                    packets.append(self._packet(data[at + 20:at + length]))
                at += (length + 3) & ~3

    @staticmethod
    def _packet(attributes):
        index, payload, at = 0, b"", 0
        while at + 4 <= len(attributes):
            length, kind = struct.unpack_from("=HH", attributes, at)
            value = attributes[at + 4:at + length]
            if kind & 0x7FFF == 4:
                index = struct.unpack("!I", value)[0]
            elif kind & 0x7FFF == 9:
                payload = value
            at += max(4, (length + 3) & ~3)
        return index, payload


class Kernel:
    """See the page at the top. One at a time: making another leaves the first one's namespace."""

    def __init__(self, conf):
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
            raise OracleError(f"unshare: {os.strerror(ctypes.get_errno())}")
        self.conf = conf
        self.taps = {}
        self.changed = {}
        self.too_large = False
        self.zone = 0
        for name, value in SYSCTLS.items():
            write_sysctl(name, value)
        self._make_ports()
        run("nft", "-f", "-", text=LAST_ON_INPUT)
        run("nft", "-f", "-", text=ASIDE)
        self.log = NetfilterLog()
        self.netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
        self.netlink.bind((0, 0))
        self.raw4 = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.raw4.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.raw6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.raw6.setsockopt(socket.IPPROTO_IPV6, 36, 1)  # IPV6_HDRINCL

    def close(self):
        for tap in self.taps.values():
            os.close(tap)
        self.taps = {}
        for one in (self.log.socket, self.netlink, self.raw4, self.raw6):
            one.close()

    def _make_ports(self):
        lines = ["link set lo up"]
        for port in self.conf["ports"]:
            name = port["name"]
            tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
            self.taps[name] = tap
            # No ARP: every neighbour is there, with a MAC that isn't compared.
            mtu = port.get("mtu", 1500)
            # Below 1280 there is no IPv6 to set a mode of.
            mode = "addrgenmode none " if mtu >= 1280 else ""
            lines.append(f"link set {name} address {port['mac']} arp off {mode}mtu {mtu} up")
            lines += [f"addr add {a} dev {name}" + (" nodad" if ":" in a else "")
                      for a in port.get("addresses", [])]
        lines += [route_line(route) for route in self.conf.get("routes", [])]
        run("ip", "-batch", "-", text="\n".join(lines) + "\n")
        self.names = {socket.if_nametoindex(name): name for name in self.taps}
        self._await_addresses()

    def _await_addresses(self):
        """A link-local address is nobody's source before a work queue has had its turn."""
        end = time.monotonic() + 2
        while time.monotonic() < end:
            with open("/proc/net/if_inet6", encoding="ascii") as file:
                own = [line.split() for line in file]
            if not any(int(flags, 16) & IFA_F_TENTATIVE for *_, flags, _ in own):
                return
            time.sleep(0.002)

    def _set_zone(self, zone):
        if zone == self.zone:
            return
        chains = (CHAIN_OF_ZONE % (hook, hook, zone) for hook in ("prerouting", "output") if zone)
        run("nft", "-f", "-", text=ZONE + "".join(chains))
        self.zone = zone

    def begin(self, rules4="", rules6="", sysctls=None, zone=0):
        """A new scenario: these rules, these sysctls (kernel names with dots), no connections."""
        self._set_zone(zone)
        for name, value in self.changed.items():
            write_sysctl(name, value)
        self.changed = {}
        run("nft", "-f", "-", text=RESET)
        ask(self.netlink, 1 << 8 | 2, bytes(4))  # delete without a tuple: every connection
        for name, value in (sysctls or {}).items():
            name = name.replace(".", "/")
            self.changed[name] = read_sysctl(name)
            write_sysctl(name, value)
        if rules4:
            run("iptables-restore", text=rules4)
        if rules6:
            run("ip6tables-restore", text=rules6)
        self._forget_recent()
        self._drain()

    @staticmethod
    def _forget_recent():
        try:
            lists = os.listdir("/proc/net/xt_recent")
        except FileNotFoundError:
            return
        for name in lists:
            with open(f"/proc/net/xt_recent/{name}", "w", encoding="ascii") as file:
                file.write("/")

    def _drain(self):
        """[(port or host:port, frame)] that came out; what the host gets has no Ethernet header."""
        found = []
        for name, tap in self.taps.items():
            while True:
                try:
                    found.append((name, os.read(tap, 65536)))
                except BlockingIOError:
                    break
        found += [("host:" + self.names.get(index, "lo"), packet)
                  for index, packet in self.log.read()]
        return found

    def late(self):
        """What came out since, as `send` has it."""
        return self._drain()

    def send(self, port, frame):
        """Gives one frame to a port, or a packet to OUTPUT ("host:PORT"), and returns (time, what came
        out). `too_large` tells of a packet of the appliance that its socket refused for its size."""
        now = time.time()
        self.too_large = False
        try:
            if port.startswith("host:"):
                packet = frame[14:]
                if packet[0] >> 4 == 4:
                    self.raw4.sendto(packet, (socket.inet_ntop(socket.AF_INET, packet[16:20]), 0))
                else:
                    self.raw6.sendto(packet, (socket.inet_ntop(socket.AF_INET6, packet[24:40]), 0))
            else:
                os.write(self.taps[port], frame)
        except (OSError, ValueError, IndexError) as error:
            # Also said where it is only too large for the port that DNAT sends it to.
            self.too_large = getattr(error, "errno", None) == errno.EMSGSIZE and \
                len(frame) - 14 > mtu_towards(self.conf, wire.Parsed(frame[14:]).dst)
            # else the kernel refused it: dropped on OUTPUT, no route, too short for a header
        return now, self._drain()

    @staticmethod
    def fragments_wait():
        """Whether an IPv4 datagram is still incomplete. IPv6's can't be asked after."""
        with open("/proc/net/sockstat", encoding="ascii") as file:
            return "FRAG: inuse 0 " not in file.read()

    @staticmethod
    def conntrack(family):
        return run("conntrack", "-L", "-f", f"ipv{family}")

    @staticmethod
    def counters(family):
        return run("iptables-save" if family == 4 else "ip6tables-save", "-c")

    @staticmethod
    def release():
        return os.uname().release.split("-")[0]
