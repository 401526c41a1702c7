#!/usr/bin/python3
"""Compares what nf_conntrack_log_invalid makes Postern write with the kernel's own lines.

usage: invalid_log.py POSTERN [--cases NAME...] [--seeds FIRST-LAST]

The same packets go through the kernel in a namespace and through `postern replay`, with
net.netfilter.nf_conntrack_log_invalid=255. The kernel's lines are read from /dev/kmsg, for which
nf_log_all_netns is on while this runs. Needs root; skips (77) where the kernel's log can't be read.
"""

import argparse
import contextlib
import os
import pathlib
import re
import subprocess
import sys

import generator
import scenario as scenarios
import sides
import kernel as oracle

HERE = pathlib.Path(__file__).resolve().parent
ALL_NETNS = pathlib.Path("/proc/sys/net/netfilter/nf_log_all_netns")
# The owner of a socket: live, it is another process of the host's.
OWNER = re.compile(r"\b(UID|GID)=\d+ ")
# What each side may have chosen at random: NAT's ports, ids of its own packets.
CHOSEN = re.compile(r"\b(SPT|DPT|ID)=\d+ ")


class KernelLog:
    """What the kernel has logged since the last read()."""

    def __init__(self):
        self.file = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self.file, 0, os.SEEK_END)

    def read(self):
        lines = []
        while True:
            try:
                record = os.read(self.file, 8192).decode("utf-8", "replace")
            except BlockingIOError:
                return lines
            except BrokenPipeError:  # overwritten before it was read: a comparison would be wrong
                raise oracle.OracleError("the kernel's log was overrun") from None
            text = record.split(";", 1)[1].split("\n")[0] if ";" in record else ""
            if text.startswith("nf_ct_proto_"):
                # The one message that ends in a newline, written by printk as \x0a.
                lines.append(normal(text.replace("\\x0a ", " ")))


def normal(line):
    return OWNER.sub("", line).rstrip()


def logging(scenario):
    """The scenario with nf_conntrack_log_invalid."""
    setting = "nf_conntrack_log_invalid = 255; "
    text = scenario.conf_text
    if re.search(r"^conntrack:\s*\{", text, re.M):
        text = re.sub(r"^(conntrack:\s*\{)", r"\1 " + setting, text, count=1, flags=re.M)
    else:
        text += f"conntrack: {{ {setting}}};\n"
    return scenarios.Scenario(scenario.name, text, scenario.rules4, scenario.rules6, scenario.steps,
                              scenario.names, scenario.note)


class Replay(sides.Postern):
    """Keeps the lines that the last round wrote."""

    def __init__(self, program):
        super().__init__(program)
        self.lines = []

    def replay(self, *arguments, **named):
        run = subprocess.run

        def keep(*command, **options):
            done = run(*command, **options)
            self.lines = [normal(line) for line in done.stderr.splitlines()
                          if line.startswith("nf_ct_proto_")]
            return done

        subprocess.run = keep
        try:
            return super().replay(*arguments, **named)
        finally:
            subprocess.run = run


def compare(scenario, postern, kmsg):
    """(differences as text, number of lines that agree)."""
    scenario = logging(scenario)
    kernel = oracle.Kernel(scenario.conf)
    try:
        kmsg.read()
        result = sides.run_kernel(scenario, kernel)
        theirs = kmsg.read()
    finally:
        kernel.close()
    postern.run(scenario, result)
    ours = postern.lines
    if [CHOSEN.sub("", line) for line in theirs] == [CHOSEN.sub("", line) for line in ours]:
        return [], len(theirs)
    found = [f"kernel   {line}" for line in theirs if line not in ours]
    found += [f"postern  {line}" for line in ours if line not in theirs]
    return found or ["the same lines in another order"], len(set(theirs) & set(ours))


@contextlib.contextmanager
def logs_of_all_namespaces():
    """The kernel's side leaves this namespace, and with it the file's name: it stays open."""
    file = os.open(ALL_NETNS, os.O_RDWR)
    before = os.pread(file, 8, 0)
    os.pwrite(file, b"1\n", 0)
    try:
        yield
    finally:
        os.pwrite(file, before, 0)
        os.close(file)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("postern", type=pathlib.Path)
    parser.add_argument("--cases", nargs="*", metavar="NAME")
    parser.add_argument("--seeds", metavar="FIRST-LAST")
    options = parser.parse_args()
    missing = sides.root_missing()
    if not missing and not (ALL_NETNS.exists() and os.access("/dev/kmsg", os.R_OK)):
        missing = "needs the kernel's log"
    if missing:
        print(f"skipped: {missing}")
        return 77
    folders = sorted(f for f in (HERE.parent / "cases").iterdir() if (f / "packets.txt").exists())
    sample = [scenarios.load(f) for f in folders
              if options.cases is not None and
              (not options.cases or any(name in f.name for name in options.cases))]
    if options.seeds:
        first, _, last = options.seeds.partition("-")
        sample += [generator.generate(seed) for seed in range(int(first), int(last or first) + 1)]
    failed = agreed = 0
    with logs_of_all_namespaces():
        postern, kmsg = Replay(options.postern), KernelLog()
        for scenario in sample:
            wrong, same = compare(scenario, postern, kmsg)
            agreed += same
            failed += bool(wrong)
            print(f"{'FAIL' if wrong else 'PASS'} {scenario.name} ({same})", *wrong, sep="\n    ")
    print(f"log_invalid: {len(sample) - failed} agree, {failed} differ; {agreed} lines")
    return 1 if failed or not agreed else 0


if __name__ == "__main__":
    sys.exit(main())
