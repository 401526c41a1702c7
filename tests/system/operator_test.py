#!/usr/bin/python3
"""What an operator sees of the daemon: who may use the control socket, every metric, frames that are refused,
a neighbour that dies, and the lines of nf_conntrack_log_invalid.

usage: operator_test.py BUILD_DIR [NAME...]      Root.
"""

import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import time

import lab as labs
import steps
import suite
from attack_lab import wait_until
from steps import need

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "differential"))

import wire  # noqa: E402

LIMITERS = """
-A FORWARD -i lan0 -p tcp -m tcp --dport 81 -m limit --limit 5/sec -j ACCEPT
-A FORWARD -i lan0 -p tcp -m tcp --dport 80 -m connlimit --connlimit-above 50 --connlimit-mask 32 --connlimit-saddr -j DROP
"""
# What the design's list of metrics asks for, name by name.
METRICS = {
    "ports": ("port_up", "port_receive_packets_total", "port_transmit_packets_total",
              "port_receive_bytes_total", "port_transmit_bytes_total", "port_receive_errors_total",
              "port_transmit_errors_total", "port_receive_missed_packets_total"),
    "workers": ("worker_busy_ratio", "worker_burst_packets", "worker_handoffs_sent_total",
                "worker_handoffs_received_total", "worker_packets_total", "worker_events_lost_total"),
    "conntrack": ("conntrack_entries", "conntrack_max_entries", "conntrack_inserts_total",
                  "conntrack_deletes_total", "conntrack_early_drops_total",
                  "conntrack_table_full_drops_total", "conntrack_connections"),
    "rules": ("rule_packets_total", "rule_bytes_total"),
    "NAT": ("nat_ports_in_use", "nat_exhausted_total", "nat_connections"),
    "drops": ("dropped_packets_total",),
    "limits": ("limiter_decisions_total", "limiter_entries", "limiter_max_entries",
               "limiter_connections", "limiter_max_connections", "limiter_memory_bytes"),
    "control": ("control_reloads_total", "control_generation", "control_clients",
                "control_last_reload_successful", "control_last_reload_success_timestamp_seconds"),
    "build": ("build_info", "start_time_seconds"),
}


class OperatorLab(labs.Lab):
    """/etc/group is the lab's own, so that the group `postern` can come and go."""

    def __init__(self, build):
        rules = labs.RULES4.replace("-A FORWARD -i lan0 -o wan0 -j ACCEPT",
                                    LIMITERS.strip() + "\n-A FORWARD -i lan0 -o wan0 -j ACCEPT")
        super().__init__(build, rules4=rules)
        self.group = self.dir / "group"
        self.group.write_text(f"root:x:0:\npostern:x:{self.group_id()}:\n")
        self.daemon_prefix = ["unshare", "-m", "sh", "-c",
                              f"mount --bind {self.group} /etc/group && exec \"$@\"", "sh"]

    @staticmethod
    def group_id():
        return 4242

    def scrape(self):
        """{name: [(labels, value)]}"""
        text = self.on("appliance", "curl", "-sS", "-m", 5, "http://127.0.0.1:9797/metrics").stdout
        found = {}
        for line in text.splitlines():
            sample = re.fullmatch(r"postern_(\w+?)(?:_bucket|_sum|_count)?(\{.*\})? (\S+)", line)
            if sample:
                found.setdefault(sample[1], []).append((sample[2] or "", float(sample[3])))
        return found

    def metric(self, name, *labels):
        return sum(value for found, value in self.scrape().get(name, ())
                   if all(label in found for label in labels))

    def port_mac(self, port):
        return labs.run("ip", "-n", self.name("appliance"), "-br", "link", "show",
                        f"phy-{port[:3]}").stdout.split()[2]

    def send(self, host, frames):
        self.on(host, *labs.HELPER, "frames", "eth0", input="".join(f.hex() + "\n" for f in frames),
                check=True)

    def drops(self, port, reason):
        return next(p["drops"].get(reason, 0) for p in self.status()["ports"] if p["name"] == port)


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def begin_a_dying_neighbour(lab):
    """Somebody on the WAN asks for the appliance's MAC, so that it knows his, and is never heard of again. What
    comes of it is seen at the end: Linux and Postern give him eight seconds."""
    ours, his = mac(lab.port_mac("wan0")), mac("02:00:00:00:00:99")
    ask = (b"\xff" * 6 + his + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1) + his +
           wire.address("203.0.113.99") + bytes(6) + wire.address("203.0.113.2"))
    lab.send("wan", [ask])
    lab.dying = (time.monotonic(), lab.drops("lan0", "neighbor_unresolved"),
                 lab.log().count("neighbour: doesn't answer"), ours)
    lab.pings = subprocess.Popen(
        lab.command("lan1", "ping", "-c", 14, "-i", 1, "-W", 1, "203.0.113.99"),
        stdout=subprocess.PIPE, text=True)


def test_the_group_may_use_the_socket(lab):
    said = os.stat(lab.dir / "postern.sock")
    need((said.st_mode & 0o777, said.st_uid, said.st_gid) == (0o660, 0, lab.group_id()), said)
    need("no group postern" not in lab.log(), lab.log())
    # The build folder may be nobody else's business.
    program = shutil.copy(lab.build / "app/postern", lab.dir / "postern")
    count = [program, "--socket", f"{lab.dir}/postern.sock", "conntrack", "-C"]
    in_group = ["setpriv", "--reuid", 65534, "--clear-groups", "--regid"]
    done = lab.on("appliance", *in_group, lab.group_id(), *count)
    need(done.returncode == 0, f"a member is refused: {done.stderr}")
    done = lab.on("appliance", *in_group, 65534, *count)
    need(done.returncode != 0 and "ermission" in done.stderr, f"{done.stdout}{done.stderr}")


def echo_requests(lab):
    """How many have reached INPUT."""
    saved = lab.postern("iptables-save", "-c", check=True).stdout
    return int(re.search(r"^\[(\d+):\d+\] -A INPUT -p icmp .*--icmp-type 8 ", saved, re.MULTILINE)[1])


def test_tagged_frames_are_refused_and_counted(lab):
    ours, peer = mac(lab.port_mac("wan0")), mac("02:00:00:00:00:77")
    echo = wire.ip("203.0.113.1", "203.0.113.2", wire.ICMP,
                   wire.icmp_message("203.0.113.1", "203.0.113.2", 8, 0, b"\0\1\0\1", b"x" * 32))
    tagged = [ours + peer + struct.pack("!HHH", kind, 0x2005, 0x0800) + echo
              for kind in (0x8100, 0x88A8)]
    both = ours + peer + struct.pack("!HHHHH", 0x88A8, 5, 0x8100, 6, 0x0800) + echo
    before, answered = lab.drops("wan0", "vlan_tagged"), echo_requests(lab)
    lab.send("wan", [*tagged * 5, both])
    wait_until(lambda: lab.drops("wan0", "vlan_tagged") == before + 11,
               "not all eleven are counted")
    counted = lab.metric("dropped_packets_total", 'port="wan0"', 'reason="vlan_tagged"')
    need(counted == before + 11, f"the metric says {counted}")
    need(echo_requests(lab) == answered, "a tagged echo request reached the rules")
    steps.web_out(lab)


def test_every_metric_is_there(lab):
    steps.web_out(lab)
    lab.on("wan", *labs.HELPER, "connect", "203.0.113.2", 22)  # recent's list gets an entry
    found = lab.scrape()
    for part, names in METRICS.items():
        for name in names:
            need(found.get(name), f"{part}: no postern_{name} among {sorted(found)}")
    connlimit = 'match="connlimit"'
    need(lab.metric("limiter_entries", connlimit, 'rule="8"') >= 1, found["limiter_entries"])
    need(lab.metric("limiter_connections", connlimit, 'rule="8"') >= 1, found["limiter_connections"])
    need(lab.metric("limiter_memory_bytes", connlimit) > 10000, found["limiter_memory_bytes"])
    need(lab.metric("limiter_entries", 'match="recent"', 'list="SSH"') == 1, found["limiter_entries"])
    # Connections are counted anew every five seconds at most.
    wait_until(lambda: lab.metric("conntrack_connections", 'protocol="tcp"') >= 1, "no TCP connection is counted")


def test_invalid_packets_are_logged(lab):
    ours, peer = mac(lab.port_mac("wan0")), mac("02:00:00:00:00:77")

    def segment(flags, **more):
        return ours + peer + b"\x08\0" + wire.ip(
            "203.0.113.1", "203.0.113.2", wire.TCP,
            wire.tcp_segment("203.0.113.1", "203.0.113.2", 4000, 22, flags, seq=7, **more))

    path = lab.dir / "firewall.log"
    lines = lambda: path.read_text().count("nf_ct_proto_") if path.exists() else 0
    lab.send("wan", [segment("FA")])
    lab.postern("sysctl", "-w", "net.netfilter.nf_conntrack_log_invalid=17", check=True)
    lab.send("wan", [segment("FA")])
    lab.postern("sysctl", "-w", "net.netfilter.nf_conntrack_log_invalid=6", check=True)
    need(lab.postern("sysctl", "-n", "net.netfilter.nf_conntrack_log_invalid").stdout == "6\n", "not shown")
    lab.send("wan", [segment("FA"), segment("S", sum=0x1234), segment("SF")])
    wait_until(lambda: lines() >= 3, "not logged")
    lab.postern("sysctl", "-w", "net.netfilter.nf_conntrack_log_invalid=0", check=True)
    lab.send("wan", [segment("FA")])
    where = (rf"kernel: nf_ct_proto_6: (.*) IN=wan0 OUT= MAC={ours.hex(':')}:{peer.hex(':')}:08:00 "
             r"SRC=203\.0\.113\.1 DST=203\.0\.113\.2 LEN=40 .*PROTO=TCP SPT=4000 DPT=22 SEQ=7 ACK=0 ")
    said = re.findall(where, path.read_text())
    need(said == ["invalid new", "bad checksum", "invalid tcp flag combination"], path.read_text())


def test_a_second_one_on_the_same_socket(lab):
    """It touches nothing of the first one's."""
    done = lab.on("appliance", lab.build / "app/posternd", "-c", lab.conf)
    need(done.returncode == 1 and "postern.sock" in done.stderr, f"{done.returncode}: {done.stderr}")
    steps.web_out(lab)


def test_a_table_larger_than_the_machine(lab):
    """Refused with a sentence, before it is touched and the kernel ends whoever it likes."""
    conf = lab.dir / "huge.conf"
    conf.write_text(
        f'system: {{ control_socket = "{lab.dir}/huge.sock"; metrics = ""; state_dir = "{lab.dir}"; }};\n'
        'dataplane: { workers = [ 0 ]; hugepages = false; memory_mb = 128; mbufs = 8192; };\n'
        'ports: ( { name = "null0"; device = "net_null0"; addresses = [ "192.0.2.1/24" ]; host = false; } );\n'
        'conntrack: { nf_conntrack_max = 2000000000; };\n'
        f'rules: {{ ipv4 = "{lab.dir}/rules.v4"; }};\nlog: {{ rules_file = "{lab.dir}/huge.log"; }};\n')
    # Should it be touched after all, then it is this one that is ended.
    done = lab.on("appliance", "choom", "-n", 1000, "--", lab.build / "app/posternd", "-c", conf)
    need(done.returncode == 1 and "no memory for 2000000000 connections; lower nf_conntrack_max" in done.stderr,
         f"{done.returncode}: {done.stderr}")
    steps.web_out(lab)


def test_a_neighbour_that_dies(lab):
    began, before, told, _ = lab.dying
    said = lab.pings.communicate(timeout=30)[0]
    need("Destination Host Unreachable" in said,
         f"after {time.monotonic() - began:.0f} s:\n{said}")
    need(lab.drops("lan0", "neighbor_unresolved") > before, lab.status()["ports"])
    wait_until(lambda: lab.log().count("neighbour: doesn't answer") > told, "nothing is logged")
    need(lab.log().count("neighbour: doesn't answer") <= told + 3, "logged for every packet")
    steps.web_out(lab)


def test_without_the_group_only_root(lab):
    need(lab.stop() == 0, lab.log()[-1000:])
    lab.group.write_text("root:x:0:\n")
    lab.start()
    said = os.stat(lab.dir / "postern.sock")
    need((said.st_mode & 0o777, said.st_uid, said.st_gid) == (0o660, 0, 0), said)
    need("there is no group postern: only root may use the control socket" in lab.log(), lab.log())
    steps.web_out(lab)


if __name__ == "__main__":
    sys.exit(suite.run("operator", lambda: OperatorLab(sys.argv[1]), [sys.modules[__name__]], sys.argv[2:],
                       prepare=begin_a_dying_neighbour))
