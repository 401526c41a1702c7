#!/usr/bin/python3
"""Types each line of conntrack_commands.txt to conntrack 1.4.7 on the kernel and to Postern's, and
compares exit status, output and sentences; then what both tell a listener (-E). Root.

usage: conntrack_compare.py BUILD_DIR [--workers N]

Lines are compared as sets, because a table has no order; timeouts may differ by what the typing
takes; ids and the listener's port ids are each side's own.
"""
import argparse
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time

import lab as labs

HERE = pathlib.Path(__file__).resolve().parent
SLACK = 60  # seconds that a slow machine may take between the same command on both sides
CONF = """
system:    {{ control_socket = "{dir}/postern.sock"; metrics = ""; state_dir = "{dir}"; }};
dataplane: {{ workers = [ {workers} ]; main_core = 0; hugepages = false; memory_mb = 256; mbufs = 16384; }};
conntrack: {{ nf_conntrack_max = 65536; nf_conntrack_acct = {more}; nf_conntrack_timestamp = {more}; }};
ports: ( {{ name = "wan0"; device = "net_null0"; addresses = [ "203.0.113.2/24" ]; host = false; }},
         {{ name = "lan0"; device = "net_null1"; addresses = [ "192.168.1.1/24" ]; host = false; }} );
rules: {{ ipv4 = "{dir}/rules.v4"; }};
"""
RULES = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"
# Where the seconds stand that a connection has left.
SECONDS = re.compile(r"(?P<a>^(?:\[\S+\]\t)?(?: *\[\w+\] )?(?:ipv[46] +\d+ )?\w+ +\d+ |-t |<timeout>)(?P<t>\d+)", re.M)
OWN = re.compile(r"(\bid=|<id>|portid=)\d+( progname=\w+)?|(delta-time=|<deltatime>)\d+|"
                 r"\[(start|stop)=[^\]]*\]|<(start|stop)>\d+|<when>.*?</when>|^\[\d+\.\d{6}\]", re.M)


class PlainLab(labs.Lab):
    """posternd without a network: its connections are all made by the operator."""

    def __init__(self, build, workers, more):
        self.more = "true" if more else "false"
        super().__init__(build, workers=workers, rules4=RULES)

    def write_conf(self, extra=None):
        self.conf = self.dir / "postern.conf"
        cpus = os.cpu_count() or 1
        workers = ", ".join(str(i % cpus) for i in range(self.workers))
        self.conf.write_text(CONF.format(dir=self.dir, workers=workers, more=self.more))

    def make_network(self):
        for host in ("appliance", "kernel"):
            labs.run("ip", "netns", "add", self.name(host))
            self.namespaces.append(host)
        # A rule that asks for it makes the kernel track in this namespace.
        self.on("kernel", "iptables", "-A", "INPUT", "-m", "conntrack", "--ctstate", "NEW", "-j",
                "ACCEPT", check=True)
        self.on("kernel", "sysctl", "-qw", "net.netfilter.nf_conntrack_max=65536", check=False)
        if self.more == "true":
            self.on("kernel", "sysctl", "-qw", "net.netfilter.nf_conntrack_acct=1",
                    "net.netfilter.nf_conntrack_timestamp=1", check=True)

    def set_sysctl(self, setting):
        self.on("kernel", "sysctl", "-qw", setting, check=True)
        done = self.postern("sysctl", "-qw", setting)
        if done.returncode != 0:
            raise labs.LabError(f"sysctl {setting}: {done.stderr}")

    def both(self, words):
        """The kernel's answer and Postern's: status, output, sentences."""
        environment = {**os.environ, "TZ": "UTC", "LC_ALL": "C"}
        done = [self.on("kernel", "conntrack", *words, env=environment),
                self.postern("conntrack", *words, env=environment)]
        return [(d.returncode, d.stdout, d.stderr) for d in done]


def lines_and_seconds(text):
    """The lines without what may differ, sorted, each with its seconds."""
    pairs = []
    for line in text.splitlines():
        found = SECONDS.search(line)
        shape = OWN.sub(r"\1\3OWN", SECONDS.sub(r"\g<a>T", line))
        pairs.append((shape, int(found["t"]) if found else 0))
    return sorted(pairs)


def differences(kernel, ours):
    lines = []
    a, b = lines_and_seconds(kernel), lines_and_seconds(ours)
    if [shape for shape, _ in a] != [shape for shape, _ in b]:
        lines += [f"- {shape}" for shape, _ in a if shape not in [s for s, _ in b]]
        lines += [f"+ {shape}" for shape, _ in b if shape not in [s for s, _ in a]]
        return lines or ["the same lines, another number of times"]
    return [f"{shape}: {t} and {u} seconds" for (shape, t), (_, u) in zip(a, b) if abs(t - u) > SLACK]


def compare(lab, words):
    kernel, ours = lab.both(words)
    found = [f"status {kernel[0]} {ours[0]}"] if kernel[0] != ours[0] else []
    return found + differences(kernel[1], ours[1]) + differences(kernel[2], ours[2])


def words_of(lab, line):
    """@load TEXT: a file with that text, loaded."""
    if not line.startswith("@load "):
        return shlex.split(line)
    (lab.dir / "load").write_text(line.removeprefix("@load ").encode().decode("unicode_escape"))
    return ["-R", f"{lab.dir}/load"]


def missing_options(lab, words):
    """What the original's help names and ours, in its own words, doesn't."""
    kernel, ours = lab.both(words)
    found = [f"status {kernel[0]} {ours[0]}"] if kernel[0] != ours[0] else []
    named = set(re.findall(r"--[a-z-]+|^  -[a-zA-Z]\b", kernel[1], re.M))
    return found + sorted(option for option in named if option.strip() not in ours[1])


def commands():
    for line in (HERE / "conntrack_commands.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            yield line


def type_all(lab, lines=None):
    count = bad = 0
    for line in lines or commands():
        if line.startswith("sysctl "):
            lab.set_sysctl(line.removeprefix("sysctl "))
            continue
        count += 1
        helps = line.startswith("@help")
        found = (missing_options(lab, ["-h", *line.split()[1:]]) if helps else
                 compare(lab, words_of(lab, line)))
        if found:
            bad += 1
            print(f"conntrack {line}")
            print("".join(f"    {text}\n" for text in found), flush=True)
    return count, bad


# What a connection has to show was decided when it began.
SWITCHING = """
-F
sysctl net.netfilter.nf_conntrack_acct=1
sysctl net.netfilter.nf_conntrack_timestamp=1
-I -p udp -s 192.0.2.1 -d 198.51.100.2 --sport 1 --dport 53 -t 500
sysctl net.netfilter.nf_conntrack_acct=0
-I -p udp -s 192.0.2.1 -d 198.51.100.2 --sport 2 --dport 53 -t 500
sysctl net.netfilter.nf_conntrack_timestamp=0
-I -p udp -s 192.0.2.1 -d 198.51.100.2 --sport 3 --dport 53 -t 500
sysctl net.netfilter.nf_conntrack_acct=1
-I -p udp -s 192.0.2.1 -d 198.51.100.2 --sport 4 --dport 53 -t 500
-L
-L -o extended,id,ktimestamp
-L -o save
-L -o xml,ktimestamp
-L -z
-L
sysctl net.netfilter.nf_conntrack_acct=0
-L -o ktimestamp
-G -p udp -s 192.0.2.1 -d 198.51.100.2 --sport 1 --dport 53
-U -p udp -s 192.0.2.1 --sport 1 -m 5
-D -o extended,ktimestamp
""".strip().splitlines()


def switch(lab):
    return type_all(lab, SWITCHING)


# What the kernel and Postern tell of the same commands, in the order of the telling.
EVENT_COMMANDS = """
-I -p udp -s 192.0.2.1 -d 198.51.100.2 --sport 1234 --dport 53 -t 500
-I -p tcp -s 192.0.2.1 -d 198.51.100.2 --sport 1234 --dport 80 -t 500 --state ESTABLISHED -u SEEN_REPLY,ASSURED
-I -p icmp -s 192.0.2.1 -d 198.51.100.2 --icmp-type 8 --icmp-code 0 --icmp-id 5 -t 500 -m 7
-U -p udp -s 192.0.2.1 -m 5
-U -p tcp -s 192.0.2.1 --state CLOSE
-U -p tcp -s 192.0.2.1 -t 600
-D -p udp
-D -p tcp
-F
"""
LISTENERS = [[], ["-e", "NEW"], ["-e", "UPDATES,DESTROY"], ["-o", "extended,id"], ["-o", "save"],
             ["-o", "xml"], ["-o", "xml,timestamp,ktimestamp"], ["-o", "timestamp,ktimestamp"],
             ["-p", "tcp"], ["-s", "192.0.2.0/24", "-m", "5"], ["-b", "5000"], ["-f", "ipv6"]]


def listen(lab, side, options):
    command = (lab.command("kernel", "conntrack") if side == "kernel" else
               lab.command("appliance", lab.build / "app/postern", "--socket",
                           f"{lab.dir}/postern.sock", "conntrack"))
    return subprocess.Popen([*command, "-E", *options], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, start_new_session=True,
                            env={**os.environ, "TZ": "UTC"})


def compare_events(lab):
    listeners = [(options, [listen(lab, side, options) for side in ("kernel", "postern")])
                 for options in LISTENERS]
    lab.children += [child for _, pair in listeners for child in pair]
    time.sleep(3)  # until all of them listen
    for line in EVENT_COMMANDS.split("\n"):
        if line:
            lab.both(shlex.split(line))
    time.sleep(2)  # until all of them have heard
    bad = 0
    for options, pair in listeners:
        answers = []
        for child in pair:
            child.send_signal(signal.SIGINT)
            out, error = child.communicate(timeout=30)
            lab.children.remove(child)
            answers.append((child.returncode, out, error))
        kernel, ours = answers
        found = [f"status {kernel[0]} {ours[0]}"] if kernel[0] != ours[0] else []
        # -F goes through a table in its own order; what came before it came in this one.
        found += differences(kernel[1], ours[1]) + differences(kernel[2], ours[2])
        if found or not (kernel[2] or kernel[1]):
            bad += 1
            print(f"conntrack -E {' '.join(options)}")
            print("".join(f"    {text}\n" for text in found), flush=True)
    return len(listeners), bad


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    if os.geteuid() != 0:
        return 77  # meson: skipped
    version = labs.run("conntrack", "-V", check=False).stdout
    if "v1.4.7" not in version:
        print("conntrack 1.4.7 isn't here:", version)
        return 77
    failed = 0
    for more in (False, True):
        with PlainLab(options.build, options.workers, more) as lab:
            lab.start()
            for what, run in (("commands", type_all), ("listeners", compare_events),
                              ("acct and timestamp, switched", switch)):
                count, bad = run(lab)
                failed += bad
                print(f"{what}: {count - bad} passed, {bad} failed"
                      f"{' (with acct and timestamp)' if more else ''}", flush=True)
            status = lab.stop()
            if status != 0:
                failed += 1
                print(f"posternd ends with {status}:\n{lab.log()}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
