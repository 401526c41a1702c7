#!/usr/bin/python3
"""Feeds the lines of iptables' own test files (extensions/*.t of its source package) to Postern's
grammar: those to be accepted, in the form in which they must be saved, and those to be refused.

usage: run.py TYPING [FILE...]

TYPING is the program `iptables-typing`: iptables' commands without a daemon. FILE is a name like
libxt_tcp. Exit status 77 (skipped) where the package can't be had.
"""

import pathlib
import shlex
import sys

import source

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "control/iptables"))
from typed import Typing  # noqa: E402

SKIPPED = 77
NO_SUCH_FILE = 2

# The files whose lines apply.
SUPPORTED = """
    iptables libip6t_standard libxt_standard
    libip6t_icmp6 libipt_icmp libxt_comment libxt_connlimit libxt_conntrack libxt_limit libxt_mark
    libxt_multiport libxt_recent libxt_state libxt_tcp libxt_udp
    libip6t_DNAT libip6t_LOG libip6t_MASQUERADE libip6t_REJECT libip6t_SNAT
    libipt_DNAT libipt_LOG libipt_MASQUERADE libipt_REJECT libipt_SNAT
    libxt_CT libxt_MARK libxt_NOTRACK libxt_REDIRECT
""".split()
# Options of those extensions that Postern doesn't have; lines with one of them don't apply.
MISSING_OPTIONS = {"libxt_CT": {"--ctevents", "--expevents", "--zone", "--timeout", "--helper"}}
# What later kernels answer otherwise, by the line as it is: the line as later iptables tests it.
OVERTAKEN = {
    # Linux has raised the largest hitcount from 255 to 65535 since.
    "-m recent --rcheck --hitcount 999 --name foo --mask 255.255.255.255 --rsource;;FAIL":
    "-m recent --rcheck --hitcount 65536 --name foo --mask 255.255.255.255 --rsource;;FAIL",
}
# Tests of other programs, for ARP and bridges.
FOREIGN_PREFIXES = ("libarpt_", "libebt_")


class Line:
    """A test: rule;saved form;OK, FAIL or NOMATCH[;variant[;result of the other variant]]."""

    def __init__(self, text):
        fields = text.rstrip("\n").split(";")
        self.rule = fields[0]
        self.saved = fields[0] if fields[1] == "=" else fields[1]
        self.result = fields[2].rstrip()
        if len(fields) > 3 and fields[3].strip() == "LEGACY":
            inverse = {"OK": "FAIL", "FAIL": "OK", "NOMATCH": "OK"}
            self.result = fields[4].strip() if len(fields) > 4 else inverse[self.result]


def saved(typing, program):
    return typing.run([program + "-save"])[1].splitlines()


def check(typing, program, table, chain, line):
    """What is wrong with a line in a chain; None if nothing is."""
    typing.reset()
    try:
        words = shlex.split(line.rule)
    except ValueError as error:
        return f"unreadable: {error}"
    status, _, error = typing.run([program, "-t", table, "-A", chain, *words])
    if line.result == "FAIL":
        return None if status else "accepted, must be refused"
    if status:
        return f"refused: {error.splitlines()[0] if error else status}"
    rules = [rule for rule in saved(typing, program) if rule.startswith("-A ")]
    found = f"-A {chain} {line.saved}".rstrip() in rules
    if found != (line.result == "OK"):
        return f"saved as {' / '.join(rules)}"
    # What takes it away is what put it there.
    status, _, error = typing.run([program, "-t", table, "-D", chain, *words])
    return f"not deleted: {error.strip()}" if status else None


class Count:
    def __init__(self):
        self.passed = self.failed = self.missing = 0

    def __str__(self):
        text = f"{self.passed} passed, {self.failed} failed"
        return text + (f", {self.missing} for options not there yet" if self.missing else "")


def run_file(typing, path):
    program = "ip6tables" if path.name.startswith("libip6t_") else "iptables"
    missing = MISSING_OPTIONS.get(path.stem, set())
    table, chains, count = "filter", [], Count()
    for number, text in enumerate(path.read_text().splitlines(), 1):
        # Lines with @ or % run other programs, for the options that Postern doesn't have.
        if not text.strip() or text[0] in "#@%":
            continue
        if text[0] == ":":
            chains = text[1:].split(",")
        elif text[0] == "*":
            table = text[1:].strip()
        elif missing & set(text.split(";")[0].split()):
            count.missing += 1
        else:
            line = Line(OVERTAKEN.get(text, text))
            wrong = [f"{chain}: {reason}" for chain in chains
                     if (reason := check(typing, program, table, chain, line))]
            if wrong or not chains:
                count.failed += 1
                print(f"FAIL {path.name}:{number}: {text}", *wrong, sep="\n    ")
            else:
                count.passed += 1
    return count


def main():
    try:
        folder = source.test_files()
    except source.Unavailable as error:
        print(f"skipped: {error}")
        return SKIPPED
    names = sys.argv[2:] or SUPPORTED
    absent = [name for name in names if not (folder / f"{name}.t").exists()]
    if absent:
        print(f"iptables {source.VERSION} has no tests called {' '.join(absent)}")
        return NO_SUCH_FILE
    typing = Typing(str(pathlib.Path(sys.argv[1]).resolve()))
    total = Count()
    for name in names:
        count = run_file(typing, folder / f"{name}.t")
        # In other words than the sum, which is what counts.
        print(f"{name}: {count.passed} of {count.passed + count.failed}")
        for field in vars(total):
            setattr(total, field, getattr(total, field) + getattr(count, field))
    others = sorted(path.stem for path in folder.glob("*.t")
                    if path.stem not in SUPPORTED and not path.stem.startswith(FOREIGN_PREFIXES))
    print(f"none apply yet for {len(others)}: {' '.join(others)}")
    print(total)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
