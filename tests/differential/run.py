#!/usr/bin/python3
"""Compares Postern with the kernel's netfilter, packet by packet.

    run.py --postern PROGRAM --cases [NAME...]        every case folder, on both sides
    run.py --postern PROGRAM --seeds FIRST-LAST,...   generated scenarios
    run.py --postern PROGRAM --seconds N [--from S]   fresh seeds for N seconds
    run.py --record [NAME...]                         writes expect.txt from the kernel

With --arrangements the scenarios (or every Nth seed) also go through Postern with several workers, random
arrival and no fast path, which must all answer alike. With --live N, N of the seeds and the cases named go through a
real posternd. A difference is shrunk with --minimise FOLDER, which writes it there as a case folder.
Needs root, for network namespaces of its own.
"""

import argparse
import collections
import itertools
import multiprocessing
import os
import pathlib
import queue
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
CASES = HERE.parent / "cases"
sys.path.insert(0, str(HERE))

import cases  # noqa: E402
import comparison as comparisons  # noqa: E402
import generator  # noqa: E402
import kernel as oracle  # noqa: E402
import minimiser  # noqa: E402
import scenario as scenarios  # noqa: E402
import sides  # noqa: E402


def case_folders(names):
    folders = sorted(f for f in CASES.iterdir() if (f / "packets.txt").exists())
    return [f for f in folders if not names or any(n in f.name for n in names)]


def record(names):
    namespaces = comparisons.Namespaces()
    for folder in case_folders(names):
        scenario = scenarios.load(folder)
        result = sides.run_kernel(scenario, namespaces.get(scenario), patient=True)
        text, file = cases.expectation(scenario, result), folder / "expect.txt"
        if not file.exists() or cases.differences(file.read_text(), text):
            file.write_text(text)
            print(f"recorded {folder.name}")
    return 0


def comparison_of(options):
    return comparisons.Comparison(options.postern, options.extra.split(),
                                  comparisons.ARRANGEMENTS if options.arrangements else ())


KEPT = []  # a process's comparison, for its namespace's sake


def compare_case(asked):
    """`asked`: (folder, options). What is wrong with a case on the kernel, as recorded and on Postern."""
    folder, options = asked
    if not KEPT:
        KEPT.append(comparison_of(options))
    comparison = KEPT[0]
    scenario = scenarios.load(folder)
    try:
        result = comparison.kernel(scenario, patient=True)
        wrong = [f"recorded: {line}" for line in cases.differences(
            (folder / "expect.txt").read_text(), cases.expectation(scenario, result))]
        if not (folder / "expect.postern.txt").exists():
            wrong += comparison.differences(scenario)
        return wrong
    except (sides.ReplayError, oracle.OracleError, OSError) as error:
        return [str(error)]


def compare_cases(names, options):
    """Each case on the kernel and on Postern; and the kernel against what was recorded from it."""
    failed, folders = 0, case_folders(names)
    with multiprocessing.Pool(min(options.jobs, len(folders) or 1)) as pool:
        found = pool.imap(compare_case, [(folder, options) for folder in folders])
        for folder, wrong in zip(folders, found):
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


# --- seeds, several processes at once ----------------------------------------------------------

def differences_of(seed, comparison, options, to_shrink):
    """Lines that say what differs for a seed."""
    scenario = generator.generate(seed)
    try:
        found = comparison.differences(
            scenario, arranged=bool(options.arrangements) and seed % options.arrangements == 0)
    except oracle.OracleError as error:
        comparison.figures["refused"] += 1
        comparison.figures[f"{comparisons.REFUSED}{str(error).splitlines()[-1][:120]}"] += 1
        if options.verbose:
            print(f"seed {seed}: {error}", flush=True)
        return []
    except (sides.ReplayError, OSError) as error:
        return [str(error)]
    if found and options.minimise:
        with to_shrink.get_lock():
            left, to_shrink.value = to_shrink.value, to_shrink.value - 1
        if left > 0:
            found = shrink(scenario, comparison, options.minimise)
    return found


def work(seeds, end, options, to_shrink, reports):
    """One process: reports (seed, differences) for each that differs, its figures at the end."""
    figures = {}
    try:
        comparison = comparison_of(options)
        for seed in seeds:
            if time.monotonic() >= end:
                break
            found = differences_of(seed, comparison, options, to_shrink)
            if found:
                reports.put((seed, found))
        figures = comparison.figures
    finally:
        reports.put((None, figures))


def differs_again(asked):
    """`asked`: (seed, options). Whether a difference stays when the scenario is played twice more with nothing else going on. Postern's
    side depends on nothing but the packets and their times, so what goes away is the kernel's timing."""
    seed, options = asked
    comparison = comparison_of(options)
    return all(differences_of(seed, comparison, options, multiprocessing.Value("i", 0))
               for _ in range(2))


def read_open(path):
    """Seeds whose difference is known and not mended yet: {seed: what}. They are compared and shown, but
    don't count as passed or failed."""
    known = {}
    for line in path.read_text().splitlines() if path else ():
        seed, _, what = line.partition(" ")
        if seed.isdigit():
            known[int(seed)] = what.strip()
    return known


def named_seeds(text):
    """[seed] of "1-4,7"."""
    seeds = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def compare_seeds(seeds, options):
    """`seeds`: a list, or the first of an endless row that --seconds ends."""
    end = time.monotonic() + options.seconds if options.seconds else float("inf")
    reports = multiprocessing.Queue()
    to_shrink = multiprocessing.Value("i", options.most)
    workers = []
    jobs = min(options.jobs, len(seeds)) if isinstance(seeds, list) else options.jobs
    for job in range(jobs):
        mine = seeds[job::jobs] if isinstance(seeds, list) else itertools.count(seeds + job, jobs)
        workers.append(multiprocessing.Process(target=work,
                                               args=(mine, end, options, to_shrink, reports)))
        workers[-1].start()
    figures, failed, still_open, running = collections.Counter(), 0, 0, jobs
    suspects = {}
    while running:
        try:
            seed, found = reports.get(timeout=1)
        except queue.Empty:
            if not any(worker.is_alive() for worker in workers) and reports.empty():
                break  # one was killed before it could say so
            continue
        if seed is None:
            running -= 1
            figures.update(found)
            failed += not found
            continue
        if seed in options.open:
            still_open += 1
            print(f"OPEN seed {seed}: {options.open[seed]}", flush=True)
            continue
        suspects[seed] = found
        print(f"seed {seed} differs; to be played again at the end", flush=True)
    varying = 0
    with multiprocessing.Pool(options.jobs) as pool:
        stays = pool.map(differs_again, [(seed, options) for seed in sorted(suspects)], 1)
    for (seed, found), again in zip(sorted(suspects.items()), stays):
        if again:
            failed += 1
            print(f"FAIL seed {seed}: {len(found)} differences")
            print("\n".join(f"    {line}" for text in found[:20] for line in text.splitlines()),
                  flush=True)
        else:
            varying += 1
            print(f"VARIES seed {seed}: the same packets agree when they are sent again", flush=True)
    failed += running
    passed = max(0, figures["rule sets"] - failed - still_open - varying)
    print(f"known differences that are open: {still_open}")
    print(f"figures: {comparisons.summary(figures)}; kernel {oracle.Kernel.release()}")
    print(f"differential seeds: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def live(options):
    import live as lab  # its helpers are tests/system's
    folders = case_folders(options.cases) if options.cases else []
    first = named_seeds(options.seeds or "1")[0]
    sample = [scenarios.load(folder) for folder in folders]
    sample += [generator.generate(seed) for seed in range(first, first + options.live)]
    return lab.compare(sample, options.posternd, options.postern, options.workers)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postern", type=pathlib.Path)
    parser.add_argument("--posternd", type=pathlib.Path)
    parser.add_argument("--record", nargs="*", metavar="NAME")
    parser.add_argument("--cases", nargs="*", metavar="NAME")
    parser.add_argument("--seeds", metavar="FIRST-LAST,...")
    parser.add_argument("--open", type=pathlib.Path, metavar="FILE",
                        help="seeds whose differences are known and open")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--from", dest="first", type=int, default=None)
    parser.add_argument("--arrangements", type=int, nargs="?", const=1, metavar="N")
    parser.add_argument("--coverage", action="store_true", help="what the seeds are made of; asks no kernel")
    parser.add_argument("--table-full", action="store_true", help="nf_conntrack_max, for a moment the machine's own")
    parser.add_argument("--live", type=int, metavar="N")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="of posternd, with --live")
    parser.add_argument("--jobs", type=int, default=8 * (os.cpu_count() or 1),
                        help="processes, each with a namespace; nearly all of their time is waiting")
    parser.add_argument("--minimise", metavar="FOLDER")
    parser.add_argument("--most", type=int, default=5, help="differences to minimise")
    parser.add_argument("--extra", default="", help="more options for `postern replay`")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    options.open = read_open(options.open)
    missing = sides.root_missing()
    if missing:
        print(f"skipped: {missing}")
        return 77
    if options.record is not None:
        return record(options.record)
    if options.table_full:
        import table_full
        return table_full.compare(options.postern)
    if options.live is not None:
        return live(options)
    if options.coverage:
        import coverage
        return coverage.show(options.postern, named_seeds(options.seeds or "1-100"))
    if options.seeds:
        return compare_seeds(named_seeds(options.seeds), options)
    if options.seconds:
        first = options.first if options.first is not None else generator.FRESH + int(time.time()) * 1000
        print(f"seeds from {first}", flush=True)
        return compare_seeds(first, options)
    return compare_cases(options.cases or [], options)


if __name__ == "__main__":
    sys.exit(main())
