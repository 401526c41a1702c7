"""Rule sets with the options that rules_generator leaves out or makes rarely: every REJECT, every way to
write a mark, NAT to ranges, user chains everywhere, what counts over time."""

from rules_generator import PORTS, STATES, V4, V6, Rules

REJECT4 = ("icmp-net-unreachable", "icmp-host-unreachable", "icmp-port-unreachable", "icmp-proto-unreachable",
           "icmp-net-prohibited", "icmp-host-prohibited", "icmp-admin-prohibited")
REJECT6 = ("icmp6-no-route", "icmp6-adm-prohibited", "icmp6-addr-unreachable", "icmp6-port-unreachable",
           "icmp6-policy-fail", "icmp6-reject-route")
ICMP4 = ("0", "3", "3/0", "3/1", "3/3", "3/4", "3/13", "4", "5", "8", "8/0", "11", "11/1", "12", "13", "14", "17", "any",
         "echo-request", "destination-unreachable", "fragmentation-needed", "ttl-exceeded")
ICMP6 = ("1", "1/0", "1/3", "1/4", "2", "3", "3/0", "4", "4/1", "128", "128/0", "129", "135", "136",
         "echo-request", "packet-too-big", "neighbour-solicitation")
FLAGS = (("FIN,SYN,RST,ACK", "SYN"), ("SYN,RST", "SYN,RST"), ("SYN,FIN", "SYN,FIN"), ("ALL", "NONE"), ("ALL", "ALL"),
         ("ALL", "FIN,PSH,URG"), ("ALL", "SYN,ACK"), ("ACK,FIN", "FIN"), ("RST", "RST"), ("ACK", "ACK"), ("PSH", "PSH"),
         ("URG", "NONE"), ("SYN,ACK", "SYN,ACK"))
STATUSES = ("EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED", "SEEN_REPLY,ASSURED", "NONE", "EXPECTED,CONFIRMED")
MARKS = ("0x1", "0x2/0x3", "0x10/0xff", "0x0", "0x0/0x1", "0xffffffff", "0x3/0x7", "0x100/0xff00")


class WideRules(Rules):
    """One family's rule set for one scenario."""

    def text(self):
        tables = [t for t, share in (("raw", .25), ("mangle", .5), ("nat", .75), ("filter", .85)) if self.chance(share)]
        return "".join(getattr(self, table)() for table in tables)

    # matches -----------------------------------------------------------------------------------

    def protocol(self):
        kind = self.random.choices(("tcp", "udp", "icmp", "all", "ported", "number"), (42, 24, 14, 10, 5, 5))[0]
        icmp = "ipv6-icmp" if self.six else "icmp"
        if kind == "all":
            return self.one(("", "", "-p all")), "all"
        if kind == "number":
            return f"{self.negate(.4)}-p {self.one((2, 4, 6, 17, 41, 47, 50, 51, 132, 255, 'gre', 'esp'))}", "other"
        if kind == "ported":
            proto = self.one(("sctp", "dccp", "udplite"))
            side = self.one(("--dports", "--sports", "--ports"))
            return f"-p {proto} -m multiport {self.negate()}{side} {self.several()}", "other"
        if kind == "icmp":
            if self.chance(.2):
                return f"{self.negate(.5)}-p {icmp}", "other"
            option = "icmp6 --icmpv6-type" if self.six else "icmp --icmp-type"
            module, name = option.split()
            which = self.one(ICMP6 if self.six else ICMP4)
            return f"-p {icmp} -m {module} {'' if which == 'any' else self.negate()}{name} {which}", "icmp"
        return f"-p {kind} {self.ports(kind)}".strip(), kind

    def several(self):
        return ",".join(self.one([str(p) for p in PORTS] + ["1000:2000", "40000:50000", "0:52", "1024:65535"])
                        for _ in range(self.random.randint(1, 6)))

    def port(self):
        port = self.one(PORTS)
        return self.one((f"{port}", f"{port}", f"{port}:{port + 20}", "1024:65535", ":1023", "40000:", "0", "65535"))

    def ports(self, proto):
        words = []
        if self.chance(.25):
            words.append(f"-m multiport {self.negate()}{self.one(('--dports', '--sports', '--ports'))} {self.several()}")
        elif self.chance(.6):
            first, second = self.port(), self.one(("1024:65535", "40000", "53", "40001", "500", ":1023"))
            negations = [self.negate(.2), self.negate(.2)]
            if all(negations) and ":" not in first + second:
                negations[1] = ""  # by design, see docs/differences.md
            options = [f"{negations[0]}--dport {first}", f"{negations[1]}--sport {second}"]
            words += [f"-m {proto}"] + self.one((options[:1], options[:1], options[1:], options))
        if proto == "tcp" and self.chance(.25):
            if f"-m {proto}" not in words:
                words.append("-m tcp")
            kind = self.random.random()
            if kind < .3:
                words.append(f"{self.negate(.4)}--syn")
            elif kind < .8:
                mask, value = self.one(FLAGS)
                words.append(f"{self.negate()}--tcp-flags {mask} {value}")
            else:
                words.append(f"{self.negate(.3)}--tcp-option {self.one((2, 3, 4, 5, 8, 8, 34))}")
        return " ".join(words)

    def conntrack(self):
        pool = V6 if self.six else V4
        kind = self.random.randrange(12)
        if kind < 4:
            states = ",".join(self.random.sample(STATES, self.random.randint(1, 4)))
            return f"-m conntrack {self.negate(.2)}--ctstate {states}"
        if kind == 4:
            states = ",".join(self.random.sample(STATES[:5], self.random.randint(1, 3)))
            return f"-m state {self.negate()}--state {states}"
        if kind == 5:
            return f"-m conntrack {self.negate()}--ctstatus {self.one(STATUSES)}"
        if kind == 6:
            least = self.one((0, 1, 10, 28, 100, 119, 400000))
            return f"-m conntrack {self.negate()}--ctexpire {self.one((f'{least}:{least + 40}', f'{least}:{least * 3}'))}"
        words = ["-m conntrack"]
        if self.chance(.4):
            words.append(f"--ctdir {self.one(('ORIGINAL', 'REPLY'))}")
        if self.chance(.4):
            words.append(f"{self.negate(.2)}--ctstate {','.join(self.random.sample(STATES, self.random.randint(1, 2)))}")
        if self.chance(.2):
            words.append(f"{self.negate()}--ctstatus {self.one(STATUSES)}")
        for option in ("--ctorigsrc", "--ctorigdst", "--ctreplsrc", "--ctrepldst"):
            if self.chance(.25):
                where = self.one(pool)
                words.append(f"{'' if where.endswith('/0') else self.negate()}{option} {where}")
        if self.chance(.4):
            proto = self.one(("tcp", "tcp", "udp", "udp", "icmp", "ipv6-icmp", "17", "47"))
            words.append(f"{self.negate()}--ctproto {proto}")
            if proto in ("tcp", "udp", "17"):
                for option in ("--ctorigsrcport", "--ctorigdstport", "--ctreplsrcport", "--ctrepldstport"):
                    if self.chance(.3):
                        words.append(f"{self.negate()}{option} {self.port().replace('40000:', '40000:65535')}")
        if len(words) == 1:
            words.append("--ctdir ORIGINAL")
        return " ".join(words)

    def extras(self):
        words = []
        if self.chance(.4):
            words.append(self.conntrack())
        if self.chance(.15):
            words.append(f"-m mark {self.negate(.2)}--mark {self.one(MARKS)}")
        if self.chance(.08):
            rate = self.one(("1/sec", "5/second", "10/s", "20/min", "1/min", "3/hour", "5/day", "7/m"))
            words.append(f"-m limit --limit {rate}" + self.one(("", f" --limit-burst {self.random.randint(1, 12)}")))
        if self.chance(.08):
            words.append(self.recent())
        if self.chance(.04):
            words.append(self.connlimit())
        if self.chance(.03):
            self.serial += 1
            words.append(f'-m comment --comment "rule {self.serial}"')
        self.random.shuffle(words)
        return words

    def match(self, chain, protocol=None):
        """Half of the rules ask one thing only, so that packets meet them."""
        if self.chance(.5):
            return super().match(chain, protocol)
        kind = self.random.choices(("conntrack", "protocol", "recent", "connlimit", "mark", "limit", "addresses"),
                                   (34, 30, 12, 7, 7, 5, 5))[0]
        if kind == "protocol":
            return self.protocol()
        if kind == "addresses":
            return " ".join(self.addresses() or ["-p all"]), "all"
        if kind in ("conntrack", "recent", "connlimit"):
            return getattr(self, kind)(), "all"
        return (f"-m mark {self.negate(.2)}--mark {self.one(MARKS)}" if kind == "mark" else
                f"-m limit --limit {self.one(('1/sec', '20/min', '3/hour'))} --limit-burst {self.random.randint(1, 12)}"), "all"

    def connlimit(self):
        words = f"-m connlimit --connlimit-{self.one(('above', 'above', 'upto'))} {self.random.randint(0, 5)}"
        if self.chance(.7):
            words += f" --connlimit-mask {self.one((128, 64, 48, 0)) if self.six else self.one((32, 24, 16, 8, 0, 29))}"
        return words + self.one(("", " --connlimit-saddr", " --connlimit-daddr"))

    def recent(self):
        kind = self.one(("--set", "--set", "--rcheck", "--update", "--update", "--remove"))
        words = f"-m recent {self.negate(.15)}{kind}"
        if kind in ("--rcheck", "--update"):
            if self.chance(.6):
                words += f" --seconds {self.one((1, 2, 60))}" + self.one(("", "", " --reap"))
            if self.chance(.6):
                words += f" --hitcount {self.one((1, 2, 3, 4, 8))}"
            if self.chance(.2):
                words += " --rttl"
        # Every use of a list has the same mask, or the kernel's lists would be looked at with another one.
        name, mask = self.one((("DEFAULT", 0), ("SSH", 0), ("nets", 1)))
        masks = ("ffff:ffff:ffff:ffff::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff") if self.six else \
            ("255.255.255.0", "255.255.255.255")
        words += self.one(("", f" --name {name}")) if name == "DEFAULT" else f" --name {name}"
        if mask or self.chance(.3):
            words += f" --mask {masks[0] if mask else masks[1]}"
        return words + self.one(("", " --rsource", " --rdest"))

    def interfaces(self, chain):
        words, names = [], ("wan0", "lan0", "dmz0", "lan+", "wan+", "+", "lo", "dmz0", "eth7")
        if chain not in ("POSTROUTING", "OUTPUT") and self.chance(.25):
            name = self.one(names)
            words.append(f"{'' if name == '+' else self.negate()}-i {name}")
        if chain not in ("PREROUTING", "INPUT") and self.chance(.25):
            name = self.one(names)
            words.append(f"{'' if name == '+' else self.negate()}-o {name}")
        return words

    # tables ------------------------------------------------------------------------------------

    def policy(self):
        return "DROP" if self.chance(.06) else "ACCEPT"

    def raw(self):
        return self.table("raw", ("PREROUTING", "OUTPUT"), lambda chain, proto: self.one(
            ("-j CT --notrack", "-j NOTRACK", "-j ACCEPT", "-j RETURN", "", "-j DROP",
             "")), self.one(((), ("r1",))), 2, self.policy)

    def marking(self):
        mark = self.one(MARKS)
        number = mark.partition("/")[0]
        return "-j MARK " + self.one((f"--set-xmark {mark}", f"--set-mark {mark}", f"--set-mark {mark}",
                                      f"--and-mark {number}", f"--or-mark {number}", f"--xor-mark {number}"))

    def mangle(self):
        def target(chain, proto):
            return self.one((self.marking(), self.marking(), self.marking(), "-j ACCEPT", "-j RETURN", "",
                             "-j DROP" if self.chance(.3) else "-j LOG"))
        return self.table("mangle", ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"), target,
                          self.one(((), ("mg1",), ("mg1", "mg2"))), 2, self.policy)

    def filter(self):
        def target(chain, proto):
            kind = self.random.choices(("ACCEPT", "DROP", "REJECT", "LOG", "RETURN", ""), (28, 8, 22, 6, 6, 30))[0]
            if kind == "REJECT":
                if proto == "tcp" and self.chance(.4):
                    return "-j REJECT --reject-with tcp-reset"
                return self.one(("-j REJECT", f"-j REJECT --reject-with {self.one(REJECT6 if self.six else REJECT4)}",
                                 f"-j REJECT --reject-with {self.one(REJECT6 if self.six else REJECT4)}"))
            if kind == "LOG":
                return "-j LOG" + self.one(("", ' --log-prefix "p "', " --log-level 7 --log-tcp-options --log-ip-options",
                                            " --log-level debug --log-tcp-sequence --log-uid"))
            return f"-j {kind}" if kind else ""
        return self.table("filter", ("INPUT", "FORWARD", "OUTPUT"), target,
                          self.one(((), ("f1",), ("f1", "f2"), ("f1", "f2", "f3"))), 5,
                          lambda: "DROP" if self.chance(.2) else "ACCEPT")

    def nat(self):
        """User chains are jumped to from one built-in chain each, for a target's sake."""
        def target(chain, proto):
            ported = proto in ("tcp", "udp")
            if self.chance(.12):
                return self.one(("-j ACCEPT", "-j RETURN", ""))
            if chain in ("PREROUTING", "OUTPUT"):
                if self.chance(.25):
                    ports = f" --to-ports {self.one(('3128', '5300', '5000-5010', '1-65535'))}" if ported else ""
                    return f"-j REDIRECT{ports if self.chance(.8) else ''}" + (" --random" if self.chance(.1) else "")
                return f"-j DNAT --to-destination {self.destination(ported)}{self.flags(('--random', '--persistent'))}"
            if chain == "POSTROUTING" and self.chance(.5):
                ports = f" --to-ports {self.one(('50000-50100', '1024', '600-610'))}" if ported and self.chance(.4) else ""
                return f"-j MASQUERADE{ports}{self.flags(('--random', '--random-fully'))}"
            return f"-j SNAT --to-source {self.source(ported)}" + \
                self.flags(("--random", "--random-fully", "--persistent", "--persistent"))
        return self.table("nat", ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"), target, (), 3)

    def flags(self, names):
        return f" {self.one(names)}" if self.chance(.12) else ""

    def place(self, hosts, ports, ported):
        host = self.one(hosts)
        if not ported or not self.chance(.6):
            return host
        port = self.one(ports)
        return f"[{host}]:{port}" if self.six else f"{host}:{port}"

    def destination(self, ported):
        if ported and self.chance(.12):
            return f":{self.one((80, '8080-8090', 22))}"
        hosts = ("2001:db8:2::100", "2001:db8:3::20", "2001:db8:2::1", "2001:db8:2::64-2001:db8:2::67") if self.six else \
            ("192.168.1.100", "192.0.2.20", "192.168.1.1", "198.51.100.7", "192.168.1.100-192.168.1.103")
        return self.place(hosts, (80, 22, "80-90", "22-23", "1-1024", "65535"), ported)

    def source(self, ported):
        hosts = ("2001:db8:1::10", "2001:db8:1::2", "2001:db8:1::10-2001:db8:1::13") if self.six else \
            ("203.0.113.10", "203.0.113.2", "203.0.113.10-203.0.113.13", "192.168.1.1")
        if ported and self.chance(.08):
            return f":{self.one(('50000-50100', '700'))}"
        return self.place(hosts, ("50000-50100", "1024-65535", "600-602", "777"), ported)
