"""nf_conntrack_max against the kernel: who gets in when the table is full, and who has to go.

The kernel's maximum is the machine's and not a namespace's own, and it looks for a victim among the eight
buckets next to the newcomer's, so both the maximum and the number of buckets are set for the moment that
the kernel needs, and put back. Which connection goes is a matter of hashes on both sides: what is
compared is how many get in, how many there are in the end, and that nobody assured had to go.
"""

import multiprocessing
import os
import queue

import kernel as oracle
import scenario as scenarios
import sides

MAXIMUM = 512
SETTINGS = {"/sys/module/nf_conntrack/parameters/hashsize": MAXIMUM,
            "/proc/sys/net/netfilter/nf_conntrack_max": MAXIMUM}
RULES = "*filter\nCOMMIT\n"
# (assured connections, others, newcomers, the least and the most of these that may get in)
TABLES = ((0, 0, 800, 800, 800), (MAXIMUM, 0, 100, 0, 0), (461, 51, 300, 150, 299), (300, 212, 300, 290, 300))
BEGIN = 1800000000 * 10**9


def frames(assured, others, newcomers):
    """[(port, packet)]"""
    make, found = scenarios.Vocabulary, []
    for number in range(assured):
        here = f"lan1:{1024 + number}"
        found += [("lan0", make.tcp(here, "web:80", "S", seq=1)), ("wan0", make.tcp("web:80", here, "SA", seq=1, ack=2)),
                  ("lan0", make.tcp(here, "web:80", "A", seq=2, ack=2))]
    found += [("lan0", make.udp(f"lan2:{1024 + number}", "web:53", "other")) for number in range(others)]
    return found + [("lan0", make.udp(f"server:{1024 + number}", "dns:53", "new")) for number in range(newcomers)]


def outcome(newcomers, sent, connections):
    """(newcomers who got in, connections, assured ones among them); `sent`: packets out for each packet in."""
    return sum(sent[-newcomers:]), len(connections), sum("[ASSURED]" in line for line in connections)


def _in_namespace(scenario, packets, go, answers):
    kernel = oracle.Kernel(scenario.conf)
    kernel.begin(scenario.rules4)
    answers.put(None)
    go.get()
    sent = [len(kernel.send(port, scenario.frame(port, packet))[1]) for port, packet in packets]
    answers.put((sent, [line for line in kernel.conntrack(4).splitlines() if "src=" in line]))


def on_kernel(scenario, packets):
    """What the kernel did: (packets out for each in, connections)."""
    go, answers = multiprocessing.Queue(), multiprocessing.Queue()
    child = multiprocessing.Process(target=_in_namespace, args=(scenario, packets, go, answers), daemon=True)
    child.start()
    answers.get(timeout=30)
    before = {name: int(open(name, encoding="ascii").read()) for name in SETTINGS}
    try:
        _write(SETTINGS)
        go.put(None)
        return answers.get(timeout=30)
    finally:
        _write(before)
        child.join(10)


def _write(settings):
    for name, value in settings.items():
        with open(name, "w", encoding="ascii") as file:
            file.write(str(value))


def missing():
    """Why the machine's maximum can't be changed here, or None."""
    if not all(os.access(name, os.W_OK) for name in SETTINGS):
        return "the kernel's nf_conntrack_max can't be written here"
    with open("/proc/sys/net/netfilter/nf_conntrack_count", encoding="ascii") as file:
        return "the machine has connections of its own" if int(file.read()) > MAXIMUM // 4 else None


def compare(program):
    """Prints and counts; the exit status."""
    reason = missing()
    if reason:
        print(f"skipped: {reason}")
        return 77
    settings = f"conntrack: {{ nf_conntrack_max = {MAXIMUM}; }};\n"
    scenario = scenarios.Scenario("table_full", scenarios.COMMON_CONF.read_text() + settings, RULES)
    failed = 0
    for assured, others, newcomers, least, most in TABLES:
        packets = frames(assured, others, newcomers)
        try:
            theirs = outcome(newcomers, *on_kernel(scenario, packets))
        except queue.Empty:
            theirs = (-1, -1, -1)
        times = [BEGIN + number * 10**6 for number in range(len(packets))]
        result = sides.Postern(program).replay(scenario, packets, times)
        ours = outcome(newcomers, [len(out) for out in result.out], result.conntrack)
        fine = all(least <= admitted <= most and there <= MAXIMUM and stayed == assured
                   for admitted, there, stayed in (theirs, ours))
        failed += not fine
        print(f"{'PASS' if fine else 'FAIL'} table full: {assured} assured, {others} others, {newcomers} new: "
              f"kernel {theirs}, postern {ours} (got in, connections, assured)", flush=True)
    print(f"differential table full: {len(TABLES) - failed} passed, {failed} failed")
    return 1 if failed else 0
