"""Runs a scenario on one side: the kernel, or `postern replay`."""

import json
import os
import pathlib
import struct
import subprocess
import tempfile
import time

import results
import wire
from scenario import Vocabulary

# Where a scenario's clock begins in replay when no kernel run gives the times (2026-01-01).
EPOCH = 1767225600.0
# Where short-lived files cost nothing.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
# A gap that is waited for; shorter ones are passed over, since both sides see the same times.
REAL_GAP = 0.02
# The kernel's connlimit looks its list over at most once a tick, so ticks must pass between packets.
TICK = 0.011


def twin_on_lo(scenario, port, packet):
    """The twin that gets what the appliance, sending on a port, says to itself by `lo`: that of the
    destination's port; its own where that is loopback's."""
    destination = wire.ipaddress.ip_address(wire.Parsed(packet).dst)
    for one in scenario.conf["ports"]:
        if any(wire.ipaddress.ip_interface(a).ip == destination for a in one.get("addresses", [])):
            return f"host:{one['name']}"
    return port if port.startswith("host:") else "host:lo"


def summed(l3):
    """What came by `lo`, with the sum that nobody computes there: the field holds the pseudo header's alone."""
    parsed = wire.Parsed(l3)
    at = parsed.sum_place()
    if at is None or parsed.proto not in (wire.TCP, wire.UDP):
        return l3
    head = wire.pseudo(parsed.src, parsed.dst, parsed.proto, len(parsed.payload))
    if struct.unpack_from("!H", l3, at)[0] != wire.ones_sum(head):
        return l3
    blank = l3[:at] + b"\0\0" + l3[at + 2:]
    value = wire.checksum(head + wire.Parsed(blank).payload) or 0xFFFF
    return l3[:at] + struct.pack("!H", value) + l3[at + 2:]


# --- kernel ------------------------------------------------------------------------------------

def run_kernel(scenario, kernel, patient=False, zone=0):
    """A Result. The scenario's gaps are real time here. `patient` lets a tick pass between packets, which is
    always done where connlimit counts. `zone` is that of all connections."""
    patient = patient or "connlimit" in scenario.rules4 + scenario.rules6
    kernel.begin(scenario.rules4, scenario.rules6, scenario.sysctls(), zone)
    result = results.Result(len(scenario.steps))
    emitted = {}
    vocabulary = Vocabulary(emitted)
    started, before = time.time(), 0.0

    def keep(index, out):
        if any(p == "host:lo" for p, _ in out):
            result.by_lo.add(index)
        port = result.sent[index][0]
        result.out[index] += [
            (twin_on_lo(scenario, port, data), summed(data)) if p == "host:lo" else
            (p, data if p.startswith("host:") else data[14:]) for p, data in out]
        emitted[index + 1] = results.whole_for_host(result.out[index])

    for index, step in enumerate(scenario.steps):
        port, packet = scenario.build(index, vocabulary)
        result.sent[index] = (port, packet)
        if step.time - before >= REAL_GAP:
            time.sleep(max(0.0, started + step.time - time.time()))
            # What time alone has brought about belongs to the packet before.
            keep(max(index - 1, 0), kernel.late())
        elif patient:
            time.sleep(TICK)
        before = step.time
        result.times[index], out = kernel.send(port, scenario.frame(port, packet))
        if kernel.too_large:
            result.unsent.add(index)
        keep(index, out)
    connections = []
    for family, rules in ((4, scenario.rules4), (6, scenario.rules6)):
        if rules:
            results.parse_counters(kernel.counters(family), family, result.counters)
        if any(packet[:1] and packet[0] >> 4 == family for _, packet in result.sent):
            # As of the last packet, as replay tells it, however busy the machine is.
            connections += results.connection_lines(kernel.conntrack(family),
                                                    time.time() - result.times[-1])
    result.conntrack = results.in_order(connections)
    return result


# --- postern -----------------------------------------------------------------------------------

def write_pcap(path, records):
    with open(path, "wb") as file:
        file.write(struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1))  # nanoseconds
        for nanoseconds, frame in records:
            file.write(struct.pack("=IIII", nanoseconds // 10**9, nanoseconds % 10**9, len(frame),
                                   len(frame)) + frame)


def read_pcap(path):
    data = pathlib.Path(path).read_bytes()
    magic = struct.unpack_from("=I", data)[0]
    unit = {0xA1B23C4D: 1, 0xA1B2C3D4: 1000}[magic]
    at, records = 24, []
    while at + 16 <= len(data):
        seconds, part, length, _ = struct.unpack_from("=IIII", data, at)
        records.append((seconds * 10**9 + part * unit, data[at + 16:at + 16 + length]))
        at += 16 + length
    return records


class ReplayError(Exception):
    """`postern replay` failed."""


class Postern:
    """`postern replay`, started once a round."""

    def __init__(self, program, extra=()):
        self.program = str(pathlib.Path(program).resolve())
        # The oracle sends every ICMP error.
        self.extra = ["--icmp-unlimited", *extra]

    def replay(self, scenario, packets, times, unsent=()):
        """One round with fixed packets: a Result. What is `unsent` comes as a byte that is no packet."""
        with tempfile.TemporaryDirectory(prefix="postern-replay-", dir=MEMORY) as folder:
            folder = pathlib.Path(folder)
            conf = scenario.conf_text
            if scenario.sysctl_text:
                (folder / "sysctl.conf").write_text(scenario.sysctl_text)
                conf += 'sysctl_files = [ "sysctl.conf" ];\n'
            (folder / "postern.conf").write_text(conf)
            (folder / "rules.v4").write_text(scenario.rules4)
            (folder / "rules.v6").write_text(scenario.rules6)
            captures = {}
            for index, ((port, packet), when) in enumerate(zip(packets, times)):
                frame = scenario.frame(port, b"\0" if index in unsent else packet)
                captures.setdefault(port, []).append((when, frame))
            command = [self.program, "replay", "-c", str(folder / "postern.conf")]
            for number, (port, records) in enumerate(captures.items()):
                write_pcap(folder / f"in{number}.pcap", records)
                command += ["--in", f"{port}={folder}/in{number}.pcap"]
            out = folder / "out"
            out.mkdir()
            command += ["--out", str(out), "--events", str(folder / "events"), "--conntrack",
                        "--counters", *self.extra]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
            if done.returncode != 0:
                raise ReplayError(f"exit {done.returncode}: {done.stderr or done.stdout}")
            return self._collect(packets, times, folder, done.stdout)

    @staticmethod
    def _collect(packets, times, folder, printed):
        result = results.Result(len(packets))
        result.sent, result.times = list(packets), [t / 1e9 for t in times]
        for path in sorted((folder / "out").glob("*.pcap")):
            port = path.stem
            port = "host:" + port.removeprefix("host-") if port.startswith("host-") else port
            for when, frame in read_pcap(path):
                # Belongs to the last packet that came no later.
                index = max((i for i, t in enumerate(times) if t <= when + 999), default=0)
                result.out[index].append((port, frame[14:]))
        result.events = [json.loads(line) for line in (folder / "events").read_text().splitlines()]
        result.conntrack = results.connection_lines(printed)
        family = 4
        for part in printed.split("# Generated by "):
            if part.startswith("ip6tables-save"):
                family = 6
            elif part.startswith("iptables-save"):
                family = 4
            results.parse_counters(part, family, result.counters)
        return result

    def run(self, scenario, kernel_result=None):
        """A Result. Packets that answer what came out before are built in rounds, until the answers no
        longer change."""
        count = len(scenario.steps)
        if kernel_result:
            times = [round(t * 1e6) * 1000 for t in kernel_result.times]
        else:
            times = [round((EPOCH + step.time) * 1e6) * 1000 for step in scenario.steps]
        for index in range(1, count):  # every packet has a time of its own
            times[index] = max(times[index], times[index - 1] + 1000)
        packets = list(kernel_result.sent) if kernel_result else None
        emitted = {}
        for _ in range(count + 1):
            vocabulary = Vocabulary(emitted)
            built = [scenario.build(i, vocabulary) for i in range(count)]
            if kernel_result:
                # What doesn't answer anything is the kernel's packet, to the byte.
                built = [b if s.depends else k
                         for b, s, k in zip(built, scenario.steps, kernel_result.sent)]
                if not emitted:
                    built = list(kernel_result.sent)
            if emitted and built == packets:
                return result
            packets = built
            result = self.replay(scenario, packets, times,
                                 kernel_result.unsent if kernel_result else ())
            result.unsent = kernel_result.unsent if kernel_result else set()
            emitted = {i + 1: results.whole_for_host(out) for i, out in enumerate(result.out)}
            if not any(step.depends for step in scenario.steps):
                return result
        result.settled = False
        return result


def root_missing():
    """Why the kernel can't be asked here, or None."""
    if os.geteuid() != 0:
        return "needs root for a network namespace of its own"
    if not os.path.exists("/dev/net/tun"):
        return "needs /dev/net/tun"
    return None


__all__ = ["Postern", "ReplayError", "root_missing", "run_kernel", "wire"]
