"""The kernel's own netfilter: a router in a network namespace, between two veth pairs.

One program sends the captures' frames into both pairs (AF_PACKET); the kernel forwards each one
within the call that sends it, on the same CPU, and drops what comes out at the far end. What a
packet costs is the CPU time of that program less what it takes where the router drops each frame
as it comes in: the sender, the pair and the kernel's receive path are not counted, which favours
the kernel.
"""

import contextlib
import json
import pathlib

from . import processes, rules

MOST = pathlib.Path("/proc/sys/net/netfilter/nf_conntrack_max")


def missing(flows):
    """Why it can't run, or None."""
    # The limit is the machine's, not the namespace's: it isn't ours to change.
    most = int(MOST.read_text()) if MOST.exists() else 0
    if flows * 5 // 4 > most:
        return f"nf_conntrack_max of this machine is {most}"
    return None


class Router:

    def __init__(self, bed):
        self.bed = bed
        self.router, self.outside = f"{bed.name}r", f"{bed.name}o"

    def inside(self, namespace, *command, text=None):
        return processes.run("ip", "netns", "exec", namespace, *command, text=text)

    def link(self, port, mac, peer_mac, address):
        peer = f"{port}p"
        processes.run("ip", "-n", self.router, "link", "add", port, "address", mac, "type", "veth",
                      "peer", "name", peer, "netns", self.outside)
        processes.run("ip", "-n", self.outside, "link", "set", peer, "address", peer_mac)
        for namespace, name in ((self.router, port), (self.outside, peer)):
            self.inside(namespace, "sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1")
            processes.run("ip", "-n", namespace, "link", "set", name, "up")
        processes.run("ip", "-n", self.router, "address", "add", address, "dev", port)
        self.drop_at(self.outside, peer)

    def drop_at(self, namespace, device):
        self.inside(namespace, "nft", "-f", "-",
                    text=f"table netdev drop_{device} {{\nchain c {{\ntype filter hook ingress "
                         f"device {device} priority 0; policy drop;\n}}\n}}\n")

    def set_up(self):
        for namespace in (self.router, self.outside):
            processes.run("ip", "-n", namespace, "link", "set", "lo", "up")
        self.link("lan0", "02:00:00:00:00:02", "02:00:00:00:00:12", "192.0.2.1/24")
        self.link("wan0", "02:00:00:00:00:01", "02:00:00:00:00:11", "203.0.113.2/24")
        run = processes.run
        run("ip", "-n", self.router, "neigh", "add", "203.0.113.1", "lladdr", "02:00:00:00:00:11",
            "dev", "wan0")
        run("ip", "-n", self.router, "neigh", "add", "192.0.2.2", "lladdr", "02:00:00:00:00:12",
            "dev", "lan0")
        run("ip", "-n", self.router, "route", "add", "default", "via", "203.0.113.1")
        run("ip", "-n", self.router, "route", "add", "198.18.0.0/16", "via", "192.0.2.2")
        self.inside(self.router, "iptables-restore", text=rules.text(self.bed.rules, self.bed.nat))
        for setting in ("net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0",
                        "net.netfilter.nf_conntrack_udp_timeout=600",
                        "net.netfilter.nf_conntrack_udp_timeout_stream=600"):
            self.inside(self.router, "sysctl", "-qw", setting)

    def send(self, seconds, frames=0):
        """The sender's answer. `frames`: so many, where it isn't 0, instead of a time."""
        bed = self.bed
        return json.loads(self.inside(
            self.outside, "taskset", "-c", bed.cpu, bed.build / "perf" / "packet-sender", seconds,
            frames, "lan0p", bed.captures / "lan.pcap", "wan0p", bed.captures / "wan.pcap"))

    def forwarded(self):
        total = 0
        for device in ("lan0", "wan0"):
            total += int(self.inside(self.router, "cat",
                                     f"/sys/class/net/{device}/statistics/tx_packets"))
        return total

    def measure(self):
        self.set_up()
        # Twice through everything: all connections are known on both sides.
        self.send(0, 4 * self.bed.flows)
        before = self.forwarded()
        whole = self.send(self.bed.seconds)
        forwarded = self.forwarded() - before
        if forwarded < whole["packets"] * 0.99:
            raise RuntimeError(f"{forwarded} of {whole['packets']} packets were forwarded")
        for device in ("lan0", "wan0"):
            self.drop_at(self.router, device)
        sender = self.send(self.bed.seconds)
        cost = whole["cpu_seconds"] / forwarded - sender["cpu_seconds"] / sender["packets"]
        return processes.Sample(forwarded, whole["seconds"], cost * forwarded)


def measure(bed):
    router = Router(bed)
    with contextlib.ExitStack() as stack:
        stack.enter_context(processes.namespace(router.router))
        stack.enter_context(processes.namespace(router.outside))
        return router.measure()
