#!/usr/bin/python3
"""LOG lines and the daemon's own sentences reach syslog: a socket of this test stands where posternd looks
for /dev/log. What syslog can't take is lost and counted, and nothing waits for it.

usage: syslog_test.py BUILD_DIR      Root.
"""

import os
import re
import socket
import subprocess
import sys

import lab as labs
import twins

DAEMON, WARNING, NOTICE = 3 << 3, 4, 5


class Failed(Exception):
    """Something didn't arrive as it should."""


class SyslogTwin(twins.PosternTwin):
    """posternd with a /dev of its own, where a socket takes what is logged."""

    template = re.sub(r"(?m)^log:.*\n", "", twins.CONF)

    def __init__(self, build):
        super().__init__(build)
        self.dev = self.dir / "dev"
        (self.dev / "net").mkdir(parents=True)
        for name in ("null", "zero", "random", "urandom", "net/tun"):
            subprocess.run(["cp", "-a", f"/dev/{name}", self.dev / name], check=True)
        self.daemon_prefix = ["unshare", "-m", "sh", "-c",
                              f"mount --bind {self.dev} /dev && exec \"$@\"", "sh"]
        self.socket = None
        self.listen()

    def listen(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.dev / "log"))
        self.socket.settimeout(20)

    def forget(self):
        """syslogd has gone."""
        self.socket.close()
        (self.dev / "log").unlink()

    def expect(self, wanted):
        """The first datagram that matches; the others are passed over."""
        seen = []
        try:
            while True:
                text = self.socket.recv(4096).decode()
                if re.search(wanted, text):
                    return text
                seen.append(text)
        except TimeoutError:
            raise Failed(f"no {wanted} came, but: {seen}") from None


def levels(twin):
    """The rule's level is the line's severity; the facility is the configuration's."""
    for port, level, severity in ((9001, "", WARNING), (9002, "--log-level notice", NOTICE),
                                  (9003, "--log-level 7", 7)):
        twin.typed(f"iptables -A INPUT -p tcp --dport {port} -j LOG --log-prefix 'at {port}: ' {level}")
        twin.what("outside", "203.0.113.2", port)
        line = twin.expect(f"at {port}: IN=eth0")
        form = (rf"<{DAEMON | severity}>\w\w\w [ \d]\d \d\d:\d\d:\d\d (\S+ )?kernel: at {port}: IN=eth0 OUT= "
                rf"MAC=\S+ SRC=203\.0\.113\.1 DST=203\.0\.113\.2 LEN=60 .* PROTO=TCP SPT=\d+ DPT={port} ")
        if not re.match(form, line):
            raise Failed(f"not {form}:\n{line}")


def table_full(twin):
    twin.typed("iptables -A INPUT -m conntrack --ctstate NEW ; sysctl net.netfilter.nf_conntrack_max=1")
    # Connections that are established aren't dropped early in favour of new ones.
    holder = twin.spawn("outside", *labs.HELPER, "hold", "203.0.113.2", 80, 3)
    try:
        line = twin.expect("nf_conntrack: table full, dropping packet")
    finally:
        holder.kill()
        holder.wait()
        twin.children.remove(holder)
        twin.typed("sysctl net.netfilter.nf_conntrack_max=262144")
    if not line.startswith(f"<{DAEMON | WARNING}>"):
        raise Failed(f"another severity: {line}")


def syslog_goes_and_comes(twin):
    """Traffic goes on without it; a new socket is found."""
    twin.forget()
    if twin.what("outside", "203.0.113.2", 22) != "open":
        raise Failed("without syslog nothing flows")
    twin.what("outside", "203.0.113.2", 9001)
    twin.listen()
    for _ in range(5):
        twin.what("outside", "203.0.113.2", 9001, 0.5)
    twin.expect("at 9001: IN=eth0")


def main():
    if os.geteuid() != 0:
        print("skipped: needs root for network namespaces")
        return 77
    failed = 0
    twin = SyslogTwin(sys.argv[1])
    try:
        twin.make_network()
        twin.begin()
        for step in (levels, table_full, syslog_goes_and_comes):
            try:
                step(twin)
                print(f"PASS {step.__name__}", flush=True)
            except (Failed, labs.LabError) as error:
                failed += 1
                print(f"FAIL {step.__name__}: {error}", *twin.log().splitlines()[-5:], sep="\n    ")
    finally:
        twin.close()
    print(f"syslog: {3 - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
