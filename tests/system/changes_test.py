#!/usr/bin/python3
"""Hundreds of rule changes while traffic runs: nothing is lost, nothing is judged by half a rule set, the
other rules count on, live connections and their translations stay. Then how fast changes are, beside the
kernel's iptables (figures, no assertions).

usage: changes_test.py BUILD_DIR [--workers N]      Root.
"""

import os
import re
import subprocess
import sys
import time

import lab as labs
import twins

WEB = "198.51.100.7"
CHANGES = 100
# Both accept what is forwarded, each in a way that half of the other would undo.
SETS = ["""*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -p icmp -j ACCEPT
-A FORWARD -j ACCEPT
COMMIT
""", """*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:through - [0:0]
-A FORWARD -g through
-A through -p icmp -j RETURN
-A through -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN
-A through -s 192.168.1.0/24 -j RETURN
-A through -j DROP
COMMIT
"""]
NAT = """*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -o eth0 -j MASQUERADE
COMMIT
"""


class Failed(Exception):
    """What was promised didn't hold."""


def need(condition, what):
    if not condition:
        raise Failed(what)


class Traffic:
    """Pings and one long download through the appliance."""

    def __init__(self, twin):
        self.twin = twin
        self.server = twin.spawn("outside", "iperf3", "-s", "-B", WEB)
        twin.wait_for("outside", WEB, 5201)
        self.download = subprocess.Popen(
            twin.command("inside", "iperf3", "-c", WEB, "-R", "-b", "20M", "-t", "600"),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pings = subprocess.Popen(
            twin.command("inside", "ping", "-i", "0.01", WEB), stdout=subprocess.PIPE, text=True)
        try:
            self.connections = self.settled()
        except BaseException:
            self.close()
            raise

    def settled(self):
        """The translations as soon as both of the download's connections are there."""
        for _ in range(20):
            time.sleep(1)
            try:
                return self.translations()
            except Failed:
                pass
        return self.translations()

    def translations(self):
        """The download's entries, without what changes by itself."""
        listed = self.twin.typed("conntrack -L -p tcp --dport 5201").stdout
        entries = re.findall(r"src=\S+ dst=\S+ sport=\d+ dport=5201 src=\S+ dst=\S+ sport=\S+ dport=\d+", listed)
        need(len(entries) == 2, f"the download's two connections:\n{listed}")
        return sorted(entries)

    def end(self):
        """How many pings were sent; all must have been answered."""
        need(self.download.poll() is None, "the download has ended")
        need(self.translations() == self.connections, "the connections' translations have changed")
        before = self.counter()
        time.sleep(0.5)
        need(self.counter() > before, "the download stands still")
        self.pings.send_signal(2)
        said = self.pings.communicate(timeout=20)[0]
        sent = int(re.search(r"(\d+) packets transmitted", said)[1])
        answered = {int(number) for number in re.findall(r"icmp_seq=(\d+) ", said)}
        # The last ones were still under way when it was told to stop.
        lost = set(range(1, max(answered) + 1)) - answered
        need(not lost, f"of {sent} pings these were lost: {sorted(lost)}")
        need(max(answered) > sent - 50, f"{sent} pings, the last answered is {max(answered)}")
        time.sleep(0.5)
        return sent

    def counter(self):
        text = self.twin.on("inside", "cat", "/sys/class/net/eth0/statistics/rx_bytes").stdout
        return int(text)

    def close(self):
        for child in (self.download, self.pings, self.server):
            child.kill()
            child.wait()
        self.twin.children.remove(self.server)


def changes_under_traffic(twin):
    """One rule at a time, whole sets, policies and chains."""
    twin.typed(f"iptables-restore <<'END'\n{NAT}{SETS[0]}END")
    # It counts each ping once on its way out, whatever else changes.
    twin.typed("iptables -t mangle -A FORWARD -s 192.168.1.0/24 -p icmp")
    traffic = Traffic(twin)
    try:
        done = twin.typed(f"""
            for i in $(seq {CHANGES}); do
                iptables -I FORWARD 2 -p udp --dport $i -j DROP || exit 1
                iptables -R FORWARD 2 -p udp --dport $((i + 1)) -j REJECT || exit 1
                iptables -t mangle -A PREROUTING -p tcp --dport $i -j MARK --set-mark 0 || exit 1
                iptables -t nat -I PREROUTING -p tcp --dport $((i + 10000)) -j REDIRECT || exit 1
                iptables -D FORWARD 2 || exit 1
            done""", timeout=120)
        need(done.returncode == 0, done.stderr)
        for turn in range(CHANGES // 3):
            done = twin.typed(f"iptables-restore -T filter <<'END'\n{SETS[(turn + 1) % 2]}END")
            need(done.returncode == 0, done.stderr)
        pings = traffic.end()
        saved = twin.typed("iptables-save -c -t mangle").stdout
        counted = re.search(r"\[(\d+):(\d+)\] -A FORWARD -s 192\.168\.1\.0/24 -p icmp", saved)
        need(counted, saved)
        need(int(counted[1]) == pings, f"{pings} pings, the rule has counted {counted[1]}")
        print(f"PASS {CHANGES * 5} commands and {CHANGES // 3} rule sets under traffic: "
              f"{pings} pings, none lost, each counted once", flush=True)
    finally:
        traffic.close()


def rates(postern, kernel):
    """Commands of a script, one after another: alternating, so that both meet the same machine."""
    script = "for i in $(seq 200); do iptables -A OUTPUT -p tcp --dport $i -j ACCEPT || exit 1; done"
    taken = {"postern": 0.0, "kernel": 0.0}
    for turn in range(3):
        for twin in (postern, kernel):
            twin.typed("iptables -F OUTPUT")
            started = time.monotonic()
            done = twin.typed(script, timeout=120)
            taken[twin.kind] += time.monotonic() - started
            need(done.returncode == 0, done.stderr)
    print("rate of `iptables -A` in a loop:",
          ", ".join(f"{kind} {3 * 200 / seconds:.0f}/s" for kind, seconds in taken.items()), flush=True)


def one_among_many(twin):
    lines = "".join(f"-A FORWARD -s 10.{i >> 8}.{i & 255}.0/24 -p tcp -m tcp --dport {1 + i} -j DROP\n"
                    for i in range(10000))
    (twin.dir / "etc/many").write_text("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
                                       ":OUTPUT ACCEPT [0:0]\n" + lines + "COMMIT\n")
    started = time.monotonic()
    done = twin.typed("iptables-restore < /etc/many")
    need(done.returncode == 0, done.stderr)
    print(f"10,000 rules restored in {time.monotonic() - started:.2f} s")
    done = twin.typed("TIMEFORMAT=%R; for i in $(seq 5); do time iptables -I FORWARD 5000 -p tcp --dport $i -j DROP; "
                      "done")
    need(done.returncode == 0, done.stderr)
    print(f"one rule changed among 10,000, seconds: {' '.join(done.stderr.split())}", flush=True)


def main():
    if os.geteuid() != 0:
        print("skipped: needs root for network namespaces")
        return 77
    workers = int(sys.argv[sys.argv.index("--workers") + 1]) if "--workers" in sys.argv else 1
    postern, kernel = twins.PosternTwin(sys.argv[1], workers), twins.KernelTwin(sys.argv[1])
    try:
        for twin in (postern, kernel):
            twin.make_network()
            twin.begin()
        changes_under_traffic(postern)
        rates(postern, kernel)
        one_among_many(postern)
        print("changes: 1 passed, 0 failed")
        return 0
    except (Failed, labs.LabError, subprocess.TimeoutExpired) as error:
        print(f"FAIL {error}\nposternd said:", *postern.log().splitlines()[-10:], sep="\n    ")
        print("changes: 0 passed, 1 failed")
        return 1
    finally:
        postern.close()
        kernel.close()


if __name__ == "__main__":
    sys.exit(main())
