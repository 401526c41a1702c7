"""Both sides of one scenario after the other, and Postern with itself in other arrangements."""

import collections
import ipaddress
import itertools
import re

import kernel as oracle
import results
import scenario as scenarios
import sides
import wire

# What must not change an answer: (options of replay, whether NAT keeps ports as with one worker).
ARRANGEMENTS = {
    "walking every rule": (("--no-fast-path",), True),
    "2 workers by RSS": (("--workers", "2"), True),
    "2 workers, owner's ports": (("--workers", "2"), False),
    "2 workers, random arrival": (("--workers", "2", "--arrival", "random"), True),
    "4 workers by RSS": (("--workers", "4"), True),
    "4 workers, random arrival": (("--workers", "4", "--arrival", "random"), True),
    "4 workers, owner's ports, random arrival, walking every rule":
        (("--workers", "4", "--arrival", "random", "--no-fast-path"), False),
}


# What figures about the kernel's reasons to refuse a rule set begin with.
REFUSED = "refused: "
# How often the kernel is asked again where Postern differs.
LOOKS = 3


class Namespaces:
    """The kernel for a scenario: the running one where its ports fit."""

    def __init__(self):
        self.kernel, self.topology, self.fragments = None, None, False

    def get(self, scenario):
        """Fragments that still wait for others would meet the next scenario's: a fresh one then."""
        # How often a sender hears of what goes nowhere (ip_error) is counted from scenario to scenario.
        patience = not any(r["prefix"] == "0.0.0.0/0" for r in scenario.conf.get("routes", []))
        stale = patience or self.fragments == "v6" or (self.fragments and self.kernel.fragments_wait())
        self.fragments = scenario.has_fragments() and ("v6" if scenario.rules6 else "v4")
        if stale or self.topology != scenario.topology():
            if self.kernel:
                self.kernel.close()
            self.kernel = oracle.Kernel(scenario.conf)
            self.topology = scenario.topology()
        return self.kernel


def talks_to_itself(result):
    """Whether the appliance sent something to its own address, which Postern sees in replay but never live."""
    return any(sent.startswith("host:") and any(p.startswith("host:") for p, _ in out)
               for (sent, _), out in zip(result.sent, result.out))


def port_matters(scenario, chosen):
    """Whether the rules or a packet name a port that NAT kept in one arrangement and not in the other, or a
    connection that began anew got another one: what follows differs by design. `chosen`: pairs of ports."""
    if len({kept for _, kept in chosen}) < len(chosen):
        return True
    rules = scenario.rules4 + scenario.rules6
    ranges = [(int(a), int(b or a)) for a, b in re.findall(r"\b(\d+)(?:[:-](\d+))?\b", rules)]
    ranges += [(0, int(b)) for b in re.findall(r" :(\d+)", rules)]
    ranges += [(int(p), int(p)) for step in scenario.steps if step.depends
               for p in re.findall(r':(\d+)"', step.expression)]
    return any((low <= a <= high) != (low <= b <= high) for a, b in chosen for low, high in ranges)


def several_addresses(scenario):
    """[(first, last)] that SNAT chooses from: a source keeps its address, but each worker knows its own
    connections only (docs/differences.md)."""
    found = []
    for rule in (scenario.rules4 + scenario.rules6).splitlines():
        # [IPv6]:ports, IPv4:ports, IPv6; or ports alone, of no address
        match = re.search(r"-j SNAT --to-source (?:\[([^]]*)\]|(\d+\.[\d.-]+)|([\da-f]\S*))", rule)
        ends = next(filter(None, match.groups())).split("-") if match else []
        if len(ends) == 2 and "--persistent" not in rule:
            found.append(tuple(sorted(map(wire.address, ends))))
    return found


def address_matters(scenario, chosen):
    """The same for addresses of a range that aren't the same; one of them may also be the appliance's own."""
    text = scenario.rules4 + scenario.rules6 + scenario.conf_text
    text += " ".join(step.expression for step in scenario.steps)
    networks, places = [], [tuple(map(ipaddress.ip_address, pair)) for pair in chosen]
    for word in re.findall(r"[\da-f.:]+[.:][\da-f.:]*[\da-f:](?:/\d+)?", text):
        try:
            networks.append(ipaddress.ip_network(word, strict=False))
        except ValueError:
            pass  # a port, a time ...
    return any((a in network) != (b in network) for a, b in places for network in networks)


def sends_to_loopback(result):
    """Whether a packet for ::1 left by a port, which Postern drops (docs/differences.md)."""
    return any(not port.startswith("host:") and wire.Parsed(l3).dst == wire.address("::1")
               for out in result.out for port, l3 in out)


class Comparison:
    """Postern with the kernel; with `arrangements` also with itself. Counts what it saw."""

    def __init__(self, program, extra=(), arrangements=()):
        self.namespaces = Namespaces()
        self.postern = sides.Postern(program, extra)
        self.arranged = {name: (sides.Postern(program, [*extra, *ARRANGEMENTS[name][0]]),
                                ARRANGEMENTS[name][1]) for name in arrangements}
        self.reseeded = [sides.Postern(program, [*extra, "--seed", str(seed)]) for seed in (2, 3)]
        self.figures = collections.Counter()

    def kernel(self, scenario, patient=False, zone=0):
        return sides.run_kernel(scenario, self.namespaces.get(scenario), patient, zone)

    def differences(self, scenario, arranged=True):
        """Lines; none where the kernel doesn't agree with itself either. `arranged`: in the other arrangements
        too, if there are any."""
        first = self.kernel(scenario)
        ours = self.postern.run(scenario, first)
        found = results.compare(scenario, first, ours)
        self.figures["rule sets"] += 1
        self.figures["packets"] += len(scenario.steps)
        self.figures["emitted"] += sum(map(len, first.out))
        if found:
            found, ours = self._again(scenario)
        if found and sends_to_loopback(first):
            self.figures["to ::1"] += 1
            found = []
        return found + (self._rearranged(scenario, ours) if arranged else [])

    def _again(self, scenario):
        """(differences, Postern's result) of a second look with time between packets. Only that counts on
        which the kernel agrees with itself, run after run, and Postern with none of them: a random port
        may have met another, a tick may have fallen between two packets."""
        runs = [self.kernel(scenario, patient=True) for _ in range(LOOKS)]
        ours = [self.postern.run(scenario, run) for run in runs]
        found = [results.compare(scenario, *pair) for pair in zip(runs, ours)]
        places = set.intersection(*({d.place for d in each} for each in found))
        places -= {d.place for a, b in itertools.combinations(runs, 2)
                   for d in results.compare(scenario, a, b)}
        if places and "connlimit" in scenario.rules4 + scenario.rules6:
            places &= self._with_other_neighbours(scenario)
        if not places:
            self.figures["varying"] += 1
        return [d for d in found[-1] if d.place in places], ours[-1]

    def _chance(self, scenario, ours):
        """Places that aren't the same with other random numbers: a port that NAT chose and no packet shows."""
        return {d.place for postern in self.reseeded
                for d in results.compare(scenario, ours, postern.run(scenario, ours))}

    def _with_other_neighbours(self, scenario):
        """Places that still differ when connlimit's lists have other neighbours. They lie in 256 trees by a hash
        that is random per boot, and what goes to a new list throws out the empty ones on its way; the hash takes
        in the address and the connections' zone, of which a packet without one has none."""
        elsewhere = scenarios.moved(scenario)
        run = self.kernel(elsewhere, patient=True)
        places = {scenarios.moved_back(d.place)
                  for d in results.compare(elsewhere, run, self.postern.run(elsewhere, run))}
        for zone in (1, 2):
            run = self.kernel(scenario, patient=True, zone=zone)
            places &= {d.place for d in results.compare(scenario, run, self.postern.run(scenario, run))}
        return places

    def _rearranged(self, scenario, ours):
        """Differences between Postern and itself. With a port of NAT's own choice in several workers'
        way, packets are compared by role, as with the kernel."""
        found, varying, ranges = [], None, several_addresses(scenario)
        for name, (postern, strict) in self.arranged.items():
            candidate = scenarios.with_conf(scenario, 'nat: { port_preservation = "strict"; };\n') \
                if strict else scenario
            theirs = postern.run(candidate, ours)
            theirs.events = None
            wrong = results.compare(scenario, ours, theirs, not strict, ranges)
            if wrong:
                varying = self._chance(scenario, ours) if varying is None else varying
                wrong = [d for d in wrong if d.place not in varying]
            choices = results.what_each_chose(ours, theirs, ranges)
            if wrong and not strict and (not theirs.settled or port_matters(scenario, choices.ports)):
                self.figures["other ports"] += 1
                continue
            if wrong and choices.addresses and (
                    not theirs.settled or address_matters(scenario, choices.addresses)):
                self.figures["other addresses"] += 1
                continue
            found += [f"{name} (for `kernel` read: one worker)"] + wrong if wrong else []
            self.figures["arrangements"] += 1
        return found


def summary(figures):
    text = (f"{figures['rule sets']} rule sets, {figures['packets']} packets in, "
            f"{figures['emitted']} out; left out: {figures['refused']} that the kernel refused, "
            f"{figures['varying']} in which it contradicts itself, "
            f"{figures['to ::1']} in which it sends to ::1 by a port")
    if figures["arrangements"]:
        text += f"; {figures['arrangements']} comparisons of Postern with itself, "
        text += f"{figures['other ports']} left out since the rules name a port that differs by design, "
        text += f"{figures['other addresses']} since they name one of several addresses that SNAT chose from"
    reasons = [f"{key}: {count}" for key, count in figures.items() if key.startswith(REFUSED)]
    return "; ".join([text] + sorted(reasons))
