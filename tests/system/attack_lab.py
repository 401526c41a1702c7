"""The lab that attack_test.py attacks, and what is asked of it meanwhile."""

import json
import re
import subprocess
import sys
import time

import lab as labs
from lab import HERE
from steps import WEB, need

ATTACKER = [sys.executable, str(HERE / "attacker.py")]
MAX = 300
SILENT = "198.51.100.99"  # nobody answers for it
# What an attack has left is soon gone.
SHORT = {**{f"tcp_timeout_{state}": 4 for state in (
    "syn_sent", "syn_recv", "fin_wait", "close_wait", "last_ack", "time_wait", "close", "max_retrans",
    "unacknowledged")}, "tcp_timeout_established": 10, "udp_timeout": 4, "udp_timeout_stream": 4,
         "icmp_timeout": 4, "icmpv6_timeout": 4, "generic_timeout": 4, "gre_timeout": 4,
         "gre_timeout_stream": 4}
# The second host's datagrams share four ports.
RULES4 = labs.RULES4.replace(
    "-A POSTROUTING -o wan0 -j MASQUERADE",
    "-A POSTROUTING -s 192.168.1.11/32 -o wan0 -p udp -j SNAT --to-source 203.0.113.2:5000-5003\n"
    "-A POSTROUTING -o wan0 -j MASQUERADE")


class AttackLab(labs.Lab):

    def write_conf(self, extra=None):
        super().write_conf(extra)
        self.conf.write_text(self.conf.read_text().replace(
            "nf_conntrack_max = 65536;",
            f"nf_conntrack_max = {MAX}; " + " ".join(f"nf_conntrack_{name} = {seconds};"
                                                     for name, seconds in SHORT.items())))

    def lan_mac(self):
        self.on("lan1", "ping", "-c", 1, "-W", 2, "192.168.1.1")
        entries = json.loads(self.on("lan1", "ip", "-j", "neigh", "show", "192.168.1.1").stdout)
        return entries[0]["lladdr"]

    def attack(self, host, *arguments, timeout=60):
        done = self.on(host, *ATTACKER, *arguments, timeout=timeout)
        need(done.returncode == 0, done.stdout + done.stderr)
        return done.stdout.strip()

    def talk(self, seconds):
        """A conversation of the first LAN host with the WAN that goes on meanwhile."""
        child = subprocess.Popen(self.command("lan1", *ATTACKER, "talk", WEB, 7777, seconds),
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = child.stdout.readline().strip()
        need(said == "open", f"no conversation: {said}")
        return child


def heard_all(child, patience=3.0):
    words = child.communicate(timeout=60)[0].split()
    need(len(words) == 3 and words[0] == words[1] and int(words[0]) > 5 and float(words[2]) < patience,
         f"the conversation suffered: {' '.join(words)}")


def drops(lab, port="lan0"):
    return next(p["drops"] for p in lab.status()["ports"] if p["name"] == port)


def grown(lab, before, port="lan0"):
    return {reason: count - before.get(reason, 0) for reason, count in drops(lab, port).items()
            if count != before.get(reason, 0)}


def metric(lab, name):
    """The sum of a metric's samples."""
    text = lab.on("appliance", "curl", "-sS", "-m", 5, "http://127.0.0.1:9797/metrics").stdout
    found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
    need(found, f"no metric {name}")
    return sum(float(value) for value in found)


def alive(lab):
    need(lab.daemon.poll() is None, f"posternd ended with {lab.daemon.poll()}:\n{lab.log()[-6000:]}")
    for word in ("AddressSanitizer", "runtime error:"):
        need(word not in lab.log(), f"a sanitizer speaks:\n{lab.log()[-6000:]}")


def wait_until(condition, what, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        need(time.monotonic() < end, what)
        time.sleep(0.1)


def settle(lab):
    """Until the attack's connections have expired."""
    wait_until(lambda: lab.status()["conntrack"]["entries"] < MAX // 3, "the table doesn't empty", 30)


def firewall_log(lab):
    path = lab.dir / "firewall.log"
    return path.read_text() if path.exists() else ""


def link(lab, port):
    return next(p["link"] for p in lab.status()["ports"] if p["name"] == port)
