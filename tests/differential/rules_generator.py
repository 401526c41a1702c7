"""Random rule sets over the supported language: what people write and what they don't."""

PORTS = (22, 53, 80, 443, 8080, 2222, 5000, 500)
V4 = ("192.168.1.10", "192.168.1.0/24", "192.168.1.100", "198.51.100.7", "198.51.100.0/24",
      "203.0.113.2", "192.0.2.0/24", "0.0.0.0/0", "192.168.1.8/29")
V6 = ("2001:db8:2::10", "2001:db8:2::/64", "2001:db8:2::100", "2001:db8:ffff::7",
      "2001:db8:ffff::/48", "2001:db8:1::2", "2001:db8:3::/64", "::/0")
STATES = ("NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED", "SNAT", "DNAT")
STATUSES = ("EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED")
REJECT4 = ("icmp-net-unreachable", "icmp-host-unreachable", "icmp-port-unreachable",
           "icmp-proto-unreachable", "icmp-net-prohibited", "icmp-host-prohibited",
           "icmp-admin-prohibited")
REJECT6 = ("icmp6-no-route", "icmp6-adm-prohibited", "icmp6-addr-unreachable",
           "icmp6-port-unreachable")
ICMP4 = ("8", "0", "3", "3/3", "11", "3/4", "any")
ICMP6 = ("128", "129", "1", "1/4", "2", "3")


class Rules:
    """One family's rule set for one scenario."""

    def __init__(self, random, family):
        self.random, self.six = random, family == 6
        self.serial = 0

    def chance(self, share):
        return self.random.random() < share

    def one(self, values):
        return self.random.choice(values)

    def text(self):
        tables = [t for t, share in (("raw", .2), ("mangle", .3), ("nat", .65), ("filter", .9))
                  if self.chance(share)]
        return "".join(getattr(self, table)() for table in tables)

    # matches -----------------------------------------------------------------------------------

    def negate(self, share=.15):
        return "! " if self.chance(share) else ""

    def protocol(self):
        """(words of -p and its match, protocol name)"""
        proto = self.random.choices(("tcp", "udp", "icmp", "all", "other"), (40, 28, 12, 14, 6))[0]
        icmp = "ipv6-icmp" if self.six else "icmp"
        if proto == "all":
            return "", "all"
        if proto == "other":
            return f"{self.negate(.5)}-p {self.one((50, 99, 6, 17))}", "other"
        if proto == "icmp":
            if self.chance(.5):
                option = "icmp6 --icmpv6-type" if self.six else "icmp --icmp-type"
                words = option.split()
                negation = self.negate()
                kind = self.one(ICMP6 if self.six else ICMP4)
                if kind == "any":
                    negation = ""
                return f"-p {icmp} -m {words[0]} {negation}{words[1]} {kind}", "icmp"
            return f"-p {icmp}", "icmp"
        if self.chance(.1):
            return f"! -p {proto}", "not"
        return f"-p {proto} {self.ports(proto)}".strip(), proto

    def port(self):
        port = self.one(PORTS)
        return self.one((f"{port}", f"{port}", f"{port}:{port + 20}", "1024:65535", ":1023"))

    def ports(self, proto):
        words = []
        if self.chance(.65):
            if self.chance(.25):
                # A negated multiport must say so before the option.
                count = self.random.randint(1, 4)
                ports = ",".join(self.one([str(p) for p in PORTS] + ["1000:2000", "40000:50000"])
                                 for _ in range(count))
                words.append(f"-m multiport {self.negate()}"
                             f"{self.one(('--dports', '--sports', '--ports'))} {ports}")
            else:
                words.append(f"-m {proto} {self.negate()}--dport {self.port()}")
                if self.chance(.1):
                    sport = f"{self.negate()}--sport {self.one(('1024:65535', '40000', '53'))}"
                    if "! " in words[-1] and ":" not in words[-1] + sport:
                        # iptables 1.8.9 makes one comparison of two negated ports: by design.
                        sport = sport.removeprefix("! ")
                    words.append(sport)
        if proto == "tcp" and self.chance(.12):
            mask, value = self.one((("FIN,SYN,RST,ACK", "SYN"), ("SYN,RST", "SYN,RST"),
                                    ("FIN,SYN,RST,PSH,ACK,URG", "NONE"), ("ACK,FIN", "FIN"),
                                    ("RST", "RST")))
            module = "" if words and words[0].startswith("-m tcp") else "-m tcp "
            words.append(f"{module}{self.negate()}--tcp-flags {mask} {value}")
        elif proto == "tcp" and self.chance(.06):
            module = "" if words and words[0].startswith("-m tcp") else "-m tcp "
            words.append(f"{module}{self.negate()}--tcp-option {self.one((2, 3, 5, 8))}")
        return " ".join(words)

    def addresses(self):
        words, pool = [], V6 if self.six else V4
        for option, share in (("-s", .25), ("-d", .2)):
            if self.chance(share):
                where = self.one(pool)
                negation = "" if where.endswith("/0") else self.negate()  # the kernel refuses `! 0/0`
                words.append(f"{negation}{option} {where}")
        return words

    def interfaces(self, chain):
        words, names = [], ("wan0", "lan0", "dmz0", "lan+", "wan+", "eth7")
        if chain not in ("POSTROUTING", "OUTPUT") and self.chance(.3):
            words.append(f"{self.negate()}-i {self.one(names)}")
        if chain not in ("PREROUTING", "INPUT") and self.chance(.3):
            words.append(f"{self.negate()}-o {self.one(names)}")
        return words

    def conntrack(self):
        pool = V6 if self.six else V4
        kind = self.random.randrange(10)
        if kind < 6:
            states = ",".join(self.random.sample(STATES, self.random.randint(1, 3)))
            return f"-m conntrack {self.negate()}--ctstate {states}"
        if kind == 6:
            states = ",".join(self.random.sample(STATES[:4], self.random.randint(1, 2)))
            return f"-m state --state {states}"
        if kind == 7:
            return f"-m conntrack {self.negate()}--ctstatus {self.one(STATUSES)}"
        if kind == 8:
            return f"-m conntrack --ctdir {self.one(('ORIGINAL', 'REPLY'))}"
        option = self.one(("--ctorigsrc", "--ctorigdst", "--ctreplsrc", "--ctrepldst"))
        words = f"-m conntrack {self.negate()}{option} {self.one(pool)}"
        if self.chance(.4):
            words += f" {self.negate()}--ctproto tcp"
            port = self.one(("--ctorigdstport", "--ctorigsrcport", "--ctreplsrcport"))
            words += f" {port} {self.one(PORTS)}"
        return words

    def extras(self):
        """Matches that count or compare, at most a few."""
        words = []
        if self.chance(.3):
            words.append(self.conntrack())
        if self.chance(.07):
            words.append(f"-m mark {self.negate()}--mark {self.one(('0x1', '0x2/0x3', '0x10/0xff'))}")
        if self.chance(.06):
            words.append(f"-m limit --limit {self.one(('1/min', '3/hour', '5/day'))} "
                         f"--limit-burst {self.random.randint(1, 5)}")
        if self.chance(.06):
            words.append(self.recent())
        if self.chance(.04):
            mask = self.one((128, 64)) if self.six else self.one((32, 24, 16))
            words.append(f"-m connlimit --connlimit-{self.one(('above', 'above', 'upto'))} "
                         f"{self.random.randint(0, 3)} --connlimit-mask {mask} "
                         f"--connlimit-{self.one(('saddr', 'daddr'))}")
        if self.chance(.03):
            self.serial += 1
            words.append(f'-m comment --comment "rule {self.serial}"')
        return words

    def recent(self):
        name = self.one(("DEFAULT", "SSH"))
        side = self.one(("--rsource", "--rsource", "--rdest"))
        mask = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" if self.six else "255.255.255.255"
        kind = self.one(("--set", "--set", "--rcheck", "--update", "--remove"))
        words = f"-m recent {self.negate(.1)}{kind}"
        if kind in ("--rcheck", "--update"):
            if self.chance(.6):
                words += " --seconds 60"
            if self.chance(.6):
                words += f" --hitcount {self.random.randint(1, 5)}"
            if self.chance(.15):
                words += " --rttl"
        return f"{words} --name {name} --mask {mask} {side}"

    def match(self, chain, protocol=None):
        """(words, protocol)"""
        proto_words, proto = protocol or self.protocol()
        words = self.addresses() + self.interfaces(chain)
        if not self.six and self.chance(.03):
            words.append(f"{self.negate(.5)}-f")
        if proto_words:
            words.append(proto_words)
        return " ".join(words + self.extras()), proto

    # tables ------------------------------------------------------------------------------------

    def table(self, name, chains, target, user_chains, most, policy=None):
        lines = [f"*{name}"]
        for chain in chains:
            lines.append(f":{chain} {policy() if policy else 'ACCEPT'} [0:0]")
        lines += [f":{chain} - [0:0]" for chain in user_chains]
        for number, chain in enumerate(list(chains) + list(user_chains)):
            deeper = user_chains[max(0, number - len(chains) + 1):]
            for _ in range(self.random.randint(0, most)):
                words, proto = self.match(chain)
                if deeper and self.chance(.18):
                    jump = f"{self.one(('-j', '-j', '-g'))} {self.one(deeper)}"
                else:
                    jump = target(chain, proto)
                lines.append(" ".join(f"-A {chain} {words} {jump}".split()))
        return "\n".join(lines + ["COMMIT", ""])

    def raw(self):
        return self.table("raw", ("PREROUTING", "OUTPUT"), lambda chain, proto: self.one(
            ("-j CT --notrack", "-j ACCEPT", "-j RETURN", "", "-j DROP", "-j CT --notrack")), (), 2)

    def mangle(self):
        def target(chain, proto):
            mark = self.one(("0x1/0xffffffff", "0x2/0x3", "0x10/0xff", "0x0/0x1", "0x4/0x0"))
            return self.one((f"-j MARK --set-xmark {mark}", f"-j MARK --set-xmark {mark}",
                             "-j ACCEPT", "-j RETURN", "", "-j DROP" if self.chance(.3) else ""))
        return self.table("mangle", ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
                          target, self.one(((), ("mg1",), ("mg1", "mg2"))), 2)

    def filter(self):
        def target(chain, proto):
            kind = self.random.choices(("ACCEPT", "DROP", "REJECT", "LOG", "RETURN", ""),
                                       (45, 15, 15, 5, 6, 14))[0]
            if kind == "REJECT":
                kinds = REJECT6 if self.six else REJECT4
                if proto == "tcp" and self.chance(.5):
                    return "-j REJECT --reject-with tcp-reset"
                return f"-j REJECT --reject-with {self.one(kinds)}"
            if kind == "LOG":
                return f'-j LOG --log-prefix "{self.one(("drop: ", "new "))}"'
            return f"-j {kind}" if kind else ""
        return self.table(
            "filter", ("INPUT", "FORWARD", "OUTPUT"), target,
            self.one(((), (), ("f1",), ("f1", "f2"), ("f1", "f2", "f3"))), 6,
            lambda: "DROP" if self.chance(.3) else "ACCEPT")

    def nat(self):
        def target(chain, proto):
            ported = proto in ("tcp", "udp")
            if chain in ("PREROUTING", "OUTPUT"):
                if self.chance(.25):
                    ports = f" --to-ports {self.one(('3128', '5300', '5000-5010'))}" if ported else ""
                    return f"-j REDIRECT{ports if self.chance(.8) else ''}"
                if self.chance(.15):
                    return self.one(("-j ACCEPT", "-j RETURN", ""))
                return f"-j DNAT --to-destination {self.destination(ported)}"
            if self.chance(.15):
                return self.one(("-j ACCEPT", "-j RETURN", ""))
            if chain == "POSTROUTING" and self.chance(.55):
                ports = " --to-ports 50000-50100" if ported and self.chance(.3) else ""
                return f"-j MASQUERADE{ports}{self.at_random()}"
            return f"-j SNAT --to-source {self.source(ported)}{self.at_random()}"
        return self.table("nat", ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"), target, (), 3)

    def at_random(self):
        return self.one((" --random", " --random-fully")) if self.chance(.08) else ""

    def destination(self, ported):
        if self.six:
            host = self.one(("2001:db8:2::100", "2001:db8:2::11", "2001:db8:3::20"))
            return f"[{host}]:{self.one((80, 22, '80-90'))}" if ported and self.chance(.6) else host
        host = self.one(("192.168.1.100", "192.168.1.11", "192.0.2.20"))
        return f"{host}:{self.one((80, 22, '80-90'))}" if ported and self.chance(.6) else host

    def source(self, ported):
        if self.six:
            host = self.one(("2001:db8:1::10", "2001:db8:1::2"))
            return f"[{host}]:50000-50100" if ported and self.chance(.3) else host
        host = self.one(("203.0.113.10", "203.0.113.2"))
        return f"{host}:{self.one(('50000-50100', '1024-65535'))}" \
            if ported and self.chance(.3) else host
