"""The tutorials' two appliances, typed on at once, and what of their screens may differ."""

import concurrent.futures
import re
import time

import twins

WEB = "http://198.51.100.7/"


class Differs(Exception):
    """A screen or what traffic met; the message shows both."""


def plain(text):
    """Without versions, dates and columns' widths that depend on them."""
    text = re.sub(r"\((nf_tables|postern)\)", "(…)", text)
    return re.sub(r"(?m)^(# (?:Generated|Completed).*) on .*$", r"\1", text)


def no_counters(text):
    """Zero or not, for rows that count every packet of a connection; exact elsewhere.

    How many packets a TCP connection takes depends on the two stacks' timing; how many first packets
    there were doesn't."""
    lines = []
    for line in plain(text).splitlines():
        if re.match(r"Chain \S+ \(policy", line):
            line = re.sub(r"[\d.]+[KMG]? packets, [\d.]+[KMG]? bytes", "N packets, N bytes", line)
        elif re.search(r" 58 ", line):  # neighbours are looked for when the stack feels like it
            line = re.sub(r"^( *\d+)? +\S+ +\S+ (?=\w)", lambda m: f"{m[1] or ''} N ", line)
        elif re.search(r"ESTABLISHED|192\.168\.1\.0/24| lo ", line):
            line = re.sub(r"^( *\d+)?( +)([\d.]+[KMG]?) +([\d.]+[KMG]?) (?=\w)",
                          lambda m: f"{m[1] or ''} {'some' if m[3] != '0' else 'none'} ", line)
        lines.append(re.sub(r" +", " ", line))
    return "\n".join(lines)


def no_saved_counters(text):
    return re.sub(r"\[\d+:\d+\]", "[N:N]", plain(text))


def connections(text):
    """As a set: without timeouts and the clients' ports."""
    text = re.sub(r"\b(sport|dport)=(\d{5})\b", r"\1=P", text)
    text = re.sub(r"(?m)^(\S+ +\d+) \d+ ", r"\1 T ", text)
    text = re.sub(r"(?m)^(\S+ +\d+ \S+ +\d+) \d+ ", r"\1 T ", text)
    text = re.sub(r"(\bid)=\d+", r"\1=I", text)
    return "\n".join(sorted(set(text.splitlines())))


def events(text):
    """As a set: without the states that two FINs and their ACKs pass in one order or another, and
    without the ends of earlier connections, which nobody hurries to see."""
    lines = [line for line in connections(re.sub(r"(?m)^( *\[\w+\] )", r"\1", text)).splitlines()
             if not re.search("CLOSE_WAIT|LAST_ACK|DESTROY|flow events", line)]
    return "\n".join(sorted({re.sub(r"(\] \w+ +\d+) \d+ ", r"\1 T ", line) for line in lines}))


def statistics(text):
    """The names of the columns: the kernel has a line a CPU, Postern one a worker."""
    return " ".join(re.findall(r"([a-z_]+)=\d+", text.splitlines()[0]))


class Pair:
    """Both appliances."""

    def __init__(self, build, workers):
        self.postern, self.kernel = twins.PosternTwin(build, workers), twins.KernelTwin(build)

    def __enter__(self):
        try:
            for twin in (self.postern, self.kernel):
                twin.make_network()
                twin.begin()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.postern.close()
        self.kernel.close()

    def typed(self, line, normal=plain, error=plain):
        """Types it on both and compares; Postern's standard output."""
        ours, theirs = (twin.typed(line) for twin in (self.postern, self.kernel))
        for what, a, b in (("status", ours.returncode, theirs.returncode),
                           ("output", normal(ours.stdout), normal(theirs.stdout)),
                           ("standard error", error(ours.stderr), error(theirs.stderr))):
            if a != b:
                raise Differs(f"{line}\n{what} of Postern:\n{a}\nof the kernel:\n{b}")
        return ours.stdout

    def overheard(self, line, act, normal):
        """Types a line that listens on both, lets something happen and compares what was heard."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            heard = [pool.submit(twin.typed, f"timeout -s INT 8 {line}")
                     for twin in (self.postern, self.kernel)]
            time.sleep(3)  # until both listen
            for twin in (self.postern, self.kernel):
                act(twin)
            ours, theirs = (normal(future.result().stdout) for future in heard)
        if ours != theirs or not ours:
            raise Differs(f"{line}\nby Postern:\n{ours}\nby the kernel:\n{theirs}")

    def script(self, text):
        for line in text.strip().splitlines():
            self.typed(line.strip())

    def first_namespace_only(self, name, value):
        """A name that the kernel lets only the machine's first namespace set."""
        done = self.postern.typed(f"sysctl {name}={value}")
        if (done.returncode, done.stdout, done.stderr) != (0, f"{name} = {value}\n", ""):
            raise Differs(f"sysctl {name}={value}: {done}")

    def traffic(self, expected, act):
        """What a client meets, on both."""
        met = [act(self.postern), act(self.kernel)]
        if met != [expected, expected]:
            raise Differs(f"expected {expected}, with Postern {met[0]}, with the kernel {met[1]}")

    def files(self, name, text):
        for twin in (self.postern, self.kernel):
            (twin.dir / "etc" / name).write_text(text)
