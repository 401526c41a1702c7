#!/usr/bin/env python3
"""Types each line of rules.txt to iptables 1.8.9 in a network namespace and to Postern's grammar,
and compares exit status, sentences and what -save, -S and -L print afterwards. Root.

rules.txt: "4 WORDS" for iptables, "6 WORDS" for ip6tables, "4 @restore [OPTION ...] TEXT" for the
restore programs; "{" and "}" alone on a line hold lines together that build on each other, other
lines start from nothing.
"""
import argparse
import difflib
import os
import re
import shlex
import subprocess
import sys
import tempfile

PROGRAMS = {"4": "iptables", "6": "ip6tables"}
# Where the original only says that the kernel said no, Postern gives the reason.
LEAK = re.compile(r"(RULE|CHAIN)_\w+ failed \(|Temporary failure in name resolution|"
                  r"is incompatible, use 'nft' tool")


class Side:
    def __init__(self, prefix, environment):
        self.prefix = prefix
        self.environment = dict(os.environ, LC_ALL="C", **environment)

    def run(self, words, text=None):
        done = subprocess.run(self.prefix + words, input=text, capture_output=True, text=True,
                              env=self.environment, timeout=30)
        output = done.stdout.replace("(nf_tables)", "(postern)")
        # The kernel's own log has nothing about Postern's rules.
        error = done.stderr.replace("(nf_tables)", "(postern)").replace(
            " Run `dmesg' for more information.", "")
        output = "".join(l for l in output.splitlines(True)
                         if not l.startswith(("# Generated", "# Completed")))
        return done.returncode, output, error


def sorted_tables(text):
    """The original prints tables in the order of their creation."""
    return "".join(sorted(re.findall(r"^\*.*?^COMMIT\n", text, re.M | re.S)))


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


class Comparison:
    def __init__(self, typing, namespace, state):
        self.namespace = namespace
        self.state = state
        self.kernel = Side(["ip", "netns", "exec", namespace], {})
        self.ours = Side([typing], {"IPTABLES_STATE": state})

    def reset(self):
        for name in os.listdir(self.state):
            os.unlink(os.path.join(self.state, name))
        self.kernel.run(["nft", "flush", "ruleset"])

    def both(self, words, text=None):
        return self.kernel.run(words, text), self.ours.run(words, text)

    def compare(self, line):
        program = PROGRAMS[line[0]]
        words = shlex.split(line[2:])
        table = words[words.index("-t") + 1] if "-t" in words[:-1] else "filter"
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
        found = difference((kernel[0], sorted_tables(kernel[1]), kernel[2]),
                           (ours[0], sorted_tables(ours[1]), ours[2]))
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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--typing", required=True)
    parser.add_argument("rules", nargs="?",
                        default=os.path.join(os.path.dirname(__file__), "rules.txt"))
    options = parser.parse_args()
    if os.geteuid() != 0:
        return 77  # meson: skipped
    version = subprocess.run(["iptables", "-V"], capture_output=True, text=True).stdout
    if "v1.8.9 (nf_tables)" not in version:
        print("iptables 1.8.9 (nf_tables) isn't here:", version)
        return 77
    namespace = f"postern-ipt-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    count = bad = 0
    try:
        with tempfile.TemporaryDirectory() as state, open(options.rules, encoding="utf-8") as file:
            comparison = Comparison(options.typing, namespace, state)
            together = False
            for line in file:
                line = line.rstrip("\n")
                if not line or line.startswith("#"):
                    continue
                if line in "{}":
                    together = line == "{"
                    comparison.reset()
                    continue
                count += 1
                found = comparison.compare(line)
                if found:
                    bad += 1
                    print(f"{line}: {found[0]}", *found[1], sep="\n    ")
                if not together:
                    comparison.reset()
    finally:
        subprocess.run(["ip", "netns", "del", namespace], check=False)
    print(f"{count} lines, {bad} differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
