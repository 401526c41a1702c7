#!/usr/bin/env python3
"""What one saves the other restores: generated rule sets of the whole language go through the kernel's
iptables-restore and -save and through Postern's, each side then takes what the other has saved, and all saved
forms must be the same, byte by byte. Root.

usage: exchange.py --typing PROGRAM [--seeds FIRST-LAST]
"""
import argparse
import concurrent.futures
import os
import pathlib
import random
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "differential"))
import compare  # noqa: E402
from rules_generator import Rules  # noqa: E402

FAMILIES = {4: "iptables", 6: "ip6tables"}


def with_counters(saved, rng):
    """The saved text with counters, but for the chains of the user, which have none."""
    def counters(_):
        packets = rng.choice((0, 1, rng.randrange(10**6), rng.randrange(10**12)))
        return f"[{packets}:{packets * rng.randrange(20, 1500)}]"
    return "".join(line if re.match(r":\S+ - ", line) else re.sub(r"\[0:0\]", counters, line, count=1)
                   for line in saved.splitlines(True))


def without_rules_counters(saved):
    return re.sub(r"^\[\d+:\d+\] -A", "[0:0] -A", saved, flags=re.M)


class Exchange(compare.Comparison):
    def empty(self):
        self.clean = False
        self.reset()

    def restore(self, run, program, text, *options):
        answer = compare.plain(run([program + "-restore", *options], text))
        if answer != (0, "", ""):
            raise AssertionError(f"{program}-restore {' '.join(options)}: {answer}\n{text}")

    def save(self, run, program, *options):
        status, output, error = compare.plain(run([program + "-save", *options]))
        if (status, error) != (0, ""):
            raise AssertionError(f"{program}-save: {status} {error}")
        return output

    def check(self, seed, family):
        """Raises what is wrong with the seed's rules."""
        program = FAMILIES[family]
        rng = random.Random(seed)
        text = Rules(rng, family).text()
        kernel, ours = compare.run_original, self.ours.run
        self.empty()
        for run in (kernel, ours):
            self.restore(run, program, text)
        self.same("restored from the same text", self.save(kernel, program, "-c"),
                  self.save(ours, program, "-c"))
        # With counters, each from what the other has saved. ip6tables 1.8.9 forgets those of rules.
        counted = with_counters(self.save(ours, program, "-c"), rng)
        self.empty()
        self.restore(kernel, program, counted, "-c")
        by_kernel = self.save(kernel, program, "-c")
        if family == 6:
            counted = without_rules_counters(counted)
        self.same("Postern's, restored by the kernel", by_kernel, counted)
        self.restore(ours, program, by_kernel, "--counters")
        self.same("the kernel's, restored by Postern", by_kernel, self.save(ours, program, "-c"))
        # Without counters, a table at a time, onto what is there.
        plain = self.save(kernel, program)
        for table in re.findall(r"^\*(\S+)", plain, re.M):
            for run in (kernel, ours):
                self.restore(run, program, plain, "-T", table, "-w")
        self.same("table by table", *(self.save(run, program, "-c") for run in (kernel, ours)))

    @staticmethod
    def same(what, kernel, ours):
        found = compare.difference((0, kernel, ""), (0, ours, ""))
        if found:
            raise AssertionError("\n    ".join([what, *found]))


exchange = None  # of a process of the pool


def begin(typing):
    global exchange
    exchange = Exchange(typing)


def check(case):
    try:
        exchange.check(*case)
    except AssertionError as error:
        return f"seed {case[0]}, {FAMILIES[case[1]]}: {error}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--typing", required=True)
    parser.add_argument("--seeds", default="1-100")
    options = parser.parse_args()
    if os.geteuid() != 0 or not compare.original_is_here():
        return 77  # meson: skipped
    first, last = map(int, options.seeds.split("-"))
    cases = [(seed, family) for seed in range(first, last + 1) for family in FAMILIES]
    with concurrent.futures.ProcessPoolExecutor(compare.PROCESSES, initializer=begin,
                                                initargs=(options.typing,)) as pool:
        wrong = [text for text in pool.map(check, cases, chunksize=4) if text]
    print(*wrong, f"{len(cases) - len(wrong)} passed, {len(wrong)} failed", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
