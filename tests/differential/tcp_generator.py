"""TCP connections that behave, and that don't."""

from traffic_generator import Flow

START = {True: 1000, False: 500000}  # first sequence number of the client and of the server


class Tcp(Flow):
    """Each side's next sequence number is kept, so that what follows fits (or misses on purpose)."""

    def build(self):
        self.next = dict(START)
        if self.chance(.1):
            self.next = {True: 2**32 - 5, False: 2**31 - 3}
        self.window = self.one((64240, 1000, 502, 0 if self.chance(.1) else 8192))
        opening = self.random.choices(
            (self.handshake, self.syn_only, self.midstream, self.simultaneous, self.split),
            (75, 8, 8, 4, 4))[0]
        opening()
        for _ in range(self.random.randint(0, 8)):
            self.random.choices(
                (self.data, self.acknowledge, self.again, self.outside, self.reset, self.finish,
                 self.new_syn, self.damaged, self.keepalive, self.unreachable),
                (34, 14, 10, 8, 7, 12, 5, 3, 3, 4))[0]()
        return self

    # one segment -------------------------------------------------------------------------------

    def segment(self, client, flags, seq=None, ack=None, data="", opts="", extra=""):
        seq = self.next[client] if seq is None else seq
        ack = (self.next[not client] if "A" in flags else 0) if ack is None else ack
        win = self.window if self.chance(.9) else self.one((0, 10, 65535))
        words = f'"{flags}", seq={seq % 2**32}, ack={ack % 2**32}, win={win}'
        words += f", opts=[{opts}]" if opts else ""
        words += f', data="{data[0]}" * {len(data)}' if data else ""
        words += extra + self.ip()
        make = lambda ends: f"tcp({ends}, {words})"
        return self.forth(make) if client else self.back(make)

    def step(self, client, count):
        self.next[client] = (self.next[client] + count) % 2**32

    def syn_options(self):
        options = []
        if self.chance(.7):
            options.append('("mss", 1460)')
        if self.chance(.5):
            options.append('("sackok",)')
        if self.chance(.5):
            options.append(f'("ws", {self.one((0, 2, 7, 14, 15))})')
        if self.chance(.3):
            options.append('("ts", 1, 0)')
        return ", ".join(options)

    # openings ----------------------------------------------------------------------------------

    def handshake(self):
        self.segment(True, "S", opts=self.syn_options())
        if self.chance(.1):
            self.segment(True, "S", opts=self.syn_options())
        self.step(True, 1)
        self.segment(False, "SA", opts=self.syn_options())
        self.step(False, 1)
        if self.chance(.9):
            self.segment(True, "A")

    def syn_only(self):
        self.segment(True, "S")
        if self.chance(.5):
            self.segment(False, "RA", seq=0, ack=self.next[True] + 1)
        elif self.chance(.5):
            self.unreachable()

    def midstream(self):
        self.segment(True, self.one(("A", "PA", "FA", "R", "SA")))

    def simultaneous(self):
        self.segment(True, "S")
        self.segment(False, "S")
        self.segment(True, "SA", ack=self.next[False] + 1)
        self.segment(False, "SA", ack=self.next[True] + 1)
        self.step(True, 1)
        self.step(False, 1)

    def split(self):
        self.segment(True, "S")
        self.step(True, 1)
        self.segment(False, "A", ack=self.next[True])
        self.segment(False, "S")
        self.step(False, 1)
        self.segment(True, "SA", seq=self.next[True] - 1)

    # then --------------------------------------------------------------------------------------

    def data(self):
        client = self.chance(.5)
        size = self.one((1, 10, 100, 500, 1400 if self.chance(.2) else 50))
        self.segment(client, self.one(("PA", "A", "PA", "PAU")), data="d" * size)
        if self.chance(.9):
            self.step(client, size)  # else lost, and sent again

    def acknowledge(self):
        client = self.chance(.5)
        opts = ""
        if self.chance(.2):
            left = self.next[not client] + self.random.randint(1, 500)
            opts = f'("sack", {left % 2**32}, {(left + 100) % 2**32})'
        self.segment(client, "A", opts=opts)

    def again(self):
        client = self.chance(.5)
        back = self.random.randint(1, 2000)
        self.segment(client, "PA", seq=self.next[client] - back, data="d" * min(back, 300))

    def outside(self):
        client = self.chance(.5)
        kind = self.random.randrange(4)
        far = self.one((1, 100, 1000, 66000, 2**20, 2**31))
        if kind == 0:
            self.segment(client, "A", seq=self.next[client] + far)
        elif kind == 1:
            self.segment(client, "A", seq=self.next[client] - far)
        elif kind == 2:
            self.segment(client, "A", ack=self.next[not client] + far)
        else:
            self.segment(client, "A", ack=self.next[not client] - far)

    def reset(self):
        client = self.chance(.5)
        distance = self.one((0, 0, 1, -1, 50, 10**6, -10**6))
        self.segment(client, self.one(("R", "RA")), seq=self.next[client] + distance)

    def finish(self):
        client = self.chance(.5)
        self.segment(client, "FA")
        self.step(client, 1)
        if self.chance(.7):
            self.segment(not client, "A")
        if self.chance(.6):
            self.segment(not client, "FA")
            self.step(not client, 1)
            if self.chance(.8):
                self.segment(client, "A")

    def new_syn(self):
        """The tuple again: a challenge, a stale SYN/ACK, or a new connection."""
        client = self.chance(.8)
        self.segment(client, "S", seq=self.next[client] + self.one((100, 10**6, -1)),
                     opts=self.syn_options())
        if self.chance(.5):
            self.segment(not client, "A")
            if self.chance(.6):
                self.segment(client, "R", seq=self.next[client])
        elif self.chance(.5):
            self.segment(not client, "SA", seq=77, ack=self.next[client] + 101)

    def damaged(self):
        self.segment(self.chance(.5), self.one(("", "SF", "SFPU", "A")),
                     extra=self.one((", tsum=0xbad0", ", doff=3", ", urg=7")))

    def keepalive(self):
        client = self.chance(.5)
        self.segment(client, "A", seq=self.next[client] - 1)

    def unreachable(self):
        self.error(self.random.randint(1, len(self.steps)))
