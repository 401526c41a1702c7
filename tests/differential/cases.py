"""Case folders: what is expected, written down and checked.

expect.txt is what the kernel did (`run.py --record`): a line `N PORT -> ...` for each input packet and an
indented line for each packet that came out, then the connections and the counters that aren't zero. Two
packets with the same line have the same bytes (wire.describe); IP ids that the appliance chose itself
are written `id=*`, and ports or echo ids that NAT chose freely are 61001, 61002 ... in the order of
their coming. A file expect.postern.txt beside it means a difference by design, explained in
docs/differences.md; Postern is held to that one then.
"""

import re

import results
import roles
import wire


def _line(port, l3, sent):
    masked = results.comparable(l3, sent)
    if l3[:1] < b"\x50" and masked != l3:
        return f"    {port} " + re.sub(r" id=\d+", " id=*", wire.describe(l3), count=1)
    return f"    {port} {wire.describe(masked)}"


def chosen_ports(scenario, result):
    """{port or id that NAT chose freely: the number that stands for it}. What the rules or the packets
    name isn't chosen, a range's ends apart."""
    written = scenario.rules4 + scenario.rules6 + " ".join(s.expression for s in scenario.steps)
    named = {int(n) for n in re.findall(r"(?<![\w.-])\d+(?![\w.-])", written)}
    ports = {}
    for (_, sent), out in zip(result.sent, result.out):
        before = wire.Parsed(sent)
        for _, l3 in out:
            after = wire.Parsed(l3)
            if after.is_error() or after.port_places() != before.port_places():
                continue
            for at in after.port_places():
                value = int.from_bytes(l3[at:at + 2], "big")
                if sent[at:at + 2] != l3[at:at + 2] and value not in named:
                    ports.setdefault(value, 61001 + len(ports))
    return ports


def expectation(scenario, result):
    """The text of expect.txt for a result."""
    lines, ports = [], chosen_ports(scenario, result)
    choices = roles.Choices(set(ports.items()), set())
    for index, step in enumerate(scenario.steps):
        out = [(p, roles.rewrite(l3, choices)) for p, l3 in result.out[index]]
        lines.append(f"{index + 1} {step.port}" + ("" if out else " nothing"))
        lines += [_line(port, l3, result.sent[index][1])
                  for port, l3 in sorted(out, key=lambda e: e[0])]
    lines.append("connections")
    lines += [f"    {results.translate_ports(line, ports)}" for line in result.conntrack]
    lines.append("counters")
    for (family, table, chain, rule, _), (packets, count) in sorted(result.counters.items()):
        if packets:
            lines.append(f"    {packets}:{count} v{family} {table} {chain} {rule}")
    return "\n".join(lines) + "\n"


_TIMEOUT = re.compile(r"^(    \S+ \d+) (\d+) ")


def differences(expected, actual, slack=2):
    """Lines that differ; timeouts may by `slack` seconds."""
    def split(text):
        plain, left = [], []
        for line in text.splitlines():
            match = _TIMEOUT.match(line)
            plain.append(f"{match.group(1)} {line[match.end():]}" if match else line)
            left.append(int(match.group(2)) if match else None)
        return plain, left

    (a, left_a), (b, left_b) = split(expected), split(actual)
    if a == b:
        return [f"{line.strip()}: expected {x} s left, got {y}"
                for line, x, y in zip(a, left_a, left_b)
                if x is not None and abs(x - y) > slack]
    import difflib
    return [line for line in difflib.unified_diff(a, b, "kernel", "postern", lineterm="", n=1)][2:]


def check_events(scenario, result):
    """What `=> VERDICT REASON CTSTATE` asks of replay's events."""
    wrong = []
    for index, step in enumerate(scenario.steps):
        if not step.expected:
            continue
        event = result.events[index]
        said = [str(event.get(k, "")) for k in ("verdict", "reason", "ctstate")]
        if not set(step.expected.split()) <= set(said):
            wrong.append(f"packet {index + 1}: expected {step.expected}, got {' '.join(said)}")
    return wrong


def bad_sums(result):
    """Emitted packets with wrong checksums, where what went in was right."""
    wrong = []
    for index, out in enumerate(result.out):
        if wire.check_sums(result.sent[index][1]):
            continue
        for port, l3 in out:
            if wire.check_sums(l3):
                wrong.append(f"packet {index + 1} left {port} with a wrong checksum: "
                             f"{wire.describe(l3)}")
    return wrong
