"""Random traffic that belongs together: flows, each a list of packets that refer to one another.

A flow writes `@K` for its own packet K (from 1); when flows are mixed, that becomes the packet's
number in the whole.
"""


class Flow:
    """Packets in order: (port, expression)."""

    # Whether the appliance itself may send it: a raw socket completes headers.
    from_host = True

    def __init__(self, random, six, serial):
        self.random, self.serial = random, serial
        self.six = "6" if six else ""
        self.steps = []
        self.choose_ends()
        while not self.from_host and self.client_port.startswith("host:"):
            self.choose_ends()
        self.sport = self.one((40000, 40000, 40001, 1024 + serial, 500, 53, 50000, 60000))
        self.dport = self.one((22, 53, 80, 80, 443, 8080, 2222, 5000, 500, 9))
        self.here = f"{self.client}{self.six}:{self.sport}"
        self.far = f"{self.server}{self.six}:{self.dport}"

    def choose_ends(self):
        self.client, self.client_port, self.server, self.server_port = self.random.choices((
            ("lan1", "lan0", "web", "wan0"), ("lan2", "lan0", "web", "wan0"),
            ("lan1", "lan0", "dns", "wan0"), ("lan1", "lan0", "dmz1", "dmz0"),
            ("dmz1", "dmz0", "web", "wan0"), ("web", "wan0", "wanip", "host:wan0"),
            ("attacker", "wan0", "wanip", "host:wan0"), ("lan1", "lan0", "wanip", "host:lan0"),
            ("lan1", "lan0", "lanip", "host:lan0"), ("wanip", "host:wan0", "web", "wan0"),
            ("lanip", "host:lan0", "lan1", "lan0"), ("attacker", "wan0", "lan1", "lan0"),
            ("dmz1", "dmz0", "lan1", "lan0")), (8, 4, 4, 3, 3, 6, 3, 3, 3, 4, 2, 2, 2))[0]

    def chance(self, share):
        return self.random.random() < share

    def one(self, values):
        return self.random.choice(values)

    def add(self, port, expression):
        self.steps.append((port, expression))
        return len(self.steps)

    def ip(self):
        """A few header fields out of the ordinary."""
        words = ""
        if self.chance(.04):
            words += f", ttl={self.one((0, 1, 2, 255))}"
        if self.chance(.04):
            words += f", tos={self.one((0x10, 0xb8, 2))}"
        if not self.six and self.chance(.2):
            words += ", df=True"
        if not self.six and self.chance(.1):
            words += f", id={self.random.randrange(1, 65536)}"
        if not self.six and self.chance(.02):
            words += ', options=bytes.fromhex("01010101")'
        return words

    def forth(self, make):
        return self.add(self.client_port, make(f'"{self.here}", "{self.far}"'))

    def back(self, make, of=1):
        return self.add(f"<@{of}|{self.server_port}", make(f"there(@{of}), back(@{of})"))

    def error(self, of, from_client=False):
        """An ICMP error about packet `of`, from where it went."""
        cut = self.one(("", "", ", bytes=28", ", bytes=48", ", bytes=24", ", bytes=60"))
        bad = ", isum=0x1234" if self.chance(.05) else ""
        if self.six:
            kind, code = self.one(((1, 0), (1, 4), (1, 1), (2, 0), (3, 0), (4, 1)))
        else:
            kind, code = self.one(((3, 0), (3, 1), (3, 3), (3, 4), (11, 0), (12, 0), (4, 0), (3, 13)))
        mtu = ", mtu=1280" if (kind, code) in ((3, 4), (2, 0)) else ""
        source = self.one(("hop", "web", "gw")) + self.six
        port = f"<@{of}|{self.server_port}"
        if self.client_port == "wan0" or from_client:
            source = self.one(("lan1", "server")) + self.six
        self.add(port, f'error("{source}", seen_source(@{of}), {kind}, {code}, out(@{of}){cut}{mtu}{bad})')

    def answered(self):
        """What a server that only needs a first answer would be."""
        return self.chance(.85)


class Udp(Flow):

    def build(self):
        def packet(ends):
            sums = self.random.random()
            tail = ", usum=0" if sums < .04 and not self.six else ", usum=0xbad1" if sums < .07 else ""
            tail += ", ulen=500" if self.chance(.01) else ""
            size = self.one((0, 1, 5, 30, 100, 1200 if self.chance(.1) else 9))
            return f'udp({ends}, "u" * {size}{tail}{self.ip()})'
        self.forth(packet)
        for _ in range(self.random.randint(0, 6)):
            kind = self.random.random()
            if kind < .4:
                self.forth(packet)
            elif kind < .85:
                self.back(packet)
            else:
                self.error(self.random.randint(1, len(self.steps)))
        return self


class Ping(Flow):

    def build(self):
        number = self.one((1, 77, 77, self.serial + 1))
        client, server = f"{self.client}{self.six}", f"{self.server}{self.six}"
        for sequence in range(1, self.random.randint(1, 3) + 1):
            bad = ", isum=0xbad" if self.chance(.04) else ""
            asked = self.add(self.client_port,
                             f'ping("{client}", "{server}", echo={number}, seq={sequence}{bad}{self.ip()})')
            if self.chance(.7):
                self.add(f"<@{asked}|{self.server_port}",
                         f'pong(there(@{asked}), back(@{asked}), echo=echo_id(@{asked}), seq={sequence})')
            if self.chance(.2):
                self.error(asked)
        if self.chance(.1):
            self.add(self.client_port, f'pong("{client}", "{server}", echo={number + 1000})')
        return self


class Other(Flow):

    def build(self):
        proto = self.one((50, 99, 4))
        client, server = f"{self.client}{self.six}", f"{self.server}{self.six}"
        for _ in range(self.random.randint(1, 3)):
            n = self.add(self.client_port, f'other("{client}", "{server}", {proto}, b"o" * 20{self.ip()})')
            if self.chance(.5):
                self.add(f"<@{n}|{self.server_port}",
                         f'other(there(@{n}), back(@{n}), {proto}, b"a" * 20)')
        return self


class Fragments(Flow):

    from_host = False

    def build(self):
        size = self.one((200, 600, 1400, 2500))
        identity = 1000 + self.serial * 7
        extra = "" if self.six else f", id={identity}"
        if self.chance(.25):
            whole = f'ping("{self.client}{self.six}", "{self.server}{self.six}", echo={self.serial}, data=b"f" * {size}{extra})'
        elif self.chance(.2):
            whole = f'tcp("{self.here}", "{self.far}", "S", seq=1, data="f" * {size}{extra})'
        else:
            whole = f'udp("{self.here}", "{self.far}", "f" * {size}{extra})'
        step = self.one((64, 200, 512, 1200))
        step -= step % 8
        count = (size + 8 + step - 1) // step
        order = list(range(count))
        if count > 12:
            return self
        if self.chance(.5):
            self.random.shuffle(order)
        if self.chance(.15) and count > 1:
            order.pop()
        if self.chance(.1):
            order.insert(self.random.randrange(len(order) + 1), self.random.randrange(count))
        cut = [f"fragment({whole}, {step}, {i}{f', id6={identity}' if self.six else ''})" for i in order]
        if self.chance(.12) and step > 64 and count > 1:
            # A piece that overlaps its neighbours.
            cut.insert(self.random.randrange(len(cut)),
                       f"fragment({whole}, {step - 16 - step // 16 * 8 % 16}, 1"
                       f"{f', id6={identity}' if self.six else ''})")
        for expression in cut:
            self.add(self.client_port, expression)
        if self.chance(.5):
            last = len(self.steps)
            self.add(f"<@{last}|{self.server_port}",
                     f'udp("{self.far}", seen_source(@{last}) + ":{self.sport}", "answer")'
                     if not self.six else
                     f'udp("{self.far}", "[" + seen_source(@{last}) + "]:{self.sport}", "answer")')
        return self


class Strange(Flow):
    """Errors about nothing, pieces of packets, wrong lengths."""

    from_host = False

    def build(self):
        base = self.one((f'udp("{self.here}", "{self.far}", "strange")',
                         f'tcp("{self.here}", "{self.far}", "S", seq=1)'))
        client, server = f"{self.client}{self.six}", f"{self.server}{self.six}"
        mirror = base.replace(f'"{self.here}", "{self.far}"', f'"{self.far}", "{self.here}"')
        for _ in range(self.random.randint(1, 3)):
            kind = self.random.randrange(7)
            if kind == 0:
                code = "1, 4" if self.six else "3, 3"
                self.add(self.client_port, f'error("{client}", "{server}", {code}, {mirror})')
            elif kind == 1:
                self.add(self.client_port, f"cut({base}, {self.random.randint(1, 47)})")
            elif kind == 2 and not self.six:
                field = self.one((", length=400", ", length=21", ", ihl=4", ", ihl=15", ", sum=0xdead",
                                  ", version=5", ", offset=8", ", mf=True"))
                self.add(self.client_port, base[:-1] + field + ")")
            elif kind == 3:
                self.add(self.client_port, f'tcp("{self.here}", "{self.far}", '
                         f'"{self.one(("", "SF", "SR", "FPU", "SFRPAU", "F", "AR"))}", seq=7, ack=9)')
            elif kind == 4:
                self.add(self.client_port,
                         f'tcp("{self.here}", "{self.far}", "S", doff={self.one((0, 4, 6, 15))})')
            elif kind == 5 and self.six:
                self.add(self.client_port, f'chain({base}, ({self.one((0, 60, 60, 43))}, "0104"))')
            else:
                offset = self.random.randint(0, 39)
                self.add(self.client_port, f'patch({base}, {offset}, "{self.random.randrange(256):02x}")')
        return self
