"""Rule sets in which each rule asks one thing, of a value that the traffic has: what WideRules' combinations seldom
let a packet meet."""

from rules_generator import PORTS
from wide_rules import REJECT4, REJECT6, WideRules

SOURCES = (40000, 40001, 500, 53, 50000, 60000, "40000:41100", "1024:1040")  # traffic_generator's, and about them
NUMBERS4 = (4, 6, 17, 33, 47, 50, 99, 132, 136, 253, "esp", "gre", "ipencap")
NUMBERS6 = (4, 6, 17, 33, 41, 47, 50, 59, 99, 132, 135, 136, 139, 253, "esp", "gre")
ICMP4 = ("0", "3", "3/0", "3/1", "3/3", "3/4", "3/13", "4", "5", "8", "8/0", "8/1", "11", "11/1", "12", "12/2", "13", "13/0",
         "14", "15", "17", "18")
ICMP6 = ("1", "1/0", "1/1", "1/3", "1/4", "1/5", "2", "3", "3/0", "3/1", "4", "4/0", "4/1", "128", "128/0", "128/1", "129",
         "139", "140", "144", "160")
STATUSES = ("EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED", "NONE", "SEEN_REPLY,ASSURED")


class PointedRules(WideRules):
    """One family's rule set for one scenario."""

    def text(self):
        tables = [t for t, share in (("raw", .15), ("mangle", .5), ("nat", .6), ("filter", 1)) if self.chance(share)]
        return "".join(getattr(self, table)() for table in tables)

    def match(self, chain, protocol=None):
        kind = self.random.choices(("ends", "number", "icmp", "status", "between", "wide"), (30, 20, 20, 8, 10, 12))[0]
        return super().match(chain, protocol) if kind == "wide" else getattr(self, kind)()

    def ends(self):
        """A port of one of a connection's tuples."""
        proto = self.one(("tcp", "udp", "tcp", "udp", "sctp", "udplite"))
        near = self.chance(.4)
        option = self.one(("--ctorigsrcport", "--ctrepldstport") if near else ("--ctorigdstport", "--ctreplsrcport"))
        port = self.one(SOURCES if near else PORTS + ("1024:65535", "0:1023"))
        words = f"-m conntrack --ctproto {proto} {self.negate()}{option} {port}"
        # DNAT and SNAT with ports want -p.
        return (f"-p {proto} {words}", proto) if proto in ("tcp", "udp") and self.chance(.7) else (words, "all")

    def number(self):
        return f"{self.negate(.2)}-p {self.one(NUMBERS6 if self.six else NUMBERS4)}", "other"

    def icmp(self):
        name, option = ("ipv6-icmp", "icmp6 --icmpv6-type") if self.six else ("icmp", "icmp --icmp-type")
        module, word = option.split()
        return f"-p {name} -m {module} {self.negate()}{word} {self.one(ICMP6 if self.six else ICMP4)}", "icmp"

    def status(self):
        return f"-m conntrack {self.negate(.4)}--ctstatus {self.one(STATUSES)}", "all"

    def between(self):
        found = self.addresses()
        return (" ".join(found), "all") if found else self.number()

    def filter(self):
        def target(chain, proto):
            kind = self.random.random()
            if kind < .3:
                return f"-j REJECT --reject-with {self.one(REJECT6 if self.six else REJECT4)}"
            return self.one(("-j ACCEPT", "-j DROP", "-j RETURN", "", "")) if kind < .6 else ""
        return self.table("filter", ("INPUT", "FORWARD", "OUTPUT"), target, self.one(((), ("f1",), ("f1", "f2"))), 7,
                          self.policy)
