#!/usr/bin/python3
"""Compares Postern with the kernel's netfilter, packet by packet.

    run.py --postern PROGRAM --cases [NAME...]        every case folder, on both sides
    run.py --postern PROGRAM --seeds FIRST-LAST       generated scenarios
    run.py --postern PROGRAM --seconds N [--from S]   fresh seeds for N seconds
    run.py --record [NAME...]                         writes expect.txt from the kernel

A difference is shrunk with --minimise FOLDER, which writes it there as a case folder. Needs root, for a
network namespace of its own.
"""

import argparse
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
CASES = HERE.parent / "cases"
sys.path.insert(0, str(HERE))

import cases  # noqa: E402
import generator  # noqa: E402
import kernel as oracle  # noqa: E402
import minimiser  # noqa: E402
import results  # noqa: E402
import scenario as scenarios  # noqa: E402
import sides  # noqa: E402


class Namespaces:
    """The kernel for a scenario: the running one where its ports fit."""

    def __init__(self):
        self.kernel, self.topology, self.fragments = None, None, False

    def get(self, scenario):
        """Fragments that wait for others would meet the next scenario's: a fresh one after those."""
        stale, self.fragments = self.fragments, scenario.has_fragments()
        if stale or self.topology != scenario.topology():
            if self.kernel:
                self.kernel.close()
            self.kernel = oracle.Kernel(scenario.conf)
            self.topology = scenario.topology()
        return self.kernel


class Comparison:
    """Both sides, for one scenario after the other."""

    def __init__(self, program, extra):
        self.namespaces = Namespaces()
        self.postern = sides.Postern(program, extra)
        self.scenarios = self.packets = self.emitted = self.varying = self.refused = self.apart = 0

    def kernel(self, scenario):
        return sides.run_kernel(scenario, self.namespaces.get(scenario))

    def differences(self, scenario):
        """Lines; none where the kernel doesn't agree with itself either, or talks to itself (the
        appliance's own address as destination of its own packet: Postern's twin has no such thing)."""
        first = self.kernel(scenario)
        ours = self.postern.run(scenario, first)
        answers_itself = any(sent.startswith("host:") and any(p.startswith("host:") for p, _ in out)
                             for (sent, _), out in zip(ours.sent, ours.out))
        if answers_itself or any(port == "host:lo" for out in first.out for port, _ in out):
            self.apart += 1
            return []
        found, _ = results.compare(scenario, first, ours)
        self.scenarios += 1
        self.packets += len(scenario.steps)
        self.emitted += sum(map(len, first.out))
        if found and results.compare(scenario, first, self.kernel(scenario))[0]:
            self.varying += 1
            return []
        return found

    def figures(self):
        return (f"{self.scenarios} rule sets, {self.packets} packets in, {self.emitted} out, "
                f"{self.varying} on which the kernel varies, {self.refused} refused by it, {self.apart} "
                f"in which it talked to itself")


def case_folders(names):
    folders = sorted(f for f in CASES.iterdir() if (f / "packets.txt").exists())
    return [f for f in folders if not names or any(n in f.name for n in names)]


def record(names):
    namespaces = Namespaces()
    for folder in case_folders(names):
        scenario = scenarios.load(folder)
        result = sides.run_kernel(scenario, namespaces.get(scenario))
        text, file = cases.expectation(scenario, result), folder / "expect.txt"
        if not file.exists() or cases.differences(file.read_text(), text):
            file.write_text(text)
            print(f"recorded {folder.name}")
    return 0


def compare_cases(names, comparison):
    """Each case on the kernel and on Postern; and the kernel against what was recorded from it."""
    failed, folders = 0, case_folders(names)
    for folder in folders:
        scenario = scenarios.load(folder)
        wrong = []
        try:
            result = comparison.kernel(scenario)
            wrong = [f"recorded: {line}" for line in cases.differences(
                (folder / "expect.txt").read_text(), cases.expectation(scenario, result))]
            if not (folder / "expect.postern.txt").exists():
                wrong += comparison.differences(scenario)
        except (sides.ReplayError, oracle.OracleError, OSError) as error:
            wrong.append(str(error))
        failed += bool(wrong)
        print(f"{'FAIL' if wrong else 'PASS'} {folder.name}", *wrong, sep="\n    ", flush=True)
    print(f"differential cases: {len(folders) - failed} passed, {failed} failed")
    return 1 if failed or not folders else 0


def shrink(scenario, comparison, folder):
    """Writes the smallest scenario that still differs as a case folder; returns the differences."""
    small = minimiser.minimise(scenario, lambda s: bool(comparison.differences(s)))
    found = comparison.differences(small)
    small.note = f"From {scenario.name}."
    target = pathlib.Path(folder) / scenario.name
    scenarios.save(small, target)
    (target / "expect.txt").write_text(cases.expectation(small, comparison.kernel(small)))
    return [f"as a case: {target}", small.rules4 + small.rules6] + found


def compare_seeds(seeds, comparison, options):
    failed = 0
    for seed in seeds:
        scenario = generator.generate(seed)
        try:
            found = comparison.differences(scenario)
        except oracle.OracleError as error:
            comparison.refused += 1
            if options.verbose:
                print(f"seed {seed}: {error}")
            continue
        except (sides.ReplayError, OSError) as error:
            found = [str(error)]
        if found:
            failed += 1
            print(f"FAIL seed {seed}: {len(found)} differences")
            if options.minimise and failed <= options.most:
                found = shrink(scenario, comparison, options.minimise)
            print("\n".join(f"    {line}" for text in found[:20] for line in text.splitlines()),
                  flush=True)
    print(f"differential seeds: {comparison.scenarios - failed} passed, {failed} failed")
    print(f"figures: {comparison.figures()}; kernel {oracle.Kernel.release()}")
    return 1 if failed or not comparison.scenarios else 0


def fresh(first, seconds):
    end, seed = time.monotonic() + seconds, first
    while time.monotonic() < end:
        yield seed
        seed += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postern", type=pathlib.Path)
    parser.add_argument("--record", nargs="*", metavar="NAME")
    parser.add_argument("--cases", nargs="*", metavar="NAME")
    parser.add_argument("--seeds", metavar="FIRST-LAST")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--from", dest="first", type=int, default=None)
    parser.add_argument("--minimise", metavar="FOLDER")
    parser.add_argument("--most", type=int, default=5, help="differences to minimise")
    parser.add_argument("--extra", default="", help="more options for `postern replay`")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    missing = sides.root_missing()
    if missing:
        print(f"skipped: {missing}")
        return 77
    if options.record is not None:
        return record(options.record)
    comparison = Comparison(options.postern, options.extra.split())
    if options.seeds:
        first, _, last = options.seeds.partition("-")
        return compare_seeds(range(int(first), int(last or first) + 1), comparison, options)
    if options.seconds:
        first = options.first if options.first is not None else int(time.time()) * 1000
        print(f"seeds from {first}")
        return compare_seeds(fresh(first, options.seconds), comparison, options)
    return compare_cases(options.cases or [], comparison)


if __name__ == "__main__":
    sys.exit(main())
