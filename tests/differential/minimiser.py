"""Shrinks a scenario to the fewest rules and packets that still show what it shows."""

import scenario as scenarios
from scenario import REFERENCE, Step


def without_steps(scenario, gone):
    """The scenario without some steps (indices from 0) and without those that refer to them."""
    gone, kept, numbers = set(gone), [], {}
    for index, step in enumerate(scenario.steps):
        used = {int(m.group(2)) - 1 for m in REFERENCE.finditer(f"{step.port} {step.expression}")}
        if index in gone or used & gone:
            gone.add(index)
            continue
        numbers[index + 1] = len(kept) + 1
        kept.append(step)

    def renumber(text):
        return REFERENCE.sub(lambda m: m.group(1) + str(numbers[int(m.group(2))]), text)

    steps = [Step(s.time, renumber(s.port), renumber(s.expression)) for s in kept]
    return scenarios.Scenario(scenario.name, scenario.own_conf, scenario.rules4, scenario.rules6,
                              steps, scenario.names, scenario.note)


def rule_lines(scenario):
    return [(4, i) for i, line in enumerate(scenario.rules4.splitlines()) if line.startswith("-A")] + \
           [(6, i) for i, line in enumerate(scenario.rules6.splitlines()) if line.startswith("-A")]


def without_rules(scenario, gone):
    texts = []
    for family, text in ((4, scenario.rules4), (6, scenario.rules6)):
        lines = [line for i, line in enumerate(text.splitlines()) if (family, i) not in gone]
        texts.append(_without_empty(lines))
    return scenarios.Scenario(scenario.name, scenario.own_conf, texts[0], texts[1], scenario.steps,
                              scenario.names, scenario.note)


def _without_empty(lines):
    """Leaves out user chains that nobody jumps to and tables that say nothing."""
    out, table = [], []
    for line in lines:
        table.append(line)
        if line == "COMMIT":
            words = " ".join(l for l in table if l.startswith("-A")).split()
            table = [l for l in table if not (l.startswith(":") and l.split()[1] == "-")
                     or l.split()[0][1:] in words]
            if any(l.startswith("-A") or (l.startswith(":") and " DROP " in l) for l in table):
                out += table
            table = []
    return "".join(line + "\n" for line in out)


def shrink(items, still_shows):
    """Halves, quarters ... and single items taken away while `still_shows(gone)`."""
    items, gone = list(items), set()
    size = max(1, len(items) // 2)
    while items:
        at, progress = 0, False
        while at < len(items):
            part = items[at:at + size]
            if still_shows(gone | set(part)):
                gone |= set(part)
                del items[at:at + size]
                progress = True
            else:
                at += size
        if size == 1 and not progress:
            break
        size = max(1, size // 2)
    return gone


def minimise(scenario, differs, budget=400):
    """`differs(scenario)` tells whether it still shows the difference."""
    left = [budget]

    def check(candidate):
        if left[0] <= 0 or not candidate.steps:
            return False
        left[0] -= 1
        try:
            return differs(candidate)
        except Exception:  # a candidate that can't be run shows nothing
            return False

    count = -1
    while count != len(scenario.steps) + len(rule_lines(scenario)):
        count = len(scenario.steps) + len(rule_lines(scenario))
        gone = shrink(range(len(scenario.steps)), lambda g, s=scenario: check(without_steps(s, g)))
        scenario = without_steps(scenario, gone)
        gone = shrink(rule_lines(scenario), lambda g, s=scenario: check(without_rules(s, g)))
        scenario = without_rules(scenario, gone)
        plain = scenarios.Scenario(scenario.name, None, scenario.rules4, scenario.rules6,
                                   scenario.steps, scenario.names)
        if scenario.own_conf and check(plain):
            scenario = plain
    return scenario
