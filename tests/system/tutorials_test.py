#!/usr/bin/python3
"""Three tutorials on stateful filtering, typed command by command on a running posternd and, beside it,
on the kernel's netfilter (iptables-nft, conntrack) in namespaces of the same shape, with real clients and
servers. Every screen and exit status must be the same; what may differ is taken out by name
(tutorial_pair.py).

usage: tutorials_test.py BUILD_DIR [SECTION...]      Root.

Left out: `postern lint`, which doesn't exist yet.
"""

import os
import re
import sys
import traceback

import lab as labs
from tutorial_pair import (WEB, Differs, Pair, connections, events, no_counters, no_saved_counters,
                           statistics)
from tutorial_rules import EDGE, LOGS, NAT
from tutorial_troubles import section_restart, section_rotation, section_trouble


def section_a(pair):
    """How connection tracking thinks."""
    pair.typed("sysctl net.netfilter.nf_conntrack_tcp_loose=1")
    pair.first_namespace_only("net.netfilter.nf_conntrack_max", 65536)
    pair.script("""
        iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
        iptables -A OUTPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
        iptables -A INPUT -p tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
        iptables -P INPUT DROP
        iptables -P FORWARD DROP
        """)
    pair.traffic("open", lambda twin: twin.what("outside", "203.0.113.2", 22))
    pair.traffic("timeout", lambda twin: twin.what("outside", "203.0.113.2", 80))
    # The port that nobody may reach leaves no entry; the ssh connection is there.
    pair.typed("conntrack -L", connections)
    pair.typed("conntrack -L -p tcp", connections)
    pair.script("""
        iptables -A OUTPUT -p tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT
        iptables -A OUTPUT -p tcp --dport 443 -m conntrack --ctstate NEW -j ACCEPT
        iptables -P OUTPUT DROP
        """)
    pair.traffic("web: you are 203.0.113.2", lambda twin: twin.page("appliance", WEB))
    pair.traffic("refused", lambda twin: twin.what("appliance", "198.51.100.7", 443))
    pair.traffic("timeout", lambda twin: twin.what("appliance", "198.51.100.7", 8443))
    # An ICMP error is RELATED: the port unreachable comes through INPUT.
    pair.typed("iptables -A OUTPUT -p udp --dport 9 -m conntrack --ctstate NEW -j ACCEPT")
    pair.traffic("ECONNREFUSED", lambda twin: twin.on(
        "appliance", *labs.HELPER, "udp", "203.0.113.1", 9).stdout.strip())
    pair.typed("conntrack -L", connections)
    pair.typed("conntrack -L -p udp", connections)
    pair.typed("iptables -L -n -v", no_counters)
    pair.typed("iptables -L")
    pair.typed("iptables -S")


TUNING = """net.netfilter.nf_conntrack_tcp_timeout_established = 7440
net.netfilter.nf_conntrack_tcp_timeout_time_wait = 120
net.netfilter.nf_conntrack_udp_timeout = 30
net.netfilter.nf_conntrack_udp_timeout_stream = 120
"""
# Read-only for the kernel in any namespace but the first.
SIZES = "net.netfilter.nf_conntrack_max = 262144\nnet.netfilter.nf_conntrack_buckets = 65536\n"


MONITOR = """#!/bin/bash
count=$(sysctl -n net.netfilter.nf_conntrack_count)
maximum=$(sysctl -n net.netfilter.nf_conntrack_max)
percent=$((count * 100 / maximum))
echo "Connections: $count of $maximum ($percent%)"
if [ "$percent" -gt 80 ]; then echo "WARNING: the table is over 80% full"; fi
echo "By protocol and state:"
conntrack -L -o extended 2>/dev/null |
  awk '{print $3, ($3 == "tcp" ? $6 : "-")}' | sort | uniq -c | sort -rn | head -10
"""


def section_b(pair):
    """A complete edge firewall."""
    pair.script(EDGE)
    pair.files("sysctl.conf", "net.ipv4.ip_forward=1\n")
    pair.typed("sysctl -p")
    pair.script(NAT)
    pair.files("sysctl.d/99-conntrack.conf", TUNING)
    pair.typed("sysctl -p /etc/sysctl.d/99-conntrack.conf")
    (pair.postern.dir / "etc/sysctl.d/99-sizes.conf").write_text(SIZES)
    done = pair.postern.typed("sysctl -p /etc/sysctl.d/99-sizes.conf")
    if (done.returncode, done.stdout, done.stderr) != (0, SIZES, ""):
        raise Differs(f"sysctl -p of the sizes: {done}")
    pair.script(LOGS)

    # Traffic of every kind that the tutorial has in mind.
    for _ in range(5):
        pair.traffic("open", lambda twin: twin.what("outside", "203.0.113.2", 22))
    pair.traffic("open", lambda twin: twin.what("outside", "203.0.113.2", 80))
    pair.traffic("timeout", lambda twin: twin.what("outside", "203.0.113.2", 9090))
    pair.traffic("web: you are 203.0.113.2", lambda twin: twin.page("inside", WEB))
    pair.traffic("inner: you are 203.0.113.1",
                 lambda twin: twin.page("outside", "http://203.0.113.2:8080/"))
    pair.traffic("SSH-2.0-inner / you said hello", lambda twin: twin.on(
        "outside", *labs.HELPER, "login", "203.0.113.2", 2222, "203.0.113.1").stdout.strip())

    pair.typed("conntrack -L", connections)
    pair.typed("conntrack -L -p tcp", connections)
    pair.typed("conntrack -L -p udp", connections)
    pair.typed("conntrack -L -o extended", connections)
    pair.typed("conntrack -L -p tcp -o extended 2>/dev/null | cut -d' ' -f1-4 | sort | uniq -c")
    pair.overheard("conntrack -E", lambda twin: [
        twin.page("inside", WEB), twin.page("outside", "http://203.0.113.2:8080/")], events)
    pair.typed("conntrack -S", statistics)
    pair.typed("iptables -L -n -v --line-numbers", no_counters)
    pair.typed("iptables -L -n -v", no_counters)
    pair.typed("iptables -t nat -L -n -v", no_counters)
    dead_rules(pair)
    log_lines(pair)
    monitoring(pair)


def dead_rules(pair):
    """recent and connlimit stand behind the ACCEPT rules of their ports: nothing ever reaches them."""
    for twin in (pair.postern, pair.kernel):
        listing = twin.typed("iptables -L INPUT -n -v -x").stdout
        rows = [line.split() for line in listing.splitlines() if re.search("recent|conn src", line)]
        if len(rows) != 3 or any(row[:2] != ["0", "0"] for row in rows):
            raise Differs(f"dead rules with {twin.kind}:\n{listing}")


def log_lines(pair):
    text = (pair.postern.dir / "firewall.log").read_text()
    for wanted in (r"SSH-NEW-CONNECTION: IN=eth0 OUT= MAC=\S+ SRC=203\.0\.113\.1 DST=203\.0\.113\.2 .* DPT=22 ",
                   r"iptables-INPUT-denied: IN=eth0 OUT= .* DPT=9090 "):
        if not re.search(wanted, text):
            raise Differs(f"no line {wanted} in the log:\n{text}")


def monitoring(pair):
    """A script like the tutorial's: count, maximum, percentage, the most frequent connections."""
    for twin in (pair.postern, pair.kernel):
        (twin.dir / "etc/monitor.sh").write_text(MONITOR)
    # The kernel counts what has expired until it comes by to collect it.
    ours = pair.typed("bash /etc/monitor.sh", lambda text: re.sub(r"^Connections: \d+", "Connections: N", text))
    if not re.match(r"Connections: \d+ of 262144 \(0%\)\nBy protocol and state:\n +\d+ tcp ", ours):
        raise Differs(f"the monitoring script says:\n{ours}")
    pair.first_namespace_only("net.netfilter.nf_conntrack_max", 5)
    said = pair.postern.typed("bash /etc/monitor.sh").stdout
    if "WARNING" not in said:
        raise Differs(f"no warning:\n{said}")
    pair.first_namespace_only("net.netfilter.nf_conntrack_max", 262144)


def section_c(pair):
    """The state rule, checked."""
    for program, out in (("iptables", "198.51.100.7"), ("ip6tables", "[2001:db8:1::1]")):
        pair.script(f"""
            {program} -A INPUT -i lo -j ACCEPT
            {program} -A INPUT -p tcp --dport 22 -j ACCEPT
            """)
        if program == "ip6tables":
            # Without it there is no neighbour to talk to.
            pair.typed("ip6tables -A INPUT -p icmpv6 -j ACCEPT")
        listed = pair.typed(f"{program} -S INPUT").splitlines()
        if listed[:3] != ["-P INPUT ACCEPT", "-A INPUT -i lo -j ACCEPT",
                          "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT"]:
            raise Differs(f"{program} -S INPUT: {listed}")
        pair.typed(f"{program} -C INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")
        pair.typed(f"{program} -I INPUT 1 -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")
        pair.typed(f"{program} -C INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")
        pair.typed(f"{program} -P INPUT DROP")
        pair.typed(f"{program} -Z INPUT")
        pair.traffic(True, lambda twin, to=out: twin.page("appliance", f"http://{to}/").startswith("web:"))
        counted(pair, program)
        for address in {"iptables": ["203.0.113.2"], "ip6tables": ["2001:db8:1::2"]}[program]:
            pair.traffic("timeout", lambda twin, to=address: twin.what("outside", to, 9090))
        pair.typed(f"{program}-save", no_saved_counters)
        pair.typed(f"{program}-save -c -t filter", no_saved_counters)


def counted(pair, program):
    """The state rule has let the answers in; nothing else has counted. (To itself the appliance speaks
    without the data path: Postern's lo row stays at zero.)"""
    for twin in (pair.postern, pair.kernel):
        listing = twin.typed(f"{program} -L INPUT -n -v --line-numbers").stdout
        rows = [line.split() for line in listing.splitlines()]
        if not (rows[0][:2] == ["Chain", "INPUT"] and rows[0][3] == "DROP" and rows[2][0] == "1"
                and int(rows[2][1]) > 2 and int(rows[2][2]) > 200 and rows[2][3] == "ACCEPT"):
            raise Differs(f"{twin.kind}:\n{listing}")
    pair.typed(f"{program} -L INPUT -n -v --line-numbers", no_counters)


SECTIONS = {"a": section_a, "b": section_b, "c": section_c, "trouble": section_trouble,
            "restart": section_restart, "rotation": section_rotation}


def main():
    if os.geteuid() != 0:
        print("skipped: needs root for network namespaces")
        return 77
    wanted = sys.argv[2:]
    passed = failed = 0
    for name, section in SECTIONS.items():
        if wanted and name not in wanted:
            continue
        with Pair(sys.argv[1], workers=1) as pair:
            try:
                section(pair)
                passed += 1
                print(f"PASS {name}: {section.__doc__.splitlines()[0]}", flush=True)
            except Exception as error:  # whatever it is, the next section still runs
                failed += 1
                known = isinstance(error, (Differs, labs.LabError))
                print(f"FAIL {name}: {error}\n{'' if known else traceback.format_exc()}", flush=True)
                print("posternd said:", *pair.postern.log().splitlines()[-10:], sep="\n    ")
    print(f"tutorials: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
