#!/usr/bin/python3
"""What an attacker, bad luck and a bad operator do to the daemon; nothing else may suffer.

usage: attack_test.py BUILD_DIR [NAME...]

One lab serves all tests, in order. A sanitizer build of posternd may be given. Root.
"""

import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback

import lab as labs
import steps
from lab import HERE
from steps import WEB, need

ATTACKER = [sys.executable, str(HERE / "attacker.py")]
MAX = 300
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


# frames ----------------------------------------------------------------------------------------


def test_malformed_frames_are_counted_by_reason(lab):
    before = drops(lab)
    # From the wire itself: a bridge may look at what it carries.
    sent = int(lab.attack("switch", "frames", "up0", lab.lan_mac(), 1, 12000))
    alive(lab)
    reasons = grown(lab, before)
    for reason in ("ip_header_invalid", "ip_checksum", "ip_truncated", "ipv6_header_chain", "vlan_tagged",
                   "unknown_ethertype", "arp_malformed", "martian_source"):
        need(reasons.get(reason), f"no {reason} in {reasons}")
    need(sum(reasons.values()) <= sent * 2, f"{sum(reasons.values())} drops of {sent} frames")
    settle(lab)
    steps.web_out(lab)


# exhaustion ------------------------------------------------------------------------------------


SILENT = "198.51.100.99"  # nobody answers for it


def full_table(lab, kind):
    settle(lab)
    early, lines = metric(lab, "postern_conntrack_early_drops_total"), firewall_log(lab).count("table full")
    before = drops(lab)
    child = lab.talk(5)
    lab.attack("lan1", kind, "eth0", lab.lan_mac(), SILENT, 6000)
    entries = lab.status()["conntrack"]["entries"]
    need(MAX * 0.5 < entries <= MAX, f"{entries} entries of {MAX}")
    heard_all(child)
    alive(lab)
    return {"early": metric(lab, "postern_conntrack_early_drops_total") - early,
            "lines": firewall_log(lab).count("table full") - lines,
            "full": grown(lab, before).get("conntrack_table_full", 0)}


def firewall_log(lab):
    path = lab.dir / "firewall.log"
    return path.read_text() if path.exists() else ""


def test_syn_flood_over_a_full_table(lab):
    said = full_table(lab, "syn")
    need(said["early"] > 0, f"no early drop: {said}")
    settle(lab)
    steps.web_out(lab)


def test_udp_flood_over_a_full_table(lab):
    said = full_table(lab, "udp")
    need(said["early"] > 0, f"no early drop: {said}")
    settle(lab)
    steps.web_out(lab)


def test_a_table_full_of_assured_connections(lab):
    """Nothing can go early: new ones are dropped, told once an interval, and the old ones live."""
    settle(lab)
    child = lab.talk(8)
    lab.postern("sysctl", "-w", "net.netfilter.nf_conntrack_max=12", check=True)
    before, lines = drops(lab), firewall_log(lab).count("table full")
    holder = subprocess.Popen(lab.command("lan1", *labs.HELPER, "hold", WEB, 80, 10),
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        holder.stdout.readline()
        for _ in range(3):
            lab.attack("lan1", "syn", "eth0", lab.lan_mac(), SILENT, 200)
            time.sleep(0.4)
        wait_until(lambda: firewall_log(lab).count("table full, dropping packet") > lines,
                   "nothing is logged")
        need(grown(lab, before).get("conntrack_table_full", 0) > 0, f"not counted: {grown(lab, before)}")
        wrote = firewall_log(lab).count("table full, dropping packet") - lines
        need(wrote <= 4, f"{wrote} lines for one trouble")
    finally:
        lab.postern("sysctl", "-w", f"net.netfilter.nf_conntrack_max={MAX}", check=True)
        holder.communicate("\n", timeout=10)
    heard_all(child)
    alive(lab)
    settle(lab)


def test_an_exhausted_port_range(lab):
    settle(lab)
    before, exhausted = drops(lab), metric(lab, "postern_nat_exhausted_total")
    child = lab.talk(3)
    lab.on("lan2", "ping", "-c", 1, "-W", 2, "192.168.1.1")  # knows the way
    lab.attack("lan2", "bind", "198.51.100.66", 12)
    reasons = grown(lab, before)
    listed = lab.postern("conntrack", "-L", "-p", "udp").stdout
    ports = re.findall(r"dst=203\.0\.113\.2 sport=9 dport=(\d+)", listed)
    need(3 <= len(ports) <= 4 and len(set(ports)) == len(ports), f"4 ports, 12 flows: {reasons}\n{listed}")
    refused = exhausted + 12 - len(ports)
    # Not every one is a drop: what the ports' owner refuses has sent its first packet.
    need(metric(lab, "postern_nat_exhausted_total") == refused, "the metric says otherwise")
    wait_until(lambda: "nf_nat: no free port left in the range" in lab.log(), f"nothing is logged:\n{lab.log()[-1500:]}")
    # Another destination has the ports anew, and other hosts have others.
    lab.attack("lan2", "bind", "198.51.100.53", 1)
    need(metric(lab, "postern_nat_exhausted_total") == refused, "another destination suffers")
    steps.name_lookup(lab)
    heard_all(child)
    settle(lab)


# neighbours and links --------------------------------------------------------------------------


def test_a_dead_neighbour(lab):
    before = drops(lab)
    child = lab.talk(5)
    done = lab.on("lan1", "ping", "-c", 2, "-W", 5, "203.0.113.99")
    need("Destination Host Unreachable" in done.stdout, done.stdout + done.stderr)
    lab.attack("lan1", "udp", "eth0", lab.lan_mac(), "203.0.113.99", 200)
    heard_all(child)
    wait_until(lambda: grown(lab, before).get("neighbor_unresolved"), f"not counted: {grown(lab, before)}")
    need(grown(lab, before).get("neighbor_queue_full"), f"the queue has no bound: {grown(lab, before)}")
    alive(lab)
    settle(lab)


def link(lab, port):
    return next(p["link"] for p in lab.status()["ports"] if p["name"] == port)


def test_a_port_without_link(lab):
    said = lab.log().count("port wan0: link down")
    labs.run("ip", "-n", lab.name("appliance"), "link", "set", "phy-wan", "down")
    try:
        wait_until(lambda: link(lab, "wan0") == "down", "the link is still up", 5)
        before = sum(sum(p["drops"].get(r, 0) for r in ("link_down", "tx_full")) for p in lab.status()["ports"])
        lab.on("lan1", "ping", "-c", 3, "-i", 0.2, "-W", 1, WEB)
        after = sum(sum(p["drops"].get(r, 0) for r in ("link_down", "tx_full")) for p in lab.status()["ports"])
        need(after >= before + 3, f"not counted: {lab.status()['ports']}")
        done = lab.on("lan1", "ping", "-c", 3, "-i", 0.2, "-W", 1, "192.168.1.1")
        need(" 0% packet loss" in done.stdout, f"the other port suffers:\n{done.stdout}")
        time.sleep(2.5)
        need(lab.log().count("port wan0: link down") == said + 1, f"said:\n{lab.log()[-1500:]}")
    finally:
        labs.run("ip", "-n", lab.name("appliance"), "link", "set", "phy-wan", "up")
    wait_until(lambda: link(lab, "wan0") == "up", "the link doesn't come back", 5)
    wait_until(lambda: "port wan0: link up" in lab.log(), "its return isn't logged")
    wait_until(lambda: lab.on("lan1", "ping", "-c", 1, "-W", 1, WEB).returncode == 0, "no traffic", 10)
    steps.web_out(lab)
    alive(lab)


# the control socket ----------------------------------------------------------------------------


def frame(kind, payload=b""):
    return struct.pack("<IB", len(payload), kind) + payload


def client(lab):
    out = socket.socket(socket.AF_UNIX)
    out.settimeout(10)
    out.connect(f"{lab.dir}/postern.sock")
    return out


def test_garbage_on_the_control_socket(lab):
    chance = random.Random(3)
    for number in range(300):
        with client(lab) as out:
            try:
                if number % 3 == 0:
                    out.sendall(chance.randbytes(chance.randrange(1, 3000)))
                elif number % 3 == 1:
                    out.sendall(frame(chance.randrange(8), chance.randbytes(chance.randrange(2000))))
                    out.sendall(frame(3))
                else:
                    out.sendall(frame(1, b"status\0" + chance.randbytes(50) + b"\0") + frame(3))
                if number % 2:
                    out.shutdown(socket.SHUT_WR)
                    while out.recv(65536):
                        pass
            except (BrokenPipeError, ConnectionResetError):
                pass
    alive(lab)
    for program in (b"iptables", b"ip6tables", b"iptables-restore", b"conntrack", b"sysctl", b"save", b"reload",
                    b"status", b"iptables-save", b"nonsense"):
        for arguments in ([b""], [b"-"], [b"--"], [b"-t"], [b"\xff\xfe%s%n"], [b"x" * 100000],
                          [b"-A", b"INPUT", b"-j"], [b"-L"] * 2000, [b"--json", b"\xff"]):
            if program == b"reload" and arguments == [b""]:
                continue
            with client(lab) as out:
                try:
                    out.sendall(frame(1, program + b"\0" + b"".join(a + b"\0" for a in arguments)) + frame(3))
                    while out.recv(65536):
                        pass
                except (BrokenPipeError, ConnectionResetError):
                    pass
            alive(lab)
    lab.status()


def test_huge_requests(lab):
    child = lab.talk(6)
    with client(lab) as out:  # a frame that says that it is 4 GB
        out.sendall(struct.pack("<IB", 0xffffffff, 1))
        need(b"malformed" in out.recv(1000), "no refusal")
    with client(lab) as out:  # endless input
        try:
            out.sendall(frame(1, b"iptables-restore\0"))
            piece = frame(2, b"# " + b"x" * 0xffff0 + b"\n")
            for _ in range(400):
                out.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        need(b"longer than" in out.recv(1000), "no refusal")
    heard_all(child)
    alive(lab)
    lab.status()


def test_half_requests_and_readers_that_stop(lab):
    """They hold their own connection and nobody else's: even with as many as fit."""
    held = []
    child = lab.talk(6)
    try:
        for number in range(300):
            out = client(lab)
            held.append(out)
            if number % 3 == 0:
                out.sendall(struct.pack("<IB", 1000, 1) + b"stat")
            elif number % 3 == 1:
                # Reads nothing of an answer.
                out.sendall(frame(1, b"iptables-save\0-c\0") + frame(3))
        started = time.monotonic()
        wait_until(lambda: lab.postern("status", "--json").returncode == 0, "everybody is locked out", 15)
        need(time.monotonic() - started < 15, "slow")
        heard_all(child)
        alive(lab)
    finally:
        for out in held:
            out.close()
    lab.status()


def test_more_clients_than_descriptors(lab):
    """1100 that only connect: the control thread doesn't spin, and answers afterwards."""
    held = []
    child = lab.talk(5)
    try:
        for _ in range(1100):
            out = socket.socket(socket.AF_UNIX)
            out.settimeout(0.2)
            held.append(out)
            try:
                out.connect(f"{lab.dir}/postern.sock")
            except OSError:
                break
        heard_all(child)
    finally:
        for out in held:
            out.close()
    wait_until(lambda: lab.postern("status", "--json").returncode == 0, "locked out")
    alive(lab)


def test_twenty_clients_at_once(lab):
    child = lab.talk(5)
    failures = []

    def work(number):
        commands = (("status", "--json"), ("conntrack", "-L"), ("iptables-save", "-c"), ("iptables", "-L", "-n", "-v"))
        for _ in range(5):
            done = lab.postern(*commands[number % 4])
            if done.returncode != 0:
                failures.append(done.stdout + done.stderr)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    need(not failures, f"{len(failures)} failed: {failures[:2]}")
    heard_all(child)
    alive(lab)


def test_a_client_killed(lab):
    for _ in range(20):
        killed = subprocess.Popen(
            lab.command("appliance", lab.build / "app/postern", "--socket", f"{lab.dir}/postern.sock",
                        "iptables-restore"), stdin=subprocess.PIPE)
        killed.stdin.write(b"*filter\n:INPUT DROP [0:0]\n")
        killed.stdin.flush()
        time.sleep(0.02)
        killed.kill()
        killed.wait()
        killed.stdin.close()
    alive(lab)
    steps.web_out(lab)


# rule files ------------------------------------------------------------------------------------


def check(lab, text, seconds):
    """`posternd --check` with these rules: (exit status, output); in time."""
    (lab.dir / "attack.v4").write_bytes(text)
    conf = lab.dir / "attack.conf"
    conf.write_text(lab.conf.read_text().replace("rules.v4", "attack.v4"))
    started = time.monotonic()
    done = subprocess.run([lab.build / "app/posternd", "-c", conf, "--check"], capture_output=True, check=False,
                          timeout=120)
    took = time.monotonic() - started
    need(took < seconds * float(os.environ.get("SLOW", "1")), f"{took:.1f} s")
    return done.returncode, done.stdout + done.stderr


def test_random_rule_files(lab):
    chance = random.Random(5)
    for size in (1, 100, 10000, 1000000):
        status, said = check(lab, chance.randbytes(size), 10)
        need(status == 1 and b"attack.v4:" in said, f"{size}: {status} {said[:300]}")
        need(len(said) < 100000, f"{len(said)} bytes of errors")


def test_a_rule_file_of_100_megabytes(lab):
    for name, text in (("comments", b"# nothing\n" * 10_000_000), ("one line", b"x" * 100_000_000),
                       ("zeros", bytes(100_000_000))):
        status, said = check(lab, text, 10)
        need(status == (0 if name == "comments" else 1), f"{name}: {status} {said[:300]}")
        need(len(said) < 100000, f"{name}: {len(said)} bytes of errors")
    # Every error is told, however many there are.
    status, said = check(lab, b"*filter\n" + b"-A NOWHERE -j DROP\n" * 200_000, 10)
    need(status == 1 and said.count(b"\n") >= 200_000, f"{status}, {said.count(chr(10).encode())} errors")


def test_ten_thousand_rules(lab):
    lines = ["*filter", ":INPUT ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]"]
    lines += [f"-A FORWARD -s 10.{i >> 8}.{i & 255}.0/24 -p tcp -m tcp --dport {1 + i} -j DROP"
              for i in range(10000)]
    status, said = check(lab, "\n".join(lines + ["COMMIT", ""]).encode(), 2)
    need(status == 0, said)
    before = lab.postern("iptables-save").stdout
    child = lab.talk(6)
    started = time.monotonic()
    done = lab.postern("iptables-restore", input="\n".join(lines + ["COMMIT", ""]))
    took = time.monotonic() - started
    need(done.returncode == 0, done.stderr)
    need(took < 2 * float(os.environ.get("SLOW", "1")), f"{took:.1f} s")
    lab.postern("iptables-restore", input=before, check=True)
    heard_all(child)
    steps.web_out(lab)


# death -----------------------------------------------------------------------------------------


def test_killed_again_and_again(lab):
    for _ in range(2):
        # In the middle of its work.
        flood = lab.spawn("lan1", *ATTACKER, "syn", "eth0", lab.lan_mac(), SILENT, 3000)
        time.sleep(0.3)
        status = lab.stop(signal.SIGKILL)
        need(status == -signal.SIGKILL, status)
        lab.start()
        flood.wait(30)
        wait_until(lambda: lab.on("lan1", "ping", "-c", 1, "-W", 1, WEB).returncode == 0, "no traffic")
    status = lab.stop(signal.SIGTERM)
    need(status == 0, f"exit {status}:\n{lab.log()[-3000:]}")


TESTS = [(name, test) for name, test in list(globals().items()) if name.startswith("test_")]


def main():
    if os.geteuid() != 0:
        print("skipped: needs root for network namespaces")
        return 77
    wanted = sys.argv[2:]
    failed = passed = 0
    with AttackLab(sys.argv[1], workers=2, rules4=RULES4) as lab:
        steps.start_everything(lab)
        labs.run("ip", "-n", lab.name("wan"), "route", "add", "blackhole", SILENT)
        lab.spawn("wan", *ATTACKER, "echo", 7777)
        lab.wait_for("wan", WEB, 7777)
        for name, test in TESTS:
            if wanted and not any(word in name for word in wanted):
                continue
            started = time.monotonic()
            try:
                test(lab)
                passed += 1
                print(f"PASS {name} ({time.monotonic() - started:.1f} s)", flush=True)
            except Exception as error:  # whatever it is, the next test still runs
                failed += 1
                detail = "" if isinstance(error, (steps.Failed, labs.LabError)) else traceback.format_exc()
                print(f"FAIL {name}: {error}\n{detail}", flush=True)
                if lab.daemon.poll() is not None:
                    lab.start()
        if failed:
            print("posternd said:", *lab.log().splitlines()[-30:], sep="\n    ")
    print(f"attack: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
