#!/usr/bin/python3
"""Three tutorials on stateful filtering, typed command by command on a running posternd and, beside it,
on the kernel's netfilter (iptables-nft, conntrack) in namespaces of the same shape, with real clients and
servers. Every screen and exit status must be the same; what may differ is taken out by name below.

usage: tutorials_test.py BUILD_DIR [SECTION...]      Root.

Left out: FTP (Postern has no helpers yet) and `postern lint`, which doesn't exist yet.
"""

import concurrent.futures
import gzip
import os
import pathlib
import re
import signal
import sys
import time
import traceback

import lab as labs
import twins

WEB = "http://198.51.100.7/"


class Differs(Exception):
    """A screen or what traffic met; the message shows both."""


def plain(text):
    """Without versions, dates and columns' widths that depend on them."""
    text = re.sub(r"\((nf_tables|postern)\)", "(…)", text)
    return re.sub(r"(?m)^(# (?:Generated|Completed).*) on .*$", r"\1", text)


def no_counters(text):
    """Zero or not, for rows that count every packet of a connection; exact elsewhere.

    How many packets a TCP connection takes depends on the two stacks' timing; how many first packets
    there were doesn't."""
    lines = []
    for line in plain(text).splitlines():
        if re.match(r"Chain \S+ \(policy", line):
            line = re.sub(r"[\d.]+[KMG]? packets, [\d.]+[KMG]? bytes", "N packets, N bytes", line)
        elif re.search(r" 58 ", line):  # neighbours are looked for when the stack feels like it
            line = re.sub(r"^( *\d+)? +\S+ +\S+ (?=\w)", lambda m: f"{m[1] or ''} N ", line)
        elif re.search(r"ESTABLISHED|192\.168\.1\.0/24| lo ", line):
            line = re.sub(r"^( *\d+)?( +)([\d.]+[KMG]?) +([\d.]+[KMG]?) (?=\w)",
                          lambda m: f"{m[1] or ''} {'some' if m[3] != '0' else 'none'} ", line)
        lines.append(re.sub(r" +", " ", line))
    return "\n".join(lines)


def no_saved_counters(text):
    return re.sub(r"\[\d+:\d+\]", "[N:N]", plain(text))


def connections(text):
    """As a set: without timeouts and the clients' ports."""
    text = re.sub(r"\b(sport|dport)=(\d{5})\b", r"\1=P", text)
    text = re.sub(r"(?m)^(\S+ +\d+) \d+ ", r"\1 T ", text)
    text = re.sub(r"(?m)^(\S+ +\d+ \S+ +\d+) \d+ ", r"\1 T ", text)
    text = re.sub(r"(\bid)=\d+", r"\1=I", text)
    return "\n".join(sorted(set(text.splitlines())))


def events(text):
    """As a set: without the states that two FINs and their ACKs pass in one order or another, and
    without the ends of earlier connections, which nobody hurries to see."""
    lines = [line for line in connections(re.sub(r"(?m)^( *\[\w+\] )", r"\1", text)).splitlines()
             if not re.search("CLOSE_WAIT|LAST_ACK|DESTROY|flow events", line)]
    return "\n".join(sorted({re.sub(r"(\] \w+ +\d+) \d+ ", r"\1 T ", line) for line in lines}))


def statistics(text):
    """The names of the columns: the kernel has a line a CPU, Postern one a worker."""
    return " ".join(re.findall(r"([a-z_]+)=\d+", text.splitlines()[0]))


class Pair:
    """Both appliances."""

    def __init__(self, build, workers):
        self.postern, self.kernel = twins.PosternTwin(build, workers), twins.KernelTwin(build)

    def __enter__(self):
        try:
            for twin in (self.postern, self.kernel):
                twin.make_network()
                twin.begin()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.postern.close()
        self.kernel.close()

    def typed(self, line, normal=plain, error=plain):
        """Types it on both and compares; Postern's standard output."""
        ours, theirs = (twin.typed(line) for twin in (self.postern, self.kernel))
        for what, a, b in (("status", ours.returncode, theirs.returncode),
                           ("output", normal(ours.stdout), normal(theirs.stdout)),
                           ("standard error", error(ours.stderr), error(theirs.stderr))):
            if a != b:
                raise Differs(f"{line}\n{what} of Postern:\n{a}\nof the kernel:\n{b}")
        return ours.stdout

    def overheard(self, line, act, normal):
        """Types a line that listens on both, lets something happen and compares what was heard."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            heard = [pool.submit(twin.typed, f"timeout -s INT 8 {line}")
                     for twin in (self.postern, self.kernel)]
            time.sleep(3)  # until both listen
            for twin in (self.postern, self.kernel):
                act(twin)
            ours, theirs = (normal(future.result().stdout) for future in heard)
        if ours != theirs or not ours:
            raise Differs(f"{line}\nby Postern:\n{ours}\nby the kernel:\n{theirs}")

    def script(self, text):
        for line in text.strip().splitlines():
            self.typed(line.strip())

    def first_namespace_only(self, name, value):
        """A name that the kernel lets only the machine's first namespace set."""
        done = self.postern.typed(f"sysctl {name}={value}")
        if (done.returncode, done.stdout, done.stderr) != (0, f"{name} = {value}\n", ""):
            raise Differs(f"sysctl {name}={value}: {done}")

    def traffic(self, expected, act):
        """What a client meets, on both."""
        met = [act(self.postern), act(self.kernel)]
        if met != [expected, expected]:
            raise Differs(f"expected {expected}, with Postern {met[0]}, with the kernel {met[1]}")

    def files(self, name, text):
        for twin in (self.postern, self.kernel):
            (twin.dir / "etc" / name).write_text(text)


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


EDGE = """
    iptables -F ; iptables -X ; iptables -t nat -F ; iptables -t nat -X
    iptables -P INPUT DROP ; iptables -P FORWARD DROP ; iptables -P OUTPUT ACCEPT
    iptables -A INPUT -i lo -j ACCEPT ; iptables -A OUTPUT -o lo -j ACCEPT
    iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
    iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
    iptables -A INPUT -p tcp --dport 22 -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT
    iptables -A INPUT -p tcp --dport 80 -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT
    iptables -A INPUT -p tcp --dport 443 -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT
    iptables -A INPUT -p udp --dport 53 -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT
    iptables -A INPUT -p tcp --dport 53 -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT
    iptables -A INPUT -p tcp --dport 22 -m conntrack --ctstate NEW -m recent --set
    iptables -A INPUT -p tcp --dport 22 -m conntrack --ctstate NEW -m recent --update --seconds 60 --hitcount 4 -j DROP
    iptables -A INPUT -p tcp --dport 80 -m conntrack --ctstate NEW -m connlimit --connlimit-above 20 -j REJECT
    iptables -A INPUT -m conntrack --ctstate INVALID -j DROP ; iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP
    """
NAT = """
    iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE
    iptables -A FORWARD -s 192.168.1.0/24 -j ACCEPT
    iptables -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 192.168.1.100:80
    iptables -A FORWARD -p tcp -d 192.168.1.100 --dport 80 -m conntrack --ctstate NEW,ESTABLISHED,RELATED -j ACCEPT
    iptables -t nat -A PREROUTING -p tcp --dport 2222 -j DNAT --to-destination 192.168.1.101:22
    iptables -A FORWARD -p tcp -d 192.168.1.101 --dport 22 -m conntrack --ctstate NEW,ESTABLISHED,RELATED -j ACCEPT
    """
LOGS = """
    iptables -A INPUT -m limit --limit 5/min -j LOG --log-prefix "iptables-INPUT-denied: " --log-level 4
    iptables -A FORWARD -m limit --limit 5/min -j LOG --log-prefix "iptables-FORWARD-denied: " --log-level 4
    iptables -I INPUT -m conntrack --ctstate INVALID -m limit --limit 2/min -j LOG --log-prefix "iptables-INVALID: "
    iptables -I INPUT -p tcp --dport 22 -m conntrack --ctstate NEW -j LOG --log-prefix "SSH-NEW-CONNECTION: "
    """
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


def section_trouble(pair):
    """The troubles that the tutorial promises to explain, each seen on both where both can have it."""
    # Services unreachable without the ESTABLISHED rule.
    pair.typed("iptables -P INPUT DROP")
    pair.traffic("timeout", lambda twin: twin.what("appliance", "198.51.100.7", 80))
    pair.typed("iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")
    pair.traffic("open", lambda twin: twin.what("appliance", "198.51.100.7", 80))
    # NAT without forwarding.
    pair.typed("iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE")
    pair.typed("sysctl net.ipv4.ip_forward=0")
    pair.traffic("timeout", lambda twin: twin.what("inside", "198.51.100.7", 80))
    pair.typed("sysctl -w net.ipv4.ip_forward=1")
    pair.traffic("web: you are 203.0.113.2", lambda twin: twin.page("inside", WEB))
    # DNAT without a FORWARD rule.
    pair.typed("iptables -P FORWARD DROP")
    pair.typed("iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")
    pair.typed("iptables -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 192.168.1.100:80")
    pair.traffic("timeout", lambda twin: twin.what("outside", "203.0.113.2", 8080))
    pair.typed("iptables -A FORWARD -p tcp -d 192.168.1.100 --dport 80 -m conntrack --ctstate NEW -j ACCEPT")
    pair.traffic("inner: you are 203.0.113.1",
                 lambda twin: twin.page("outside", "http://203.0.113.2:8080/"))
    table_full(pair.postern)
    memory(pair.postern)


def table_full(twin):
    """The kernel's maximum is the whole machine's: only Postern is asked."""
    twin.typed("sysctl net.netfilter.nf_conntrack_max=2")
    holder = twin.spawn("outside", *labs.HELPER, "hold", "203.0.113.2", 8080, 4)
    try:
        for _ in range(60):
            text = (twin.dir / "firewall.log").read_text() if (twin.dir / "firewall.log").exists() else ""
            if "nf_conntrack: table full, dropping packet" in text:
                break
            time.sleep(0.2)
        else:
            raise Differs(f"no 'table full' in the log:\n{text}")
    finally:
        holder.kill()
        holder.wait()
        twin.children.remove(holder)
    twin.typed("conntrack -F ; sysctl net.netfilter.nf_conntrack_max=262144")
    if twin.what("outside", "203.0.113.2", 8080) != "open":
        raise Differs("after the maximum was raised nothing flows")


def memory(twin):
    """More than posternd has reserved memory for is refused, with the reason."""
    done = twin.typed("sysctl net.netfilter.nf_conntrack_max=2000000000")
    if done.returncode != 1 or "reserved memory" not in done.stderr:
        raise Differs(f"nf_conntrack_max beyond the memory: {done}")


def section_restart(pair):
    """Rules saved are back after a restart; rules that were not saved aren't."""
    twin = pair.postern
    script = twin.dir / "etc/firewall.sh"
    script.write_text("#!/bin/sh\n" + EDGE + NAT + LOGS)
    for save in ("iptables-save > /etc/iptables/rules.v4", "netfilter-persistent save", "postern save"):
        twin.typed("bash /etc/firewall.sh")
        before = no_saved_counters(twin.typed("iptables-save").stdout)
        (twin.dir / "etc/iptables/rules.v4").write_text(twins.EMPTY)
        done = twin.typed(save)
        if done.returncode != 0:
            raise Differs(f"{save}: {done}")
        twin.typed("iptables -A INPUT -p tcp --dport 7777 -j ACCEPT")
        if twin.stop(signal.SIGTERM) != 0:
            raise Differs("posternd ended badly")
        twin.start()
        after = no_saved_counters(twin.typed("iptables-save").stdout)
        if before != after:
            raise Differs(f"{save}\nbefore the restart:\n{before}\nafter it:\n{after}")
        if twin.page("outside", "http://203.0.113.2:8080/") != "inner: you are 203.0.113.1":
            raise Differs("after the restart nothing flows")
    counters_survive(twin)
    mode = (twin.dir / "etc/iptables/rules.v4").stat().st_mode & 0o777
    if mode != 0o640:
        raise Differs(f"the saved file's mode is {mode:o}")


LOGROTATE = """{dir}/firewall.log {{
    daily
    rotate 30
    compress
    missingok
    notifempty
    create 0640 root adm
    postrotate
        kill -USR1 {pid}
    endscript
}}
"""


def section_rotation(pair):
    """The log has a file of its own; logrotate moves it, posternd goes on in the new one."""
    twin = pair.postern
    twin.typed('iptables -A INPUT -p tcp --dport 9090 -j LOG --log-prefix "before: "')
    twin.what("outside", "203.0.113.2", 9090)
    unsaved = twin.typed("iptables-save").stdout
    (twin.dir / "logrotate.conf").write_text(LOGROTATE.format(dir=twin.dir, pid=daemon_pid(twin)))
    log = twin.dir / "firewall.log"
    for turn in (1, 2):
        wait_for_line(log, "DPT=9090")
        labs.run("logrotate", "-f", "-s", twin.dir / "logrotate.state", twin.dir / "logrotate.conf")
        time.sleep(0.3)
        twin.what("outside", "203.0.113.2", 9090)
        wait_for_line(log, "DPT=9090")
        if log.stat().st_mode & 0o777 != 0o640:
            raise Differs(f"the new file's mode is {log.stat().st_mode:o}")
        for number in range(1, turn + 1):
            old = twin.dir / f"firewall.log.{number}.gz"
            if b"before: IN=eth0" not in gzip.open(old).read():
                raise Differs(f"{old.name} has no line of the rule")
    if no_saved_counters(unsaved) != no_saved_counters(twin.typed("iptables-save").stdout):
        raise Differs("the rotation has changed the rules in force")


def daemon_pid(twin):
    """`ip netns exec` execs: the child is posternd itself."""
    name = pathlib.Path(f"/proc/{twin.daemon.pid}/comm").read_text().strip()
    if name != "posternd":
        raise Differs(f"process {twin.daemon.pid} is {name}")
    return twin.daemon.pid


def wait_for_line(path, wanted):
    for _ in range(50):
        if path.exists() and wanted in path.read_text():
            return
        time.sleep(0.1)
    raise Differs(f"no {wanted} in {path.name}")


def counters_survive(twin):
    """`postern save -c`: the counts go on where they were."""
    rule = r"\[(\d+):\d+\] -A FORWARD -d 192\.168\.1\.100/32 -p tcp"
    count = lambda: int(re.search(rule, twin.typed("iptables-save -c").stdout).group(1))
    before = count()
    if before == 0:
        raise Differs("nothing has counted")
    twin.typed("postern save -c")
    twin.stop()
    twin.start()
    if count() < before:
        raise Differs(f"{before} packets before the restart, {count()} after it")


SECTIONS = [(name[8:], section) for name, section in list(globals().items())
            if name.startswith("section_")]


def main():
    if os.geteuid() != 0:
        print("skipped: needs root for network namespaces")
        return 77
    wanted = sys.argv[2:]
    passed = failed = 0
    for name, section in SECTIONS:
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
