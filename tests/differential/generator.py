"""A scenario from a seed: a rule set and the traffic that meets it. The same seed gives the same
scenario."""

import random as randomness

import scenario as scenarios
from pointed_rules import PointedRules
from protocol_generator import Gre, Redirect, Sctp, UdpLite
from rules_generator import Rules
from tcp_generator import Tcp
from traffic_generator import Fragments, Other, Ping, Strange, Udp
from wide_rules import WideRules
from wide_traffic import Crowd, Headers, Pieces, Query, Quotes, Stream, Wrong

SETTINGS = ("nf_conntrack_tcp_loose = 0;", "nf_conntrack_tcp_be_liberal = 1;",
            "nf_conntrack_checksum = 0;", "nf_conntrack_tcp_max_retrans = 1;",
            "nf_conntrack_udp_timeout = 7;", "nf_conntrack_tcp_ignore_invalid_rst = 1;")
# Timeouts that end within a pause, and one that doesn't.
TIMERS = tuple(f"nf_conntrack_{name} = {seconds};" for seconds in (1, 60) for name in (
    "tcp_timeout_syn_sent", "tcp_timeout_syn_recv", "tcp_timeout_established",
    "tcp_timeout_fin_wait", "tcp_timeout_close_wait", "tcp_timeout_last_ack",
    "tcp_timeout_time_wait", "tcp_timeout_close", "tcp_timeout_max_retrans",
    "tcp_timeout_unacknowledged", "udp_timeout", "udp_timeout_stream", "icmp_timeout",
    "icmpv6_timeout", "generic_timeout"))
# Longer than a stream needs to become one, and far from the ends of TIMERS.
PAUSE = 2.4


COMMON = ((Tcp, Udp, Ping, Fragments, Strange, Other), (50, 22, 9, 7, 9, 3))
RARE = ((Sctp, Gre, UdpLite, Redirect, Udp, Tcp), (60, 12, 6, 8, 8, 6))
WIDE = ((Tcp, Udp, Crowd, Stream, Query, Quotes, Headers, Wrong, Pieces, Ping, Sctp, Gre, UdpLite),
        (30, 8, 9, 8, 7, 14, 8, 6, 10, 4, 2, 2, 2))
POINTED = ((Tcp, Udp, Crowd, Query, Quotes, Ping, Other, Headers, Sctp, Gre, UdpLite),
           (26, 14, 4, 10, 14, 4, 10, 8, 4, 4, 4))
# Seeds with these bits bring the rare protocols, and the whole language.
RARE_BIT, WIDE_BIT = 1 << 19, 1 << 20
# Seeds from here on take turns: half of them wide, a quarter rare.
TURNS = 1 << 60
# And from here on, also with rules that point at the traffic.
FRESH = 1 << 61


def variety(seed):
    """(class of the rules, the kinds of flows)"""
    turns = ((Rules, COMMON), (WideRules, WIDE), (Rules, RARE), (WideRules, WIDE), (PointedRules, POINTED))
    if seed >= FRESH:
        return turns[seed % 5]
    if seed >= TURNS:
        return turns[seed % 4]
    if seed & WIDE_BIT:
        return WideRules, WIDE
    return Rules, RARE if seed & RARE_BIT else COMMON


def flow(random, six, serial, kinds):
    kind = random.choices(*kinds)[0]
    return kind(random, six, serial).build().steps


def mix(random, flows):
    """One sequence of steps from several, each in its own order."""
    steps, numbers = [], [[] for _ in flows]
    waiting = [i for i, f in enumerate(flows) for _ in f]
    if random.random() < .7:
        # Mostly one after the other, sometimes in each other's way.
        for _ in range(len(waiting) // 3):
            a = random.randrange(len(waiting))
            b = min(len(waiting) - 1, a + random.randint(0, 6))
            waiting[a], waiting[b] = waiting[b], waiting[a]
    else:
        random.shuffle(waiting)
    time = 0.0
    for which in waiting:
        port, expression = flows[which][len(numbers[which])]
        numbers[which].append(len(steps) + 1)

        def own(text, of=numbers[which]):
            for index in range(len(of), 0, -1):
                text = text.replace(f"@{index})", f"{of[index - 1]})")
                text = text.replace(f"@{index}|", f"{of[index - 1]}|")
            return text

        steps.append(scenarios.Step(time, own(port), own(expression)))
        time += 0.001
    return steps


def pause(steps, where):
    """Lets time pass before some of the steps (indices)."""
    for index in where:
        for step in steps[index:]:
            step.time += PAUSE


def generate(seed):
    random = randomness.Random(seed)
    families = random.choices(((4,), (6,), (4, 6)), (70, 20, 10))[0]
    rules, kinds = variety(seed)
    wide = rules is not Rules
    text = {family: rules(random, family).text() for family in families}
    flows, least = [], random.randint(30, 70)
    while sum(map(len, flows)) < least:
        flows.append(flow(random, random.choice(families) == 6, len(flows), kinds))
    settings = []
    if random.random() < .15:
        settings.append(random.choice(SETTINGS))
    steps = mix(random, flows)
    if wide and random.random() < .12:
        # Time passes for what counts in seconds.
        pause(steps, random.sample(range(len(steps)), random.randint(1, 2)))
    elif random.random() < .02:
        settings += random.sample(TIMERS[:len(TIMERS) // 2], 4) + random.sample(TIMERS, 2)
        pause(steps, random.sample(range(len(steps)), random.randint(1, 2)))
    # A name twice would be refused.
    settings = list({setting.split(" ")[0]: setting for setting in settings}.values())
    own_conf = None
    if settings:
        own_conf = scenarios.COMMON_CONF.read_text() + f"conntrack: {{ {' '.join(settings)} }};\n"
    return scenarios.Scenario(f"seed_{seed}", own_conf, text.get(4, ""), text.get(6, ""), steps)
