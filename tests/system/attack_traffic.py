"""What comes over the wire: malformed frames, floods, neighbours that don't answer, a cut cable."""

import re
import subprocess
import time

import lab as labs
import steps
from attack_lab import MAX, SILENT, alive, drops, firewall_log, grown, heard_all, link, metric, settle, wait_until
from steps import WEB, need


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


def all_workers_reach_the_web(lab):
    """Each worker has its own neighbours: so many pings, each with an id of its own, that every worker has one."""
    return all(lab.on("lan1", "ping", "-c", 1, "-W", 1, WEB).returncode == 0 for _ in range(16))


def lost_for_the_link(lab):
    reasons = ("link_down", "tx_full")
    return sum(p["drops"].get(reason, 0) for p in lab.status()["ports"] for reason in reasons)


def test_a_port_without_link(lab):
    # Who doesn't know the neighbour asks for it in vain, and has nothing to lose at the port.
    wait_until(lambda: all_workers_reach_the_web(lab), "no traffic before", 10)
    said = lab.log().count("port wan0: link down")
    labs.run("ip", "-n", lab.name("appliance"), "link", "set", "phy-wan", "down")
    try:
        wait_until(lambda: link(lab, "wan0") == "down", "the link is still up", 5)
        before = lost_for_the_link(lab)
        lab.on("lan1", "ping", "-c", 3, "-i", 0.2, "-W", 1, WEB)
        need(lost_for_the_link(lab) >= before + 3, f"not counted: {lab.status()['ports']}")
        done = lab.on("lan1", "ping", "-c", 3, "-i", 0.2, "-W", 1, "192.168.1.1")
        need(" 0% packet loss" in done.stdout, f"the other port suffers:\n{done.stdout}")
        time.sleep(2.5)
        need(lab.log().count("port wan0: link down") == said + 1, f"said:\n{lab.log()[-1500:]}")
    finally:
        labs.run("ip", "-n", lab.name("appliance"), "link", "set", "phy-wan", "up")
    wait_until(lambda: link(lab, "wan0") == "up", "the link doesn't come back", 5)
    wait_until(lambda: "port wan0: link up" in lab.log(), "its return isn't logged")
    wait_until(lambda: all_workers_reach_the_web(lab), "no traffic from every worker", 10)
    steps.web_out(lab)
    alive(lab)
