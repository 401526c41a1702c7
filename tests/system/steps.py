"""What the demo shows, step by step: (name, what is expected, what does it)."""

import re
import subprocess
import time

from lab import HELPER, IPERF_PORTS

WEB, RESOLVER, STRANGER = "198.51.100.7", "198.51.100.53", "198.51.100.66"


class Failed(Exception):
    """A step came out otherwise; the message says how."""


def need(condition, what):
    if not condition:
        raise Failed(what)


def helper(lab, host, *arguments, timeout=30):
    return lab.on(host, *HELPER, *arguments, timeout=timeout).stdout.strip()


def ping_out(lab):
    done = lab.on("lan1", "ping", "-c", 3, "-i", 0.2, "-W", 2, WEB)
    line = re.search(r".*packets transmitted.*", done.stdout)
    need(done.returncode == 0 and " 0% packet loss" in done.stdout, done.stdout + done.stderr)
    return line.group(0)


def web_out(lab):
    done = lab.on("lan1", "curl", "-sS", "-m", 5, f"http://{WEB}/")
    need(done.stdout.strip() == "wan-web: you are 203.0.113.2", done.stdout + done.stderr)
    return done.stdout.strip()


def web_out_6(lab):
    done = lab.on("lan1", "curl", "-sS", "-m", 5, "http://[2001:db8:ffff::7]/")
    need(done.stdout.strip() == "wan-web: you are 2001:db8:2::10", done.stdout + done.stderr)
    return done.stdout.strip()


def name_lookup(lab):
    answer = helper(lab, "lan1", "lookup", RESOLVER, "www.example.net")
    need(answer == WEB, answer)
    return f"www.example.net is {answer}"


def web_in(lab):
    done = lab.on("wan", "curl", "-sS", "-m", 5, "http://203.0.113.2:8080/")
    need(done.stdout.strip() == "lan-web: you are 203.0.113.1", done.stdout + done.stderr)
    return done.stdout.strip()


def login(lab):
    said = helper(lab, "wan", "login", "203.0.113.2", 22, "203.0.113.1")
    need(said == "SSH-2.0-postern-lab / you said hello", said)
    return said


def from_appliance(lab):
    done = lab.on("appliance", "curl", "-sS", "-m", 5, f"http://{WEB}/")
    need(done.stdout.strip() == "wan-web: you are 203.0.113.2", done.stdout + done.stderr)
    return done.stdout.strip()


def closed_port(lab):
    what = helper(lab, "wan", "connect", "203.0.113.2", 9090, "", 2)
    need(what.startswith("timeout"), what)
    return what + " s"


def rejected(lab):
    what, seconds = helper(lab, "lan1", "connect", WEB, 25).split()
    need(what == "refused" and float(seconds) < 0.5, f"{what} {seconds}")
    return f"{what} after {seconds} s"


def rejected_udp(lab):
    what = helper(lab, "lan1", "udp", WEB, 123)
    need(what == "EHOSTUNREACH", what)
    return what


def connlimit(lab):
    holder = subprocess.Popen(lab.command("wan", *HELPER, "hold", "203.0.113.2", 8080, 20),
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        held = holder.stdout.readline().strip()
        need(held == "20", f"only {held} of 20 opened")
        what = helper(lab, "wan", "connect", "203.0.113.2", 8080)
        need(what.startswith("refused"), what)
        other = helper(lab, "wan", "connect", "203.0.113.2", 8080, STRANGER)
        need(other.startswith("open"), f"another source: {other}")
        return f"20 open, the 21st {what.split()[0]}, another source {other.split()[0]}"
    finally:
        holder.communicate("\n", timeout=10)


def recent(lab):
    tried = [helper(lab, "wan", "connect", "203.0.113.2", 22, STRANGER, 1).split()[0]
             for _ in range(4)]
    need(tried == ["open", "open", "open", "timeout"], " ".join(tried))
    return ", ".join(tried)


def traceroute(lab):
    done = lab.on("lan1", "traceroute", "-n", "-q", 1, "-w", 2, "-m", 4, WEB)
    hops = re.findall(r"^ *\d+  (\S+)", done.stdout, re.MULTILINE)
    need(hops == ["192.168.1.1", WEB], done.stdout + done.stderr)
    return " → ".join(hops)


def icmp_error(lab):
    what = helper(lab, "lan1", "udp", "203.0.113.1", 9)
    need(what == "ECONNREFUSED", what)
    return f"{what}: the WAN host's port unreachable, through the translation"


def iperf(lab, reverse):
    done = lab.on("lan1", "iperf3", "-c", WEB, "-p", IPERF_PORTS[reverse], "-t", 2, "-f", "m",
                  *(["-R"] if reverse else []))
    rate = re.search(r"([\d.]+) Mbits/sec +receiver", done.stdout)
    need(rate and float(rate.group(1)) > 1, done.stdout + done.stderr)
    return f"{rate.group(1)} Mbit/s"


def conntrack_list(lab):
    done = lab.postern("conntrack", "-L")
    need(done.returncode == 0 and "[ASSURED]" in done.stdout, done.stdout + done.stderr)
    lines = done.stdout.splitlines()
    return "\n".join(lines[:4] + [f"… {len(lines)} in all"])


def rules_list(lab):
    done = lab.postern("iptables", "-L", "FORWARD", "-n", "-v")
    need("Chain FORWARD (policy DROP" in done.stdout and "ctstate RELATED,ESTABLISHED" in done.stdout,
         done.stdout + done.stderr)
    return "\n".join(done.stdout.splitlines()[:4] + ["…"])


def log_line(lab):
    file = lab.dir / "firewall.log"
    for _ in range(30):
        text = file.read_text() if file.exists() else ""
        line = re.search(r".*INPUT-denied: IN=wan0 OUT= MAC=\S+ SRC=203.0.113.1 DST=203.0.113.2 "
                         r"LEN=\d+ .*PROTO=TCP SPT=\d+ DPT=9090 .*SYN.*", text)
        if line:
            return line.group(0)
        time.sleep(0.1)
    raise Failed(f"no such line in:\n{text}")


def metrics(lab):
    done = lab.on("appliance", "curl", "-sS", "-m", 5, "http://127.0.0.1:9797/metrics")
    wanted = [line for line in done.stdout.splitlines() if re.match(
        r"postern_(conntrack_entries|conntrack_max|port_(receive|rx)_packets|build_info)", line)]
    need(wanted, done.stdout[:2000] + done.stderr)
    return "\n".join(wanted[:6])


STEPS = (
    ("ping out", "three answers from the web server", ping_out),
    ("curl from LAN to WAN", "the server sees the appliance's address (MASQUERADE)", web_out),
    ("curl over IPv6", "the server sees the host's own address", web_out_6),
    ("a name over UDP", "the resolver's answer", name_lookup),
    ("curl from WAN to LAN", "the web server inside answers on 8080 (DNAT)", web_in),
    ("login to the appliance", "the service on port 22 greets", login),
    ("curl from the appliance", "a client on the appliance itself", from_appliance),
    ("a closed port", "a new connection times out", closed_port),
    ("a rejected connection", "refused at once", rejected),
    ("a rejected datagram", "prohibited, told by ICMP", rejected_udp),
    ("connlimit", "the 21st connection of one source is refused", connlimit),
    ("recent", "the 4th attempt within 60 seconds is dropped", recent),
    ("traceroute", "the appliance, then the server", traceroute),
    ("an ICMP error", "reaches the sender inside", icmp_error),
    ("iperf3 up", "a rate", lambda lab: iperf(lab, False)),
    ("iperf3 down", "a rate", lambda lab: iperf(lab, True)),
    ("conntrack -L", "the connections of these steps", conntrack_list),
    ("iptables -L -n -v", "the rules with their counters", rules_list),
    ("a LOG line", "the kernel's format, for the closed port", log_line),
    ("metrics", "Prometheus text", metrics),
)


def run_steps(lab, report):
    """Runs every step; report(number, name, expected, passed, happened). Returns the failures."""
    failed = 0
    for number, (name, expected, step) in enumerate(STEPS, 1):
        try:
            happened, passed = step(lab), True
        except (Failed, OSError, subprocess.SubprocessError, ValueError) as error:
            happened, passed = str(error).strip(), False
        failed += not passed
        report(number, name, expected, passed, happened)
    return failed


def start_everything(lab):
    lab.start_servers()
    lab.start()
    lab.login_server()
    lab.wait_for("wan", WEB, 80)
    lab.wait_for("lan2", "192.168.1.11", 80)
    lab.wait_for("appliance", "127.0.0.1", 22)
