"""Traffic that traffic_generator leaves out: crowds, streams over time, queries and errors of every kind,
extension headers, options, broadcasts, fragments of any size."""

from traffic_generator import Flow


class Crowd(Flow):
    """Many connections at once: what counts them, and what needs a port of its own."""

    def build(self):
        tcp, same = self.chance(.5), self.chance(.3)
        for number in range(self.random.randint(4, 14)):
            port = self.sport if same else 41000 + number
            client = self.one(("lan1", "lan2", "server", "dmz1"))
            if self.client_port != "lan0" or self.chance(.6):
                client = self.client
            ends = f'"{client}{self.six}:{port}", "{self.far}"'
            here = self.add("dmz0" if client == "dmz1" else self.client_port,
                            f'tcp({ends}, "S", seq={number})' if tcp else f'udp({ends}, "crowd")')
            kind = self.random.random()
            if kind < .25:
                self.add(f"<@{here}|{self.server_port}", f'tcp(there(@{here}), back(@{here}), "{self.one(("SA", "RA"))}", '
                         f'seq=9, ack={number + 1})' if tcp else f'udp(there(@{here}), back(@{here}), "one")')
            elif kind < .3:
                self.error(here)
        return self


class Stream(Flow):
    """UDP both ways for longer than two seconds, where time passes."""

    def build(self):
        for _ in range(self.random.randint(3, 10)):
            self.forth(lambda ends: f'udp({ends}, "s" * 20)')
            if self.chance(.7):
                self.back(lambda ends: f'udp({ends}, "r" * 20)')
        return self


class Query(Flow):
    """ICMP's other questions, their answers, and what isn't tracked."""

    def build(self):
        client, server = f"{self.client}{self.six}", f"{self.server}{self.six}"
        pairs = ((128, 129), (139, 140), (144, 145), (160, 161)) if self.six else \
            ((8, 0), (13, 14), (15, 16), (17, 18), (9, 10), (30, 30), (5, 5))
        for _ in range(self.random.randint(1, 4)):
            asks, answers = self.one(pairs)
            identity = self.one(("0001", "0007", "ffff"))
            size, code = self.one((0, 1, 4, 12, 20)), self.one((0, 0, 0, 1))
            words = f'bytes.fromhex("{identity}0001"), b"q" * {size}'
            n = self.add(self.client_port, f'icmp("{client}", "{server}", {asks}, {code}, {words}{self.ip()})')
            if self.chance(.6):
                self.add(f"<@{n}|{self.server_port}",
                         f'icmp(there(@{n}).rpartition(":")[0].strip("[]"), seen_source(@{n}), {answers}, {code}, '
                         f'out(@{n})[{44 if self.six else 24}:{48 if self.six else 28}], b"q" * {size})')
            if self.chance(.15):
                self.add(self.client_port, f'icmp("{client}", "{server}", {answers}, {code}, {words})')
        return self


class Quotes(Flow):
    """Errors of every kind about a packet, from both ends' sides, quoting little, much, or another error."""

    KINDS4 = ((3, 0), (3, 1), (3, 2), (3, 3), (3, 4), (3, 9), (3, 13), (3, 15), (4, 0), (5, 1), (11, 0), (11, 1), (12, 0),
              (12, 2), (3, 99))
    KINDS6 = ((1, 0), (1, 1), (1, 3), (1, 4), (1, 5), (1, 6), (2, 0), (3, 0), (3, 1), (4, 0), (4, 1), (4, 2), (100, 0))

    def build(self):
        shape = self.one(("udp", "tcp", "ping", "options" if not self.six else "chain"))
        client, server = f"{self.client}{self.six}", f"{self.server}{self.six}"
        ends = f'"{self.here}", "{self.far}"'
        first = {"udp": f'udp({ends}, "q" * 40)', "tcp": f'tcp({ends}, "S", seq=5)',
                 "ping": f'ping("{client}", "{server}", echo=9)',
                 "options": f'udp({ends}, "q", options=bytes.fromhex("94040000"))',
                 "chain": f'chain(udp({ends}, "q"), (60, "0104"))'}[shape]
        if self.client_port.startswith("host:") and shape in ("options", "chain"):
            first = f'udp({ends}, "q")'
        n = self.add(self.client_port, first)
        if self.chance(.5) and shape in ("udp", "options", "chain"):
            self.back(lambda ends: f'udp({ends}, "answer")')
        for _ in range(self.random.randint(1, 5)):
            of = self.random.randint(1, len(self.steps))
            kind, code = self.one(self.KINDS6 if self.six else self.KINDS4)
            cut = self.one(("", "", ", bytes=28", ", bytes=27", ", bytes=20", ", bytes=48", ", bytes=47", ", bytes=8"))
            quote = f"out(@{of})"
            if self.chance(.1):
                quote = f"patch(out(@{of}), 6, \"2001\")" if not self.six else quote
            if self.chance(.1):
                quote = f'error("hop{self.six}", seen_source(@{of}), {self.one(("1, 4" if self.six else "3, 3",))}, out(@{of}))'
            mtu = f", mtu={self.one((0, 68, 576, 1280, 1400, 65535))}" if (kind, code) in ((3, 4), (2, 0)) and \
                not self.client_port.startswith("host:") else ""
            to = self.one((f"seen_source(@{of})",) * 5 + (f'"{client}"',))
            if of == n and self.chance(.8):
                source = self.one(("hop", "web", "gw")) + self.six
                self.add(f"<@{of}|{self.server_port}", f'error("{source}", {to}, {kind}, {code}, {quote}{cut}{mtu}{self.ip()})')
            elif not self.client_port.startswith("host:"):
                self.add(self.client_port, f'error("{client}", there(@{of}).rpartition(":")[0].strip("[]"), '
                         f'{kind}, {code}, {quote}{cut}{mtu})')
        return self


class Headers(Flow):
    """IPv6 extension headers of every kind and number; IPv4 options."""

    from_host = False
    # What asks for nothing, source routes, and options that aren't whole.
    OPTIONS = ("94040000", "01010101", "00000000", "9404000094040000", "8d040000", "1e03aa00", "8307040a00000100",
               "890704c000020100", "9408", "94", "07040400", "07020000", "44030500", "440c050f00000000", "83030300")

    def build(self):
        for _ in range(self.random.randint(1, 4)):
            inner = self.one((f'udp("{self.here}", "{self.far}", "h" * 9)', f'tcp("{self.here}", "{self.far}", "S", seq=1)',
                              f'ping("{self.client}{self.six}", "{self.server}{self.six}", echo=5)'))
            if not self.six:
                self.add(self.client_port, f'{inner[:-1]}, options=bytes.fromhex("{self.one(self.OPTIONS)}"))')
                continue
            headers = [self.one(('(60, "0104")', '(0, "0104")', '(60, "0104")', '(43, "000000000000")',
                                 '(43, "000100000000")', '(60, "c1020000")', '(60, "010c")', '(43, "0200000000")',
                                 '(0, "05020000")', '(60, "81020000")'))
                       for _ in range(self.one((1, 1, 1, 2, 3)))]
            packet = f"chain({inner}, {', '.join(headers)})"
            kind = self.random.random()
            if kind < .15:
                packet = f"fragment({packet}, 1200, 0, id6=77)"
            elif kind < .25:
                packet = f"fragment({inner}, 1200, 0, id6={self.serial + 78})"
            elif kind < .4:
                packet = f'other("{self.client}6", "{self.server}6", {self.one((59, 51, 50, 41, 135, 139, 253))}, ' \
                         f'bytes.fromhex("3b040000" + "00" * 28))'
            self.add(self.client_port, packet)
        return self


class Wrong(Flow):
    """Addresses that nobody may send from or that mean everybody, and the ends of a hop count."""

    from_host = False

    def build(self):
        if self.six:
            sources = ("::", "::1", "ff02::1", "fe80::10", "2001:db8:1::2", f"{self.client}6")
            targets = ("::1", "fe80::1", "2001:db8:2::", "2001:db8:1::2", f"{self.server}6", "::ffff:1.2.3.4")
        else:
            sources = ("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "203.0.113.2", self.client)
            targets = ("255.255.255.255", "192.168.1.255", "203.0.113.255", "203.0.113.0", "192.0.2.255",
                       "127.0.0.1", "0.0.0.0", "240.0.0.1", "169.254.1.1", "203.0.113.2", "192.168.1.1", self.server)
        for _ in range(self.random.randint(1, 5)):
            source = self.one(sources) if self.chance(.4) else f"{self.client}{self.six}"
            target = self.one(targets)
            ends = f'"[{source}]:{self.sport}", "[{target}]:{self.dport}"' if ":" in source + target or self.six else \
                f'"{source}:{self.sport}", "{target}:{self.dport}"'
            if self.six:
                ends = ends.replace(f"[{self.client}6]", f"{self.client}6").replace(f"[{self.server}6]", f"{self.server}6")
            ttl = self.one(("", "", "", ", ttl=1", ", ttl=2", ", ttl=0"))
            self.add(self.client_port, self.one((
                f'udp({ends}, "w"{ttl})', f'tcp({ends}, "S", seq=3{ttl})', f'udp({ends}, ""{ttl})',
                f'ping("{source}", "{target}", echo=3{ttl})')))
        return self


class Pieces(Flow):
    """Fragments of any size, of a datagram that may be longer than it is allowed to be."""

    from_host = False

    def build(self):
        size = self.one((8, 24, 64, 300, 1400, 3000))
        step = self.one([s for s in (8, 16, 64, 296, 1200, 1480) if size / s < 12] or [1480])
        identity = 5000 + self.serial * 3
        words = self.one(("", "", ", df=True", ", tos=2", ", ttl=1")) if not self.six else self.one(("", "", ", ttl=1"))
        words += "" if self.six else f", id={identity}"
        if self.six:
            step = max(step, 24)  # RFC 7112, by design
        ends = f'"{self.here}", "{self.far}"'
        whole = self.random.choices((f'udp({ends}, "p" * {size}{words})', f'tcp({ends}, "PA", seq=1, ack=1, data="p" * {size}{words})',
                                     f'udp({ends}, "p" * {size}, usum=0{words})' if not self.six else f'udp({ends}, "p" * {size}{words})',
                                     f'ping("{self.client}{self.six}", "{self.server}{self.six}", echo=4, data=b"p" * {size}{words})'),
                                    (60, 20, 10, 10))[0]
        head = 20 if whole.startswith("tcp") else 8
        count = -(-(size + head) // step)
        order = list(range(count))
        if self.chance(.4):
            self.random.shuffle(order)
        if self.chance(.3):
            order.insert(self.random.randrange(len(order) + 1), self.one(order))
        if self.chance(.15):
            order.pop(self.random.randrange(len(order)))
        last = f", id6={identity}" if self.six else ""
        for i in order:
            piece = f"fragment({whole}, {step}, {i}{last})"
            if self.chance(.05):
                # Another length of the same piece: one that overlaps, or ends elsewhere.
                piece = f"fragment({whole}, {step * 2}, {i // 2}{last})"
            elif self.chance(.03) and not self.six:
                piece = f'other("{self.client}", "{self.server}", 17, b"z" * 16, id={identity}, offset=65528)'
            self.add(self.client_port, piece)
        if self.steps and self.chance(.5) and whole.startswith("udp"):
            self.back(lambda ends: f'udp({ends}, "a" * {size}{", df=True" if not self.six and self.chance(.5) else ""})', len(self.steps))
        return self
