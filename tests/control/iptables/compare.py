#!/usr/bin/env python3
"""Types each line of rules.txt to iptables 1.8.9 in a network namespace and to Postern's grammar,
and compares exit status, sentences and what -save, -S and -L print afterwards. Root.

rules.txt: "4 WORDS" for iptables, "6 WORDS" for ip6tables, "4 @restore [OPTION ...] TEXT" for the
restore programs, "4 @help WORDS" for help, which has words of its own but all of the original's options; "{" and "}" alone on a line hold lines together that build on each other, other
lines start from nothing.
"""
import argparse
import concurrent.futures
import ctypes
import difflib
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

from typed import Typing

PROGRAMS = {"4": "iptables", "6": "ip6tables"}
# Where the original only says that the kernel said no, Postern gives the reason.
LEAK = re.compile(r"(RULE|CHAIN)_\w+ failed \(|Temporary failure in name resolution|"
                  r"is incompatible, use 'nft' tool")
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
# Names of hosts and networks that are the same wherever the test runs.
ETC = pathlib.Path(__file__).resolve().parent / "etc"
# More than there are processors: the kernel lets who takes rules away wait.
PROCESSES = 3 * (os.cpu_count() or 1)


def own_namespaces():
    """From here on this process, and what it starts, has a network and an /etc of its own."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET | CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    place = tempfile.mkdtemp()
    for command in ("mount --make-rprivate /", f"mount -t tmpfs etc {place}", f"cp -a /etc {place}",
                    f"cp {' '.join(map(str, ETC.iterdir()))} {place}/etc",
                    f"mount --bind {place}/etc /etc", f"umount {place}"):
        subprocess.run(command.split(), check=True)
    os.rmdir(place)


def original_is_here():
    version = subprocess.run(["iptables", "-V"], capture_output=True, text=True).stdout
    if "v1.8.9 (nf_tables)" in version:
        return True
    print("iptables 1.8.9 (nf_tables) isn't here:", version)
    return False


def run_original(words, text=None):
    done = subprocess.run(words, input=text or "", capture_output=True, text=True,
                          env=dict(os.environ, LC_ALL="C"), timeout=60)
    return done.returncode, done.stdout, done.stderr


def plain(answer):
    """An answer without what is each side's own."""
    status, output, error = answer
    output = output.replace("(nf_tables)", "(postern)")
    # The kernel's own log has nothing about Postern's rules.
    error = error.replace("(nf_tables)", "(postern)").replace(
        " Run `dmesg' for more information.", "")
    output = "".join(l for l in output.splitlines(True)
                     if not l.startswith(("# Generated", "# Completed")))
    return status, output, error


def difference(kernel, ours):
    if kernel == ours:
        return None
    if LEAK.search(kernel[2]) and kernel[0] == ours[0] and kernel[1] == ours[1]:
        return None
    lines = [f"status {kernel[0]} {ours[0]}"] if kernel[0] != ours[0] else []
    for a, b in zip(kernel[1:], ours[1:]):
        lines += [l for l in difflib.unified_diff(a.splitlines(), b.splitlines(), lineterm="", n=0)
                  if not l.startswith(("---", "+++", "@@"))]
    return lines


def missing_options(kernel, ours):
    """What is wrong with our help: the original names options by their beginnings."""
    if (kernel[0], kernel[2]) != (ours[0], ours[2]):
        return [f"{kernel[0]} {kernel[2]}", f"{ours[0]} {ours[2]}"]
    return [option for option in re.findall(r"--[a-z][a-z0-9-]+", kernel[1]) if option not in ours[1]]


class Comparison:
    """The kernel's rules and Postern's, both empty at first."""

    def __init__(self, typing):
        own_namespaces()
        self.ours = Typing(typing)
        self.clean = True

    def reset(self):
        self.ours.reset()
        if not self.clean:
            run_original(["nft", "flush", "ruleset"])
        self.clean = True

    def both(self, words, text=None):
        return plain(run_original(words, text)), plain(self.ours.run(words, text or ""))

    def compare(self, line):
        program = PROGRAMS[line[0]]
        words = shlex.split(line[2:])
        table = words[words.index("-t") + 1] if "-t" in words[:-1] else "filter"
        if words and words[0] == "@help":
            found = missing_options(*self.both([program] + words[1:] + ["-h"]))
            return ("help", found) if found else None
        if words and words[0] == "@restore":
            text = words[-1].encode().decode("unicode_escape")
            answers = self.both([program + "-restore"] + words[1:-1], text)
            table = "filter"
        else:
            answers = self.both([program] + words)
        found = difference(*answers)
        if found:
            return "answer", found
        kernel, ours = self.both([program + "-save", "-c"])
        # -save shows every table that there is, an empty one too.
        self.clean = self.clean and kernel == (0, "", "")
        found = difference(kernel, ours)
        if found:
            return "-save", found
        # A refused line changes nothing, and -save would have shown it.
        if answers[0][0] != 0 or table not in ("filter", "nat", "mangle", "raw"):
            return None
        for options in (["-nvL"], ["-L"], ["-nvxL", "--line-numbers"], ["-vS"]):
            found = difference(*self.both([program, "-t", table] + options))
            if found:
                return " ".join(options), found
        return None


    def compare_group(self, lines):
        """The lines one after another, from nothing. Those that differ, as text."""
        texts = []
        for line in lines:
            found = self.compare(line)
            if found:
                texts.append("\n    ".join([f"{line}: {found[0]}", *found[1]]))
        self.reset()
        return texts


def groups(path):
    """The file's lines, those together that build on each other."""
    together = None
    with open(path, encoding="utf-8") as file:
        for line in file:
            line = line.rstrip("\n")
            if not line or line.startswith("#"):
                continue
            if line == "{":
                together = []
            elif line == "}":
                yield together
                together = None
            elif together is not None:
                together.append(line)
            else:
                yield [line]


comparison = None  # of a process of the pool


def begin(typing):
    global comparison
    comparison = Comparison(typing)


def compare_group(lines):
    return comparison.compare_group(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--typing", required=True)
    parser.add_argument("rules", nargs="?",
                        default=os.path.join(os.path.dirname(__file__), "rules.txt"))
    options = parser.parse_args()
    if os.geteuid() != 0 or not original_is_here():
        return 77  # meson: skipped
    bad = 0
    todo = list(groups(options.rules))
    with concurrent.futures.ProcessPoolExecutor(PROCESSES, initializer=begin,
                                                initargs=(options.typing,)) as pool:
        for texts in pool.map(compare_group, todo, chunksize=8):
            bad += len(texts)
            for text in texts:
                print(text, flush=True)
    print(f"{sum(map(len, todo))} lines, {bad} differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
