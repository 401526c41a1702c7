"""Medians, ratios of one run, and how they are shown."""

import dataclasses
import statistics


@dataclasses.dataclass(frozen=True)
class Subject:
    """One contender in one situation."""
    contender: str
    flows: int
    nat: bool = False
    rules: int = 10

    @property
    def name(self):
        return (f"{self.contender}, {short(self.flows)} flows{', MASQUERADE' if self.nat else ''}"
                f"{'' if self.rules == 10 else f', {short(self.rules)} rules'}")


@dataclasses.dataclass(frozen=True)
class Aim:
    """A ratio that is wanted of a run: of `one` to `other`."""
    text: str
    one: Subject
    other: Subject
    least: float
    aim: float


def short(number):
    for size, letter in ((1_000_000, "M"), (1000, "k")):
        if number >= size and number % size == 0:
            return f"{number // size}{letter}"
    return str(number)


def aims():
    """What the project wants to reach, as far as this comparison can tell."""
    def s(contender, flows, nat=False, rules=10):
        return Subject(contender, flows, nat, rules)

    return [
        Aim("16k flows, against OVS-DPDK conntrack", s("posternd", 16000), s("ovs", 16000), 3.5, 5),
        Aim("16k flows, MASQUERADE, against OVS-DPDK conntrack and NAT",
            s("posternd", 16000, True), s("ovs", 16000, True), 3.5, 5),
        Aim("16k flows, against the bare loop", s("posternd", 16000), s("bare", 16000), 0.40, 0.50),
        Aim("1M flows, MASQUERADE, against the bare loop", s("posternd", 1_000_000, True),
            s("bare", 1_000_000), 0.45, 0.55),
        Aim("16k flows, against the bare loop with posternd's buffers", s("posternd", 16000),
            s("bare-packed", 16000), 0.40, 0.50),
        Aim("1M flows, MASQUERADE, against the bare loop with posternd's buffers",
            s("posternd", 1_000_000, True), s("bare-packed", 1_000_000), 0.45, 0.55),
        Aim("16k flows, MASQUERADE against none", s("posternd", 16000, True), s("posternd", 16000),
            0.85, 0.95),
        Aim("1M flows, MASQUERADE against none", s("posternd", 1_000_000, True),
            s("posternd", 1_000_000), 0.85, 0.95),
        Aim("1M flows against 16k", s("posternd", 1_000_000), s("posternd", 16000), 0.5, 0.65),
        Aim("16k flows, 10,000 rules against 10", s("posternd", 16000, False, 10000),
            s("posternd", 16000), 0.98, 1.0),
        Aim("16k flows, against the kernel's netfilter", s("posternd", 16000), s("kernel", 16000),
            10, 20),
        Aim("16k flows, MASQUERADE, against the kernel's netfilter", s("posternd", 16000, True),
            s("kernel", 16000, True), 10, 20),
    ]


def ratios(samples, one, other):
    """`one`'s rate to `other`'s in every round that has both. `samples`: by subject, a sample (or
    None) a round."""
    pairs = zip(samples.get(one, []), samples.get(other, []))
    return [a.mpps / b.mpps for a, b in pairs if a and b and b.mpps > 0]


def summary(values):
    """Median, least and most, or None where there are none."""
    return (statistics.median(values), min(values), max(values)) if values else None


def rates(samples, subject, wall=False):
    return [s.mpps_wall if wall else s.mpps for s in samples[subject] if s]


def subject_rows(samples):
    rows = [["", "Mpps", "range", "by the wall", "of the bare loop"]]
    for subject in samples:
        found = summary(rates(samples, subject))
        if found is None:
            rows.append([subject.name, "failed", "", "", ""])
            continue
        bare = summary(ratios(samples, subject, Subject("bare", subject.flows)))
        rows.append([subject.name, f"{found[0]:.2f}", f"{found[1]:.2f}-{found[2]:.2f}",
                     f"{summary(rates(samples, subject, True))[0]:.2f}",
                     f"{bare[0]:.3f}" if bare else ""])
    return rows


def aim_rows(samples):
    rows = [["ratio, median of the rounds", "now", "range", "at least", "aim", ""]]
    for aim in aims():
        found = summary(ratios(samples, aim.one, aim.other))
        if found is None:
            continue
        verdict = ("reached" if found[0] >= aim.aim else
                   "met" if found[0] >= aim.least else "missed")
        rows.append([aim.text, f"{found[0]:.3f}", f"{found[1]:.3f}-{found[2]:.3f}",
                     f"{aim.least:g}", f"{aim.aim:g}", verdict])
    return rows


def markdown(rows):
    """A table that people read as it is, and Markdown."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
             for row in rows]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)
