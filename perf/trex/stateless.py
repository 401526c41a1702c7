"""TRex, stateless: UDP of known connections, both ways, for RFC 2544 trials (docs/lab.md).

    trex> start -f perf/trex/stateless.py -m 10mpps -p 0 1 -t --flows 16000 --size 64 --nat

Port 0 is on the appliance's LAN side, port 1 on its WAN side. The connections are those of
perf/compare's captures in another order: clients 198.18.0.0/16, servers 198.19.1.0 and up, port 53.
They have to be opened before a trial: a second at a low rate, the learning phase.
"""

import argparse

from trex.stl.api import (Ether, IP, STLFlowLatencyStats, STLPktBuilder, STLProfile, STLScVmRaw,
                          STLStream, STLTXCont, STLVmFixChecksumHw, STLVmFlowVar, STLVmWrFlowVar,
                          CTRexVmInsFixHwCs, UDP)

SERVERS = 1024
FIRST_PORT = 2048
# Simple IMIX (RFC 6985): length with FCS, share.
IMIX = ((64, 7), (594, 4), (1518, 1))
FCS = 4
LATENCY_PPS = 1000


class Profile:

    @staticmethod
    def program(from_lan):
        """Walks over all connections: a server and a client's port are one flow, as in
        perf/peers/captures.py."""
        def build(flows):
            ports = max((flows + SERVERS - 1) // SERVERS, 1)
            servers = min(flows, SERVERS)
            server, port = ("IP.dst", "UDP.sport") if from_lan else ("IP.src", "UDP.dport")
            return STLScVmRaw([
                STLVmFlowVar(name="server", min_value="198.19.1.0",
                             max_value=f"198.19.{1 + (servers - 1) // 256}.{(servers - 1) % 256}",
                             size=4, op="inc", next_var="port"),
                STLVmFlowVar(name="port", min_value=FIRST_PORT, max_value=FIRST_PORT + ports - 1,
                             size=2, op="inc"),
                STLVmWrFlowVar(fv_name="server", pkt_offset=server),
                STLVmWrFlowVar(fv_name="port", pkt_offset=port),
                STLVmFixChecksumHw(l3_offset="IP", l4_offset="UDP",
                                   l4_type=CTRexVmInsFixHwCs.L4_TYPE_UDP),
            ])
        return build

    def stream(self, from_lan, options, size, share, latency=False):
        client = "198.18.1.1"
        outside = options.wan_address if options.nat and not from_lan else client
        source, destination = (client, "198.19.1.0") if from_lan else ("198.19.1.0", outside)
        ports = (FIRST_PORT, 53) if from_lan else (53, FIRST_PORT)
        head = Ether() / IP(src=source, dst=destination) / UDP(sport=ports[0], dport=ports[1])
        packet = STLPktBuilder(pkt=head / ("\0" * max(size - FCS - len(head), 16)),
                               vm=self.program(from_lan)(options.flows))
        if latency:
            return STLStream(packet=packet, mode=STLTXCont(pps=LATENCY_PPS),
                             flow_stats=STLFlowLatencyStats(pg_id=1 if from_lan else 2))
        return STLStream(packet=packet, mode=STLTXCont(pps=share))

    def get_streams(self, direction=0, tunables=(), **_):
        parser = argparse.ArgumentParser(prog="stateless.py")
        parser.add_argument("--flows", type=int, default=16000)
        parser.add_argument("--size", default="64", help="a frame with FCS, or imix")
        parser.add_argument("--nat", action="store_true", help="servers answer to --wan-address")
        parser.add_argument("--wan-address", default="203.0.113.2")
        parser.add_argument("--latency", action="store_true",
                            help=f"{LATENCY_PPS} packets a second more, which are timed")
        options = parser.parse_args(tunables)
        sizes = IMIX if options.size == "imix" else ((int(options.size), 1),)
        from_lan = direction % 2 == 0
        streams = [self.stream(from_lan, options, size, share) for size, share in sizes]
        if options.latency:
            streams.append(self.stream(from_lan, options, sizes[0][0], 1, latency=True))
        return STLProfile(streams).get_streams()


def register():
    return Profile()
