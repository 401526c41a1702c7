"""OVS-DPDK: its userspace datapath with conntrack, started privately (a database, a folder and a
network of its own; no service). Needs openvswitch-switch-dpdk, with a DPDK that has net_pcap.

It only tracks, translates and sends on: no TTL, no MAC addresses, no routes, and the rules are
those few that decide about the comparison's packets. So the comparison favours it.
"""

import contextlib
import os
import pathlib
import re
import subprocess
import time

from . import processes

DAEMON = pathlib.Path("/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk")
SCHEMA = pathlib.Path("/usr/share/openvswitch/vswitch.ovsschema")
# What its largest pool of buffers holds, beside what its queues need.
MOST_FLOWS = 24000

LAN, WAN = 1, 2
WAN_ADDRESS = "203.0.113.2"


def missing(flows):
    """Why it can't run, or None."""
    if not DAEMON.exists() or not SCHEMA.exists():
        return "not installed (apt-get install openvswitch-switch-dpdk)"
    if flows > MOST_FLOWS:
        return f"its buffers don't hold captures of more than {MOST_FLOWS} flows"
    return None


def flows_text(nat):
    """OpenFlow: the stateful edge rules as far as they concern the comparison."""
    lookup = "ct(table=1,nat)" if nat else "ct(table=1)"
    commit = f"ct(commit,nat(src={WAN_ADDRESS}))" if nat else "ct(commit)"
    return "\n".join([
        f"table=0,priority=10,ip,actions={lookup}",
        "table=0,priority=0,actions=drop",
        f"table=1,priority=30,ct_state=+trk+est,ip,in_port={LAN},actions=output:{WAN}",
        f"table=1,priority=30,ct_state=+trk+est,ip,in_port={WAN},actions=output:{LAN}",
        "table=1,priority=20,ct_state=+trk+inv,ip,actions=drop",
        f"table=1,priority=15,ct_state=+trk+new,tcp,in_port={LAN},tp_dst=25,actions=drop",
        f"table=1,priority=10,ct_state=+trk+new,ip,in_port={LAN},actions={commit},output:{WAN}",
        "table=1,priority=0,actions=drop",
    ]) + "\n"


class Ovs:

    def __init__(self, bed):
        self.bed, self.dir = bed, bed.folder
        self.database = f"unix:{self.dir}/db.sock"
        self.environment = dict(os.environ, OVS_RUNDIR=str(self.dir), OVS_LOGDIR=str(self.dir),
                                OVS_DBDIR=str(self.dir))

    def tool(self, program, *arguments, text=None):
        # Its answers are waited for, but never for ever.
        command = ["ip", "netns", "exec", self.bed.name, program, *[str(a) for a in arguments]]
        done = subprocess.run(command, input=text, env=self.environment, capture_output=True,
                              text=True, check=False, timeout=120)
        if done.returncode != 0:
            raise RuntimeError(f"{program} {arguments}: {done.stdout}{done.stderr}{self.log()}")
        return done.stdout

    def log(self):
        with contextlib.suppress(OSError):
            lines = (self.dir / "vswitchd.log").read_text().splitlines()
            words = ("|ERR|", "|EMER|", "EAL ARGS")
            return "\n".join(["", *[line for line in lines if any(w in line for w in words)]])
        return ""

    def vsctl(self, *arguments):
        return self.tool("ovs-vsctl", f"--db={self.database}", "--timeout=90", *arguments)

    def sent(self):
        out = self.tool("ovs-ofctl", "dump-ports", f"unix:{self.dir}/br0.mgmt")
        return sum(int(count) for count in re.findall(r"tx pkts=(\d+)", out))

    def configure(self):
        bed = self.bed
        self.vsctl("--no-wait", "init")
        memory = 1024 + bed.buffer_mb
        self.vsctl("--no-wait", "set", "Open_vSwitch", ".",
                   "other_config:dpdk-init=true",
                   f"other_config:pmd-cpu-mask={1 << bed.cpu:x}",
                   f"other_config:dpdk-lcore-mask={1 << bed.main:x}",
                   "other_config:dpdk-extra=--no-huge --legacy-mem -m " + str(memory) +
                   " --no-pci --no-shconf --no-telemetry "
                   f"--file-prefix={bed.name}")

    def add_ports(self):
        self.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev",
                   "fail-mode=secure")
        for number, name in ((LAN, "lan"), (WAN, "wan")):
            devargs = f"net_pcap{number},rx_pcap={self.bed.captures}/{name}.pcap,infinite_rx=1"
            self.vsctl("add-port", "br0", f"{name}0", "--", "set", "Interface", f"{name}0",
                       "type=dpdk", f"ofport_request={number}",
                       f'options:dpdk-devargs="{devargs}"')
        error = self.vsctl("--columns=name,error", "list", "Interface")
        if "Error" in error or "failed" in error.lower():
            raise RuntimeError(f"OVS can't open the ports: {error}{self.log()}")
        self.tool("ovs-ofctl", "del-flows", f"unix:{self.dir}/br0.mgmt")
        self.tool("ovs-ofctl", "add-flows", f"unix:{self.dir}/br0.mgmt", "-",
                  text=flows_text(self.bed.nat))

    def connections(self):
        return int(self.tool("ovs-appctl", "-t", self.dir / "vswitchd.ctl", "dpctl/ct-get-nconns",
                             "netdev@ovs-netdev"))

    def measure(self):
        bed = self.bed
        processes.run("ovsdb-tool", "create", self.dir / "conf.db", SCHEMA)
        enter = ["ip", "netns", "exec", bed.name]
        database = [*enter, "ovsdb-server", self.dir / "conf.db",
                    f"--remote=punix:{self.dir}/db.sock", f"--unixctl={self.dir}/db.ctl"]
        switch = [*enter, DAEMON, self.database, f"--unixctl={self.dir}/vswitchd.ctl"]
        with processes.namespace(bed.name), processes.running(
                database, self.dir / "db.log", self.environment):
            processes.wait_until((self.dir / "db.sock").exists, 30, "ovsdb-server is up")
            self.configure()
            with processes.running(switch, self.dir / "vswitchd.log", self.environment) as daemon:
                processes.wait_until((self.dir / "vswitchd.ctl").exists, 30, "ovs-vswitchd is up")
                self.add_ports()
                processes.wait_until(lambda: self.connections() >= bed.flows, 120,
                                     "OVS knows all flows")
                # Every connection once more on both sides, and what the datapath caches.
                seen = self.sent()
                processes.wait_until(lambda: self.sent() > seen + 4 * bed.flows, 120,
                                     "packets pass")
                time.sleep(1)
                return processes.measure(daemon.pid, self.sent, bed.seconds)


def measure(bed):
    return Ovs(bed).measure()
