"""Random traffic of the protocols beside TCP, UDP and ICMP's queries: SCTP, GRE, DCCP, UDP-Lite and ICMPv6
redirects."""

from traffic_generator import Flow


class Sctp(Flow):
    """An association by the book, with steps out of order, wrong tags and strange chunks put in."""

    from_host = False
    NEAR, FAR = 1111, 2222  # the tags that each end gives out

    # (forth, chunks, whether the tag is the receiver's or none)
    BOOK = ((True, (f"INIT {NEAR}",), 0), (False, (f"INIT_ACK {FAR}",), NEAR), (True, ("COOKIE_ECHO",), FAR),
            (False, ("COOKIE_ACK",), NEAR), (True, ("DATA",), FAR), (False, ("SACK", "DATA"), NEAR),
            (True, ("HEARTBEAT",), FAR), (False, ("HEARTBEAT_ACK",), NEAR), (True, ("SHUTDOWN",), FAR),
            (False, ("SHUTDOWN_ACK",), NEAR), (True, ("SHUTDOWN_COMPLETE",), FAR))
    ALONE = ("DATA", "SACK", "HEARTBEAT", "HEARTBEAT_ACK", "ABORT", "ABORT/T", "SHUTDOWN", "SHUTDOWN_ACK", "ERROR",
             "COOKIE_ECHO", "COOKIE_ACK", "SHUTDOWN_COMPLETE", "SHUTDOWN_COMPLETE/T", "STRANGE",
             f"INIT {NEAR}", f"INIT {FAR}", "INIT 77", f"INIT_ACK {FAR}", f"INIT_ACK {NEAR}", "INIT_ACK 77")
    WRONG = ("SACK=0", "SACK=1", "SACK=900", "INIT", "INIT_ACK", "DATA=3")

    def say(self, forth, chunks, tag):
        def packet(ends):
            words = ", ".join(f'"{chunk}"' for chunk in chunks)
            crc = ", crc=0xbad" if self.chance(.03) else ""
            return f"sctp({ends}, {words}, tag={tag}{crc}{self.ip()})"
        (self.forth if forth or not self.steps else self.back)(packet)

    def stray(self):
        count = self.one((1, 1, 1, 2, 3))
        chunks = [self.one(self.ALONE if self.chance(.9) else self.WRONG) for _ in range(count)]
        tag = self.one((0, self.NEAR, self.FAR, self.NEAR, self.FAR, 77))
        self.say(self.chance(.5), chunks, tag)

    def build(self):
        if self.chance(.35):
            for _ in range(self.random.randint(2, 9)):
                self.stray()
            return self
        book = self.BOOK[self.one((0, 0, 0, 0, 6)):]
        for forth, chunks, tag in book[:self.random.randint(2, len(book))]:
            if self.chance(.9) or not self.steps:
                self.say(forth, chunks, tag)
            if self.chance(.1):
                self.say(forth, chunks, tag)
            if self.chance(.2):
                self.stray()
            if self.chance(.04):
                self.error(self.random.randint(1, len(self.steps)))
        return self


class Gre(Flow):

    from_host = False

    def build(self):
        client, server = f"{self.client}{self.six}", f"{self.server}{self.six}"
        key = self.one((1, 5, 5))
        header = self.one(("00000800", "20000800", f"2001880b0004{key:04x}", f"3001880b0004{key:04x}",
                           f"20010800{0:04x}{key:04x}", "2002880b", "20"))
        for _ in range(self.random.randint(1, 4)):
            n = self.add(self.client_port,
                         f'other("{client}", "{server}", 47, bytes.fromhex("{header}") + b"g" * 9{self.ip()})')
            if self.chance(.6):
                self.add(f"<@{n}|{self.server_port}",
                         f'other(there(@{n})[:-2].strip("[]"), back(@{n})[:-2].strip("[]"), 47, '
                         f'bytes.fromhex("{header}") + b"a" * 9)')
        return self


class UdpLite(Flow):
    """And DCCP, which Linux no longer tracks by itself."""

    from_host = False

    def build(self):
        client, server = f"{self.client}{self.six}", f"{self.server}{self.six}"
        proto = self.one((33, 136, 136))
        ports = f"{self.sport:04x}{self.dport:04x}"
        rest = self.one(("0600000100000000" + "00" * 8, "0300000100000000")) if proto == 33 else \
            self.one(("00001234", "00080000", "0010ffff", "00040000"))
        for _ in range(self.random.randint(1, 3)):
            self.add(self.client_port,
                     f'other("{client}", "{server}", {proto}, bytes.fromhex("{ports}{rest}") + b"l" * 8{self.ip()})')
        return self


class Redirect(Flow):
    """An ICMPv6 redirect to the appliance about a packet that it sent (RFC 4861 section 4.5)."""

    def build(self):
        if not self.six or not self.client_port.startswith("host:"):
            return self
        n = self.forth(lambda ends: f'udp({ends}, "about")')
        option = self.one(("0404000000000000", "0404000000000000", "0204000000000000", "0400000000000000"))
        source = self.one(("fe80::1", "fe80::1", "gw6"))
        code, ttl = self.one((0, 0, 0, 1)), self.one((255, 255, 64))
        self.add(f"<@{n}|{self.server_port}",
                 f'icmp("{source}", seen_source(@{n}), 137, {code}, '
                 f'data=wire_address("gw6") + wire_address("web6") + bytes.fromhex("{option}") + out(@{n}), ttl={ttl})')
        return self
