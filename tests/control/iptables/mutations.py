"""Lines with mistakes: every option of every match and target that Postern has, with its value wrong,
missing, given twice, negated, out of place or of the other family. Prints them in rules.txt's form.
Not among them: `-h`, which Postern answers in its own words; `-E` of a built-in chain, which only the
nf_tables form of iptables allows; `-c` of ip6tables, whose counters 1.8.9 forgets; a port name with a
blank, which Postern refuses; `-t security`, which it doesn't have (docs/differences.md).

usage: mutations.py [EVERY [FIRST]]      all lines, or only each EVERYth from number FIRST
"""

import sys

# extension: (what leads it, {option: values that are good}), "4", "6" or "46"
MATCHES = {
    "tcp": ("-p tcp -m tcp", "46", {
        "--sport": ["22", "1000:2000", "ssh"], "--dport": ["80", ":1024", "1024:"],
        "--tcp-flags": ["SYN,ACK SYN", "ALL NONE"], "--syn": [""], "--tcp-option": ["2"]}),
    "udp": ("-p udp -m udp", "46", {"--sport": ["53"], "--dport": ["53:60", "domain"]}),
    "icmp": ("-p icmp -m icmp", "4", {"--icmp-type": ["8", "echo-request", "3/1", "any"]}),
    "icmp6": ("-p icmpv6 -m icmp6", "6", {"--icmpv6-type": ["128", "echo-request", "1/4"]}),
    "conntrack": ("-m conntrack", "46", {
        "--ctstate": ["NEW", "RELATED,ESTABLISHED", "SNAT,DNAT"], "--ctproto": ["tcp", "17"],
        "--ctorigsrcport": ["22"], "--ctorigdstport": ["1:5"], "--ctreplsrcport": ["22"],
        "--ctrepldstport": ["22"], "--ctstatus": ["ASSURED", "NONE"], "--ctexpire": ["5", "1:9"],
        "--ctdir": ["ORIGINAL", "REPLY"]}),
    "state": ("-m state", "46", {"--state": ["NEW", "INVALID,UNTRACKED"]}),
    "limit": ("-m limit", "46", {"--limit": ["5/min", "3/second", "1/d"], "--limit-burst": ["7"]}),
    "recent": ("-m recent", "46", {
        "--set": [""], "--rcheck": [""], "--update": [""], "--remove": [""], "--seconds": ["60"],
        "--hitcount": ["4"], "--rttl": [""], "--name": ["SSH"], "--rsource": [""], "--rdest": [""],
        "--reap": [""]}),
    "connlimit": ("-m connlimit", "46", {
        "--connlimit-above": ["20"], "--connlimit-upto": ["3"], "--connlimit-mask": ["24"],
        "--connlimit-saddr": [""], "--connlimit-daddr": [""]}),
    "mark": ("-m mark", "46", {"--mark": ["1", "0x10/0xff"]}),
    "multiport": ("-p tcp -m multiport", "46", {
        "--sports": ["22,80"], "--dports": ["22,80:90"], "--ports": ["1,2,3"]}),
    "comment": ("-m comment", "46", {"--comment": ["hello", '"two words"']}),
}
TARGETS = {
    "REJECT": ("-j REJECT", "46", "filter FORWARD", {
        "--reject-with": ["icmp-port-unreachable", "tcp-reset", "icmp6-adm-prohibited"]}),
    "LOG": ("-j LOG", "46", "filter FORWARD", {
        "--log-prefix": ["x", '"a b: "'], "--log-level": ["4", "debug"], "--log-tcp-sequence": [""],
        "--log-tcp-options": [""], "--log-ip-options": [""], "--log-uid": [""],
        "--log-macdecode": [""]}),
    "MARK": ("-j MARK", "46", "mangle FORWARD", {
        "--set-mark": ["1", "0x1/0xf"], "--set-xmark": ["0x1/0xff"], "--and-mark": ["0xf0"],
        "--or-mark": ["2"], "--xor-mark": ["3"]}),
    "SNAT": ("-j SNAT", "46", "nat POSTROUTING", {
        "--to-source": ["198.51.100.1", "198.51.100.1-198.51.100.9:1000-2000", "2001:db8::1"],
        "--random": [""], "--random-fully": [""], "--persistent": [""]}),
    "DNAT": ("-j DNAT", "46", "nat PREROUTING", {
        "--to-destination": ["192.0.2.1", "192.0.2.1:80", "[2001:db8::1]:80"], "--random": [""],
        "--persistent": [""]}),
    "MASQUERADE": ("-j MASQUERADE", "46", "nat POSTROUTING", {
        "--to-ports": ["1000-2000"], "--random": [""], "--random-fully": [""]}),
    "REDIRECT": ("-j REDIRECT", "46", "nat PREROUTING", {
        "--to-ports": ["8080", "80-90"], "--random": [""]}),
    "CT": ("-j CT", "46", "raw PREROUTING", {"--notrack": [""]}),
}
WRONG = ["abc", "-1", "65536", "4294967296", "1:", ":", "1,,2", "0x", "''", "1/33", "5/fortnight",
         "192.0.2.300", "10-5", "a" * 300]
BASE = {
    "-p": ["tcpp", "256", "-1", "''", "tcp,udp"], "-s": ["192.0.2.0/33", "1.2.3", "''", "2001:db8::/129",
                                                         "192.0.2.1,198.51.100.1", "1.2.3.4/255.0.255.0"],
    "-d": ["0/0", "300.1.1.1", "/24"], "-i": ["''", "a" * 16, "eth/0", "+"],
    "-o": ["eth+", "a" * 20], "-t": ["nosuch", "''"], "-j": ["''", "NOSUCH", "-x", "a" * 40],
    "-g": ["INPUT", "nosuch"], "-m": ["nosuch", "''"], "-c": ["1", "1 x", "x 1", "1 2"], "-w": ["x"],
}
COMMANDS = [
    "-A", "-A INPUT FORWARD", "-A NOSUCH -j DROP", "-A INPUT -A INPUT", "-D", "-D INPUT", "-D INPUT 0",
    "-D INPUT 1", "-D INPUT x", "-D INPUT -j DROP", "-I", "-I INPUT 0 -j DROP", "-I INPUT 2 -j DROP",
    "-I INPUT x -j DROP", "-R INPUT", "-R INPUT 1", "-R INPUT 1 -j DROP", "-R INPUT 0 -j DROP", "-C",
    "-C INPUT", "-C INPUT -j DROP", "-L NOSUCH", "-L INPUT 1", "-L INPUT x", "-S NOSUCH", "-S INPUT 5",
    "-F NOSUCH", "-F INPUT FORWARD", "-Z NOSUCH", "-Z INPUT 1", "-Z INPUT x", "-N", "-N INPUT",
    "-N DROP", "-N -x", "-N " + "a" * 30, "-N 'a b'", "-N ''", "-N !a", "-X NOSUCH", "-X INPUT", "-P", "-P INPUT",
    "-P INPUT REJECT", "-P INPUT RETURN", "-P NOSUCH DROP", "-P INPUT DROP FORWARD", "-E", "-E INPUT",
    "-E NOSUCH x", "-n", "-v", "", "--line-numbers", "-V x", "-Q", "--nosuch", "--lin",
    "-L --line-numbers -x -q", "-S -n", "-A INPUT -n", "-P INPUT DROP -n", "-F -n", "-N x -n", "-L -j DROP",
    "-F INPUT -j DROP", "-Z INPUT -p tcp", "-A INPUT ! -p", "-A INPUT -p ! tcp", "-A INPUT ! ! -p tcp",
    "-A INPUT ! -j DROP", "-A INPUT -j DROP -j ACCEPT", "-A INPUT -p tcp -p udp", "-A INPUT -s 1.1.1.1 -s 2.2.2.2",
    "-A INPUT extra", "-A INPUT -j DROP extra words", "-A INPUT --dport 22", "-A INPUT -p udp --syn",
    "-A INPUT -j DROP --dport 22", "-A INPUT -m tcp --dport 22", "-A INPUT -p all --dport 22",
    "-A INPUT -p tcp -m udp --dport 22", "-A INPUT -i a -i b", "-A INPUT -o eth0", "-A OUTPUT -i eth0",
    "-t nat -A POSTROUTING -i eth0", "-t nat -A PREROUTING -o eth0", "-A INPUT -f -j DROP", "-A INPUT ! -f",
]


def spellings(option, good):
    """The option with each kind of mistake."""
    takes_value = good != [""]
    yield f"{option} {good[0]}".strip()
    yield f"{option}"
    yield f"! {option} {good[0]}".strip()
    yield f"{option} {good[0]} {option} {good[-1]}"
    yield f"{option}={good[0]}"
    yield f"{option[:-1]} {good[0]}".strip()
    if takes_value:
        yield f"{option} ! {good[0]}"
        for value in WRONG + good[1:]:
            yield f"{option} {value}"
    else:
        yield f"{option} surplus"


def lines():
    for family in "46":
        for extension, (lead, families, options) in MATCHES.items():
            if family not in families:
                yield f"{family} -A FORWARD {lead} {next(iter(options))} 1"
                continue
            yield f"{family} -A FORWARD {lead}"
            yield f"{family} -A FORWARD {lead} --nosuch"
            yield f"{family} -A FORWARD -p gre {lead.split(' ', 2)[-1] if lead.startswith('-p') else lead}"
            for option, good in options.items():
                for spelled in spellings(option, good):
                    yield f"{family} -A FORWARD {lead} {spelled}"
                for other, other_good in options.items():
                    if other > option:
                        yield f"{family} -A FORWARD {lead} {option} {good[0]} {other} {other_good[0]}"
        for target, (lead, _, place, options) in TARGETS.items():
            table, chain = place.split()
            if target != "CT":  # Postern has --notrack alone, and says so
                yield f"{family} -t {table} -A {chain} {lead}"
            yield f"{family} -t {table} -A {chain} {lead} --nosuch"
            for option, good in options.items():
                for protocol in ("", "-p tcp "):
                    for spelled in spellings(option, good):
                        yield f"{family} -t {table} -A {chain} {protocol}{lead} {spelled}"
                for other, other_good in options.items():
                    if other > option:
                        yield f"{family} -t {table} -A {chain} {lead} {option} {good[0]} {other} {other_good[0]}"
            for wrong_table, wrong_chain in (("filter", "INPUT"), ("raw", "PREROUTING"), ("mangle", "INPUT"),
                                             ("nat", "OUTPUT"), ("nat", "INPUT")):
                value = f"{next(iter(options))} {next(iter(options.values()))[0]}".strip()
                yield f"{family} -t {wrong_table} -A {wrong_chain} {lead} {value}"
        for option, values in BASE.items():
            yield f"{family} -A INPUT {option}"
            for value in values:
                if (family, option, value) == ("6", "-c", "1 2"):
                    continue
                yield f"{family} -A INPUT {option} {value}"
                yield f"{family} -A INPUT ! {option} {value}"
        # The kernel makes its chains with the first change of a table.
        for command in COMMANDS:
            yield f"{{\n{family} -P INPUT ACCEPT\n{family} {command}\n}}"


if __name__ == "__main__":
    every = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    print("\n".join(line for number, line in enumerate(lines()) if number % every == first))
