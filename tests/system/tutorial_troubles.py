"""The tutorials' troubles, restarts and logs: what goes wrong, seen with Postern as with the kernel."""

import gzip
import pathlib
import re
import signal
import time

import lab as labs
import twins
from tutorial_pair import WEB, Differs, no_saved_counters
from tutorial_rules import EDGE, LOGS, NAT


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
    ftp_without_helper(pair)
    table_full(pair.postern)
    memory(pair.postern)


FTP = """listen=YES
listen_address=198.51.100.7
background=NO
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
anon_root={dir}/ftp/pub
secure_chroot_dir={dir}/ftp/empty
run_as_launching_user=YES
seccomp_sandbox=NO
xferlog_enable=NO
pasv_min_port=50000
pasv_max_port=50009
"""


def ftp_without_helper(pair):
    """The control connection opens; the data connection is nobody's relation, and is dropped."""
    for twin in (pair.postern, pair.kernel):
        for name in ("pub", "empty"):
            (twin.dir / "ftp" / name).mkdir(parents=True)
        (twin.dir / "ftp/pub/hello.txt").write_text("hello by FTP\n")
        (twin.dir / "ftp/vsftpd.conf").write_text(FTP.format(dir=twin.dir))
        twin.spawn("outside", "vsftpd", twin.dir / "ftp/vsftpd.conf")
        twin.wait_for("outside", "198.51.100.7", 21)
    pair.typed("iptables -A FORWARD -p tcp --dport 21 -m conntrack --ctstate NEW -j ACCEPT")
    pair.traffic(("logged in", "timeout"), fetch)
    # An active client's PORT names the address that MASQUERADE has hidden.
    pair.traffic(("logged in", "PORT refused"), lambda twin: fetch(twin, "--ftp-port", "-"))
    pair.typed("conntrack -L expect")
    pair.typed("iptables -A FORWARD -p tcp --dport 50000:50009 -m conntrack --ctstate NEW -j ACCEPT")
    pair.traffic(("logged in", "hello by FTP"), fetch)


def fetch(twin, *options):
    """How far an FTP client inside comes: with its login, with its file."""
    done = twin.on("inside", "curl", "-sSv", "-m", 3, *options, "ftp://198.51.100.7/hello.txt")
    login = "logged in" if re.search("(?m)^< 230 ", done.stderr) else done.stderr
    end = {0: done.stdout.strip(), 28: "timeout", 30: "PORT refused"}
    return login, end.get(done.returncode, f"curl {done.returncode}: {done.stderr}")


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
