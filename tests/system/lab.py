"""A small internet of network namespaces around one appliance: a LAN with two hosts, a WAN with a web
server and a resolver, and posternd between them on veth ports.

    lan1 192.168.1.10 ─┐
                       ├─ switch ─ [lan0 posternd wan0] ─ wan 203.0.113.1, 198.51.100.7 (web),
    lan2 192.168.1.11 ─┘             192.168.1.1  203.0.113.2       198.51.100.53 (resolver)

Names are unique, so that labs run side by side; `close` leaves nothing behind.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
HELPER = [sys.executable, str(HERE / "helper.py")]
IPERF_PORTS = (5201, 5202)  # for what goes out, for what comes in

CONF = """
system:    {{ control_socket = "{dir}/postern.sock"; metrics = "127.0.0.1:9797"; state_dir = "{dir}"; }};
dataplane: {{ workers = [ {workers} ]; main_core = 0; hugepages = false; memory_mb = 512;
             mbufs = 16384; }};
conntrack: {{ nf_conntrack_max = 65536; }};
ports: (
  {{ name = "wan0"; device = "net_af_packet0,iface=phy-wan"; addresses = [ "203.0.113.2/24", "2001:db8:1::2/64" ]; }},
  {{ name = "lan0"; device = "net_af_packet1,iface=phy-lan"; addresses = [ "192.168.1.1/24", "2001:db8:2::1/64" ]; }}
);
routes: ( {{ prefix = "0.0.0.0/0"; via = "203.0.113.1"; }}, {{ prefix = "::/0"; via = "2001:db8:1::1"; }} );
rules: {{ ipv4 = "{dir}/rules.v4"; ipv6 = "{dir}/rules.v6"; }};
log: {{ rules_file = "{dir}/firewall.log"; }};
{extra}
"""

RULES4 = """*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -i wan0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 192.168.1.11:80
-A POSTROUTING -o wan0 -j MASQUERADE
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -m recent --set --name SSH --mask 255.255.255.255 --rsource
-A INPUT -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -m recent --update --seconds 60 --hitcount 4 --name SSH --mask 255.255.255.255 --rsource -j DROP
-A INPUT -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 9090 -j LOG --log-prefix "INPUT-denied: "
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -i lan0 -p tcp -m tcp --dport 25 -j REJECT --reject-with tcp-reset
-A FORWARD -i lan0 -p udp -m udp --dport 123 -j REJECT --reject-with icmp-admin-prohibited
-A FORWARD -d 192.168.1.11/32 -p tcp -m tcp --dport 80 -m conntrack --ctstate NEW -m connlimit --connlimit-above 20 --connlimit-mask 32 --connlimit-saddr -j REJECT --reject-with tcp-reset
-A FORWARD -d 192.168.1.11/32 -p tcp -m tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT
-A FORWARD -i lan0 -o wan0 -j ACCEPT
COMMIT
"""
RULES6 = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p ipv6-icmp -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i lan0 -o wan0 -j ACCEPT
COMMIT
"""

NGINX = """daemon off; master_process off; pid {dir}/{name}.pid; error_log {dir}/{name}.error;
events {{ worker_connections 256; }}
http {{ access_log off; client_body_temp_path {dir}/{name}-1; proxy_temp_path {dir}/{name}-2;
  fastcgi_temp_path {dir}/{name}-3; uwsgi_temp_path {dir}/{name}-4; scgi_temp_path {dir}/{name}-5;
  server {{ {listen} location / {{ return 200 "{name}: you are $remote_addr\\n"; }} }} }}
"""


class LabError(Exception):
    """The lab couldn't be set up, or posternd didn't come up."""


def run(*command, check=True, timeout=60, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout,
                          **options)
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done


class Lab:
    template = CONF
    daemon_prefix = []  # what posternd is started by

    def __init__(self, build, workers=1, extra="", rules4=RULES4, rules6=RULES6):
        self.build = pathlib.Path(build).resolve()
        self.workers, self.extra = workers, extra
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="postern-lab-"))
        self.dir.chmod(0o755)
        self.prefix = "pst" + self.dir.name.rpartition("-")[2]
        self.namespaces, self.children = [], []
        self.daemon = None
        (self.dir / "rules.v4").write_text(rules4)
        (self.dir / "rules.v6").write_text(rules6)
        self.write_conf()

    # the network -------------------------------------------------------------------------------

    def name(self, host):
        return f"{self.prefix}-{host}"

    def command(self, host, *command):
        return ["ip", "netns", "exec", self.name(host), *map(str, command)]

    def on(self, host, *command, check=False, timeout=60, **options):
        return run(*self.command(host, *command), check=check, timeout=timeout, **options)

    def spawn(self, host, *command, log=None, **options):
        """A process that `close` ends."""
        with open(self.dir / (log or "programs.log"), "ab") as file:
            child = subprocess.Popen(self.command(host, *command), stdin=subprocess.DEVNULL,
                                     stdout=file, stderr=file, start_new_session=True, **options)
        self.children.append(child)
        return child

    def _ip(self, host, *lines):
        for line in lines:
            run("ip", "-n", self.name(host), *line.split())

    def _wire(self, a, a_name, b, b_name):
        run("ip", "link", "add", a_name, "netns", self.name(a), "type", "veth", "peer", "name",
            b_name, "netns", self.name(b))
        for host, name in ((a, a_name), (b, b_name)):
            # Frames of at most the MTU with finished checksums, as they'd be on a wire.
            self.on(host, "ethtool", "-K", name, "tx", "off", "rx", "off", "gso", "off", "tso",
                    "off", "gro", "off", check=True)
            self._ip(host, f"link set {name} up")

    def make_network(self):
        for host in ("appliance", "switch", "lan1", "lan2", "wan"):
            run("ip", "netns", "add", self.name(host))
            self.namespaces.append(host)
            self._ip(host, "link set lo up")
            quiet = "appliance switch".split()
            for which in ("all", "default"):
                self.on(host, "sysctl", "-qw", f"net.ipv6.conf.{which}.accept_dad=0",
                        f"net.ipv6.conf.{which}.disable_ipv6={int(host == 'switch')}", check=True)
            if host in quiet:
                continue
            self.on(host, "sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647", check=True)
        self._wire("appliance", "phy-wan", "wan", "eth0")
        self._wire("appliance", "phy-lan", "switch", "up0")
        self._wire("lan1", "eth0", "switch", "port1")
        self._wire("lan2", "eth0", "switch", "port2")
        for port in ("phy-wan", "phy-lan"):
            # The data ports are Postern's: the appliance's own stack stays off them.
            self.on("appliance", "sysctl", "-qw", f"net.ipv6.conf.{port}.disable_ipv6=1", check=True)
            self._ip("appliance", f"link set {port} arp off")
        self._ip("switch", "link add br0 type bridge", "link set br0 up",
                 *[f"link set {port} master br0" for port in ("up0", "port1", "port2")])
        for host, last in (("lan1", 10), ("lan2", 11)):
            self._ip(host, f"addr add 192.168.1.{last}/24 dev eth0",
                     f"addr add 2001:db8:2::{last}/64 dev eth0 nodad",
                     "route add default via 192.168.1.1", "-6 route add default via 2001:db8:2::1")
        self._ip("wan", "addr add 203.0.113.1/24 dev eth0", "addr add 2001:db8:1::1/64 dev eth0 nodad",
                 *[f"addr add 198.51.100.{last}/32 dev lo" for last in (7, 53, 66)],
                 "addr add 2001:db8:ffff::7/128 dev lo nodad",
                 "-6 route add 2001:db8:2::/64 via 2001:db8:1::2")

    def start_servers(self):
        self._nginx("wan", "wan-web", "listen 198.51.100.7:80; listen [2001:db8:ffff::7]:80;")
        self._nginx("lan2", "lan-web", "listen 192.168.1.11:80;")
        self.spawn("wan", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv",
                   "--no-hosts", "--bind-interfaces", "--listen-address=198.51.100.53",
                   "--address=/www.example.net/198.51.100.7", "--user=root",
                   f"--pid-file={self.dir}/dnsmasq.pid")
        # One a direction: after a test a server listens anew, and resets who has come too early.
        for port in IPERF_PORTS:
            self.spawn("wan", "iperf3", "-s", "-B", "198.51.100.7", "-p", port)

    def _nginx(self, host, name, listen):
        conf = self.dir / f"{name}.conf"
        conf.write_text(NGINX.format(dir=self.dir, name=name, listen=listen))
        self.spawn(host, "nginx", "-e", f"{self.dir}/{name}.error", "-c", conf)

    # the appliance -----------------------------------------------------------------------------

    def write_conf(self, extra=None):
        self.conf = self.dir / "postern.conf"
        cpus = os.cpu_count() or 1
        workers = ", ".join(str((i + cpus - 1) % cpus) for i in range(self.workers))
        self.conf.write_text(self.template.format(dir=self.dir, workers=workers,
                                         extra=self.extra if extra is None else extra))

    def start(self, timeout=60):
        """Starts posternd and waits until it says to systemd that it is ready."""
        path = self.dir / "notify.sock"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(path))
            notify.settimeout(0.2)
            self.daemon = self.spawn("appliance", *self.daemon_prefix, self.build / "app/posternd",
                                     "-c", self.conf, log="posternd.log", env={**os.environ, "NOTIFY_SOCKET": str(path)})
            end = time.monotonic() + timeout
            while time.monotonic() < end:
                if self.daemon.poll() is not None:
                    raise LabError(f"posternd ended with {self.daemon.returncode}:\n{self.log()}")
                try:
                    if b"READY=1" in notify.recv(4096):
                        return
                except TimeoutError:
                    pass
        raise LabError(f"posternd isn't ready after {timeout} s:\n{self.log()}")

    def stop(self, how=signal.SIGTERM, timeout=20):
        """Ends posternd and returns its exit status."""
        self.daemon.send_signal(how)
        status = self.daemon.wait(timeout)
        self.children.remove(self.daemon)
        return status

    def log(self):
        try:
            return (self.dir / "posternd.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def postern(self, *arguments, **options):
        return self.on("appliance", self.build / "app/postern", "--socket",
                       f"{self.dir}/postern.sock", *arguments, **options)

    def status(self):
        return json.loads(self.postern("status", "--json", check=True).stdout)

    def login_server(self):
        """Something like sshd on the appliance itself, reached through its twin interfaces."""
        return self.spawn("appliance", *HELPER, "serve", 22, "SSH-2.0-postern-lab")

    def wait_for(self, host, address, port, timeout=10):
        """Until somebody listens there, asked on the host itself."""
        self.on(host, *HELPER, "wait", address, port, timeout, check=True)

    # the end -----------------------------------------------------------------------------------

    def stop_script(self):
        """A script that does what `close` does, for a lab that outlives this process."""
        path = self.dir / "stop"
        lines = ["#!/bin/sh", "# Ends this lab: its programs, its namespaces, its files."]
        lines += [f"kill {child.pid} 2>/dev/null" for child in reversed(self.children)]
        lines += ["sleep 2"]
        lines += [f"kill -9 {child.pid} 2>/dev/null" for child in self.children]
        lines += [f"ip netns del {self.name(host)}" for host in self.namespaces]
        lines += [f"rm -rf {self.dir}"]
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o755)
        return path

    def close(self, keep_files=False):
        for child in reversed(self.children):
            if child.poll() is None:
                child.terminate()
        for child in self.children:
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(30)
        for host in self.namespaces:
            run("ip", "netns", "del", self.name(host), check=False)
        self.children, self.namespaces = [], []
        if not keep_files:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        try:
            self.make_network()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.close()
