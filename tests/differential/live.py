"""A sample of scenarios through a real posternd: ports are veth pairs in a namespace made for it, packets
go in and come out by raw sockets at their far ends, and on the ports' twins for what the host gets
and sends.

The namespace's own stack is kept silent: it neither takes what the twins deliver nor says anything.
"""

import ctypes
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import tempfile
import time

import comparison as comparisons
import kernel as oracle
import results
import scenario as scenarios
import sides
import wire
from scenario import HOSTS, PEER_MAC, Vocabulary

PACKET_OUTGOING = 4
# How long an expected packet may take, and how long one that isn't expected is waited for. An idle
# worker sleeps for up to a millisecond.
ANSWER, QUIET = 0.5, 0.008
SILENCE = """
table inet silence {
  chain in { type filter hook prerouting priority -500; policy drop; }
  chain out { type filter hook output priority -500; policy drop; }
}
"""
SETTINGS = """
system: {{ control_socket = "{dir}/postern.sock"; metrics = "127.0.0.1:0"; state_dir = "{dir}"; }};
dataplane: {{ workers = [ {workers} ]; main_core = 0; hugepages = false; memory_mb = 256; mbufs = {mbufs}; }};
log: {{ rules_file = "{dir}/firewall.log"; }};
neighbors: ( {neighbors} );
"""


class LiveError(Exception):
    """posternd didn't come up, or ended."""


def mac_text(mac):
    return ":".join(f"{byte:02x}" for byte in mac)


def named_addresses(scenario):
    """Every address that the vocabulary, the rules or the packets name; in ranges, the first few."""
    text = scenario.rules4 + scenario.rules6 + " ".join(step.expression for step in scenario.steps)
    found = {wire.ipaddress.ip_address(a) for pair in HOSTS.values() for a in pair}
    for word in re.findall(r"[0-9a-fA-F.:]*[0-9a-fA-F]", text):
        try:
            found.update(wire.ipaddress.ip_address(word) + i for i in range(4))
        except ValueError:
            pass
    return found


def no_hosts(interface):
    """Addresses of a port's network that no neighbour can have: its own, broadcast, the routers' anycast."""
    if interface.version == 4:
        return interface.ip, interface.network.broadcast_address
    return interface.ip, interface.network.network_address


def neighbors(scenario):
    """Every host that is on a port's network, as the oracle has them without ARP."""
    entries, ports = [], scenario.conf["ports"]
    for port in ports:
        for text in port.get("addresses", []):
            network = wire.ipaddress.ip_interface(text)
            for one in sorted(named_addresses(scenario), key=str):
                if one.version == network.version and one in network.network and one not in no_hosts(network):
                    entries.append(f'{{ address = "{one}"; mac = "{mac_text(PEER_MAC)}"; '
                                   f'port = "{port["name"]}"; }}')
    return ", ".join(entries)


class Network:
    """The namespace with a veth pair for each port: `p-PORT` is posternd's end, `x-PORT` ours."""

    def __init__(self, ports):
        self.ports, self.name = ports, f"pstlive{os.getpid()}"
        oracle.run("ip", "netns", "add", self.name)
        self.ip("link set lo up")
        self.inside("nft", "-f", "-", text=SILENCE)
        for port in ports:
            own, far = f"p-{port['name']}", f"x-{port['name']}"
            self.ip(f"link add {own} type veth peer name {far}")
            for end in (own, far):
                self.inside("ethtool", "-K", end, "tx", "off", "rx", "off", "gso", "off", "tso", "off",
                            "gro", "off")
                self.inside("sysctl", "-qw", f"net.ipv6.conf.{end}.disable_ipv6=1")
                self.ip(f"link set {end} arp off promisc on up")

    def inside(self, *command, text=None):
        return oracle.run("ip", "netns", "exec", self.name, *command, text=text)

    def ip(self, line):
        oracle.run("ip", "-n", self.name, *line.split())

    def socket(self, device):
        """A raw socket on one of the namespace's interfaces."""
        libc = ctypes.CDLL(None, use_errno=True)
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            libc.setns(there, oracle.CLONE_NEWNET)
            one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            one.bind((device, 3))
            one.setblocking(False)
            return one
        finally:
            libc.setns(home, oracle.CLONE_NEWNET)
            os.close(home)
            os.close(there)

    def close(self):
        oracle.run("ip", "netns", "del", self.name, check=False)


class Daemon:
    """posternd for one scenario."""

    def __init__(self, network, scenario, posternd, postern, workers=1):
        self.network, self.postern, self.sockets = network, postern, {}
        self.folder = tempfile.TemporaryDirectory(prefix="postern-live-", dir=sides.MEMORY)
        folder = pathlib.Path(self.folder.name)
        devices = (f'device = "net_af_packet{number},iface=p-{port["name"]}"'
                   for number, port in enumerate(network.ports))
        conf = re.sub(r'device = "[^"]*"', lambda _: next(devices), scenario.conf_text)
        conf = conf.replace('"rules.v', f'"{folder}/rules.v')
        if scenario.sysctl_text:
            conf += f'sysctl_files = [ "{folder}/sysctl.conf" ];\n'
        cpus = os.cpu_count() or 1
        conf += SETTINGS.format(dir=folder, neighbors=neighbors(scenario), mbufs=8192 * workers,
                                workers=", ".join(str(i % cpus) for i in range(workers)))
        for name, text in (("postern.conf", conf), ("rules.v4", scenario.rules4),
                           ("rules.v6", scenario.rules6), ("sysctl.conf", scenario.sysctl_text)):
            (folder / name).write_text(text)
        self.log = open(folder / "log", "w+b")
        self.child = self._start(posternd, folder)

    def _start(self, posternd, folder):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(folder / "notify"))
            notify.settimeout(1)
            child = subprocess.Popen(
                ["ip", "netns", "exec", self.network.name, posternd, "-c", folder / "postern.conf"],
                stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True,
                env={**os.environ, "NOTIFY_SOCKET": str(folder / "notify")})
            end = time.monotonic() + 60
            while child.poll() is None and time.monotonic() < end:
                try:
                    if b"READY=1" in notify.recv(4096):
                        return child
                except TimeoutError:
                    pass
        child.kill()
        child.wait()
        self.log.seek(0)
        raise LiveError(self.log.read().decode(errors="replace"))

    def tool(self, *arguments):
        return oracle.run(str(self.postern), "--socket", f"{self.folder.name}/postern.sock", *arguments)

    def open(self):
        """The sockets, once the twins are there."""
        for port in self.network.ports:
            self.sockets[port["name"]] = self.network.socket(f"x-{port['name']}")
            self.sockets[f"host:{port['name']}"] = self.network.socket(port["name"])

    def send(self, port, frame, expected):
        """[(port, network packet)] that came out."""
        try:
            self.sockets[port].send(frame)
        except OSError:
            pass  # longer than the interface takes, or shorter than a header
        found, end = [], time.monotonic() + (ANSWER if expected else QUIET)
        while True:
            ready, _, _ = select.select(list(self.sockets.values()), [], [],
                                        max(0.0, end - time.monotonic()))
            if not ready:
                return found
            for name, one in self.sockets.items():
                if one in ready:
                    found += [(name, packet) for packet in self._read(one)]
            if len(found) >= expected:
                end = time.monotonic() + QUIET

    @staticmethod
    def _read(one):
        packets = []
        while True:
            try:
                data, address = one.recvfrom(65536)
            except BlockingIOError:
                return packets
            asks = data[12:14] == b"\x86\xdd" and data[20:21] == b"\x3a" and data[54:55] in b"\x87\x88"
            if address[2] != PACKET_OUTGOING and data[12:14] in (b"\x08\x00", b"\x86\xdd") and not asks:
                packets.append(data[14:])

    def close(self):
        for one in self.sockets.values():
            one.close()
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.log.close()
        self.folder.cleanup()


def run(scenario, network, programs, kernel_result, workers):
    """A Result, as sides.run_kernel makes one."""
    daemon = Daemon(network, scenario, *programs, workers)
    try:
        daemon.tool("sysctl", "-w", "net.ipv4.icmp_ratelimit=0")
        daemon.open()
        result = results.Result(len(scenario.steps))
        emitted, before = {}, 0.0
        vocabulary, started = Vocabulary(emitted), time.time()
        for index, step in enumerate(scenario.steps):
            port, packet = scenario.build(index, vocabulary)
            result.sent[index] = (port, packet)
            if step.time - before >= sides.REAL_GAP:
                time.sleep(max(0.0, started + step.time - time.time()))
            before, result.times[index] = step.time, time.time()
            result.out[index] = emitted[index + 1] = daemon.send(
                port, scenario.frame(port, packet), len(kernel_result.out[index]))
        result.conntrack = results.connection_lines(
            "".join(daemon.tool("conntrack", "-L", "-f", f"ipv{family}") for family in (4, 6)))
        for family, tool in ((4, "iptables-save"), (6, "ip6tables-save")):
            results.parse_counters(daemon.tool(tool, "-c"), family, result.counters)
        return result
    finally:
        daemon.close()


def fits(scenario):
    """Whether frames of the scenario can be put on a wire and reach posternd as they are: DPDK's
    af_packet driver has the kernel reassemble IPv4 (PACKET_FANOUT_FLAG_DEFRAG)."""
    if scenario.has_fragments() and scenario.rules4:
        return False
    words = " ".join(step.expression for step in scenario.steps)
    return not any(word in words for word in ("cut(", "scapy")) and \
        not any(group in scenario.conf for group in ("dataplane", "system", "log", "neighbors"))


def compare(sample, posternd, postern, workers=1):
    """Prints and counts; the exit status. What differs once but not twice was the clock."""
    programs = (pathlib.Path(posternd).resolve(), pathlib.Path(postern).resolve())
    namespaces, network = comparisons.Namespaces(), None
    passed, failed, packets = 0, 0, 0
    try:
        for scenario in filter(fits, sample):
            first = sides.run_kernel(scenario, namespaces.get(scenario), patient=True)
            if comparisons.talks_to_itself(first):
                continue
            if network is None or network.ports != scenario.conf["ports"]:
                if network:
                    network.close()
                network = Network(scenario.conf["ports"])
            strict = scenarios.with_conf(scenario, 'nat: { port_preservation = "strict"; };\n')
            for _ in range(2):
                result = run(strict if workers > 1 else scenario, network, programs, first, workers)
                wrong = results.compare(scenario, first, result)
                if not wrong:
                    break
            passed, failed, packets = passed + (not wrong), failed + bool(wrong), \
                packets + len(scenario.steps)
            print(f"{'FAIL' if wrong else 'PASS'} live {scenario.name}", *wrong[:20], sep="\n    ",
                  flush=True)
    finally:
        if network:
            network.close()
    print(f"figures: {passed + failed} rule sets, {packets} packets in")
    print(f"differential live: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0
