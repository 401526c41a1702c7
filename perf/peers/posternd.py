"""posternd as a black box: its configuration, its sockets, its counters."""

import json
import time

from . import processes, rules

CONF = """
system:    {{ control_socket = "{dir}/postern.sock"; metrics = ""; state_dir = "{dir}"; }};
dataplane: {{ workers = [ {cpu} ]; main_core = {main}; hugepages = false; memory_mb = {memory};
             mbufs = {mbufs}; idle = "poll"; }};
conntrack: {{ nf_conntrack_max = {max}; nf_conntrack_udp_timeout = 600;
             nf_conntrack_udp_timeout_stream = 600; }};
ports: (
  {{ name = "wan0"; device = "net_pcap0,rx_pcap={captures}/wan.pcap,infinite_rx=1";
    mac = "02:00:00:00:00:01"; host = false; addresses = [ "203.0.113.2/24" ]; }},
  {{ name = "lan0"; device = "net_pcap1,rx_pcap={captures}/lan.pcap,infinite_rx=1";
    mac = "02:00:00:00:00:02"; host = false; addresses = [ "192.0.2.1/24" ]; }}
);
routes: ( {{ prefix = "0.0.0.0/0"; via = "203.0.113.1"; }},
          {{ prefix = "198.18.0.0/16"; via = "192.0.2.2"; }} );
neighbors: ( {{ address = "203.0.113.1"; mac = "02:00:00:00:00:11"; port = "wan0"; }},
             {{ address = "192.0.2.2"; mac = "02:00:00:00:00:12"; port = "lan0"; }} );
rules: {{ ipv4 = "{dir}/rules.v4"; }};
"""


class Posternd:

    def __init__(self, bed):
        self.bed = bed
        self.socket = bed.folder / "postern.sock"

    def write_files(self):
        bed = self.bed
        (bed.folder / "postern.conf").write_text(
            CONF.format(dir=bed.folder, captures=bed.captures, cpu=bed.cpu, main=bed.main,
                        mbufs=bed.mbufs, memory=512 + bed.buffer_mb // 2,
                        max=max(bed.flows * 5 // 4, 65536)))
        (bed.folder / "rules.v4").write_text(rules.text(bed.rules, bed.nat))

    def status(self):
        return json.loads(processes.run(self.bed.build / "app" / "postern", "--socket", self.socket,
                                        "status", "--json"))

    def passed(self):
        """Frames sent so far. net_pcap without a file counts what it swallows as sent."""
        return sum(port["tx_packets"] for port in self.status()["ports"])

    def drops(self):
        return sum(sum(port["drops"].values()) for port in self.status()["ports"])

    def knows_all(self, daemon):
        if daemon.poll() is not None:
            raise RuntimeError("posternd ended: " + (self.bed.folder / "log").read_text())
        return (self.socket.exists()
                and self.status()["conntrack"]["entries"] >= self.bed.flows)

    def measure(self):
        self.write_files()
        # In a network of its own: a crash leaves nothing in the machine's.
        command = ["ip", "netns", "exec", self.bed.name, self.bed.build / "app" / "posternd", "-c",
                   self.bed.folder / "postern.conf"]
        with (processes.namespace(self.bed.name),
              processes.running(command, self.bed.folder / "log") as daemon):
            processes.wait_until(lambda: self.knows_all(daemon), 300, "all flows are known")
            # Two seconds after its first packet a UDP connection becomes a stream, by a packet that
            # goes the slow way.
            time.sleep(2.5)
            # Every connection once more on both sides: paths are remembered then.
            seen = self.passed()
            processes.wait_until(lambda: self.passed() > seen + 4 * self.bed.flows, 300,
                                 "packets pass")
            time.sleep(0.3)
            dropped = self.drops()
            sample = processes.measure(daemon.pid, self.passed, self.bed.seconds)
            if self.drops() != dropped:
                raise RuntimeError(f"posternd dropped {self.drops() - dropped} packets")
            return sample


def measure(bed):
    return Posternd(bed).measure()
