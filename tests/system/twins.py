"""Two appliances that are typed the same: one is posternd's, the other the kernel's own netfilter in a
network namespace of the same shape. What one says the other must say.

    inside (192.168.1.10, .100, .101) ─ eth1 [appliance] eth0 ─ outside (203.0.113.1, 198.51.100.7)

Each appliance has an /etc of its own, so that what is typed may write there.
"""

import os
import subprocess

import lab as labs
from lab import HELPER

CONF = """
system:    {{ control_socket = "{dir}/postern.sock"; metrics = ""; state_dir = "{dir}"; }};
dataplane: {{ workers = [ {workers} ]; main_core = 0; hugepages = false; memory_mb = 512;
             mbufs = 16384; }};
conntrack: {{ nf_conntrack_max = 262144; }};
ports: (
  {{ name = "eth0"; device = "net_af_packet0,iface=phy-eth0"; addresses = [ "203.0.113.2/24", "2001:db8:1::2/64" ]; }},
  {{ name = "eth1"; device = "net_af_packet1,iface=phy-eth1"; addresses = [ "192.168.1.1/24", "2001:db8:2::1/64" ]; }}
);
routes: ( {{ prefix = "0.0.0.0/0"; via = "203.0.113.1"; }}, {{ prefix = "::/0"; via = "2001:db8:1::1"; }} );
rules: {{ ipv4 = "{dir}/etc/iptables/rules.v4"; ipv6 = "{dir}/etc/iptables/rules.v6"; }};
log: {{ rules_file = "{dir}/firewall.log"; }};
{extra}
"""
EMPTY = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"
HOSTS = ("appliance", "inside", "outside")


class Twin(labs.Lab):
    """What both have: the hosts, the wires, an /etc."""

    template = CONF
    ports = ("eth0", "eth1")
    environment = {}

    def __init__(self, build, workers=1):
        super().__init__(build, workers)
        etc = self.dir / "etc"
        subprocess.run(["cp", "-a", "/etc", etc], check=True)
        (etc / "iptables").mkdir(exist_ok=True)
        for name in ("rules.v4", "rules.v6"):
            (etc / "iptables" / name).write_text(EMPTY)
        (etc / "sysctl.d").mkdir(exist_ok=True)

    def make_network(self):
        for host in HOSTS:
            labs.run("ip", "netns", "add", self.name(host))
            self.namespaces.append(host)
            self._ip(host, "link set lo up")
            for which in ("all", "default"):
                self.on(host, "sysctl", "-qw", f"net.ipv6.conf.{which}.accept_dad=0", check=True)
        self._wire("appliance", self.ports[0], "outside", "eth0")
        self._wire("appliance", self.ports[1], "inside", "eth0")
        self._ip("inside", *[f"addr add 192.168.1.{last}/24 dev eth0" for last in (10, 100, 101)],
                 "addr add 2001:db8:2::10/64 dev eth0 nodad",
                 "route add default via 192.168.1.1", "-6 route add default via 2001:db8:2::1")
        self._ip("outside", "addr add 203.0.113.1/24 dev eth0",
                 "addr add 2001:db8:1::1/64 dev eth0 nodad", "addr add 198.51.100.7/32 dev lo")

    def start_servers(self):
        self._nginx("outside", "web", "listen 198.51.100.7:80; listen [2001:db8:1::1]:80;")
        self._nginx("inside", "inner", "listen 192.168.1.100:80;")
        self.spawn("inside", *HELPER, "serve", 22, "SSH-2.0-inner")
        # The appliance's own: something like sshd, a web server, an echo of datagrams.
        for port in (22, 80):
            self.spawn("appliance", *HELPER, "serve", port, f"appliance-{port}")
        self.wait_for("outside", "198.51.100.7", 80)
        self.wait_for("inside", "192.168.1.100", 80)
        self.wait_for("inside", "192.168.1.101", 22)
        for port in (22, 80):
            self.wait_for("appliance", "127.0.0.1", port)

    def typed(self, line, timeout=30):
        """A line typed on the appliance, as it stands."""
        script = f"mount --bind {self.dir}/etc /etc && exec bash -c \"$1\""
        return self.on("appliance", "unshare", "-m", "bash", "-c", script, "bash", line,
                       env={**os.environ, "LC_ALL": "C", **self.environment}, timeout=timeout)

    def what(self, host, address, port, seconds=1.5):
        """open, refused or timeout: what a client on `host` meets there."""
        return self.on(host, *HELPER, "connect", address, port, "", seconds).stdout.split()[0]

    def page(self, host, url):
        done = self.on(host, "curl", "-sS", "-m", 2, url)
        return done.stdout.strip() or f"curl {done.returncode}"


class PosternTwin(Twin):
    kind = "postern"
    ports = ("phy-eth0", "phy-eth1")

    def make_network(self):
        super().make_network()
        for port in self.ports:
            # The data ports are Postern's: the appliance's own stack stays off them.
            self.on("appliance", "sysctl", "-qw", f"net.ipv6.conf.{port}.disable_ipv6=1", check=True)
            self._ip("appliance", f"link set {port} arp off")

    def begin(self):
        self.environment = {"POSTERN_SOCKET": f"{self.dir}/postern.sock",
                            "PATH": f"{self.build}/libexec/postern:{self.build}/app:{os.environ['PATH']}"}
        self.start()
        self.start_servers()


class KernelTwin(Twin):
    kind = "kernel"

    def begin(self):
        self._ip("appliance", "addr add 203.0.113.2/24 dev eth0", "addr add 192.168.1.1/24 dev eth1",
                 "addr add 2001:db8:1::2/64 dev eth0 nodad", "addr add 2001:db8:2::1/64 dev eth1 nodad",
                 "route add default via 203.0.113.1")
        self.on("appliance", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
                check=True)
        self.start_servers()
