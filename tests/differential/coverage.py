"""What generated scenarios are made of: for each option and target of the rules how many scenarios have it, and
in how many a packet met it; for each way that a packet can end how many packets did."""

import collections
import re

import generator
import sides

# Options whose value is a choice of its own.
VALUED = ("--reject-with", "--ctstate", "--state", "--ctstatus", "--ctdir", "--icmp-type", "--icmpv6-type", "--tcp-flags",
          "--tcp-option", "--connlimit-mask", "-p")


def words_of(rule):
    """The options of a rule as iptables-save prints it; `!` belongs to the option behind it."""
    words, found, negated = rule.split(), set(), ""
    for place, word in enumerate(words):
        if word == "!":
            negated = "! "
            continue
        value = words[place + 1] if place + 1 < len(words) else ""
        if word in ("-j", "-g"):
            found.add(f"{word} {value}" if value.isupper() else f"{word} CHAIN")
        elif word == "-m":
            found.add(f"-m {value}")
        elif word in VALUED:
            found.update(f"{negated}{word} {one}" for one in value.split(","))
        elif re.match(r"-{1,2}[a-z]", word):
            found.add(negated + word)
        negated = ""
    return found


def measure(program, seeds):
    """(seeds, {option: [scenarios, with a packet]}, {(verdict, reason, ctstate): packets})"""
    postern, options, ends = sides.Postern(program), collections.defaultdict(lambda: [0, 0]), collections.Counter()
    for seed in seeds:
        scenario = generator.generate(seed)
        result = postern.run(scenario)
        made, met = set(), set()
        for (_, _, _, rule, _), (packets, _) in result.counters.items():
            if rule.startswith("policy"):
                continue
            made |= words_of(rule)
            met |= words_of(rule) if packets else set()
        for option in made:
            options[option][0] += 1
            options[option][1] += option in met
        for event in result.events:
            ends[(event["verdict"], event["reason"], event.get("ctstate"))] += 1
    return len(seeds), options, ends


def show(program, seeds):
    count, options, ends = measure(program, seeds)
    print(f"{count} scenarios; option: how many have it, in how many a packet met it")
    for option, (made, met) in sorted(options.items()):
        print(f"{made:5} {met:5}  {option}")
    print("packets that ended so: verdict, reason, state of the connection")
    for (verdict, reason, state), packets in sorted(ends.items(), key=str):
        print(f"{packets:6}  {verdict} {reason} {state}")
    return 0
