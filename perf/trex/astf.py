"""TRex, ASTF: whole TCP and UDP connections, for RFC 9693's rates (docs/lab.md).

    trex> start -f perf/trex/astf.py -m 1000 -t --kind tcp --request 64 --response 64

--kind: "tcp" (open, request, response, close: the seven packets of postern-bench's set-up), "udp" (a
request and a response), or "mix" (nine in ten TCP). The multiplier is connections a second.
Clients are 198.18.0.0/16 behind the LAN port, servers 198.19.0.0/16 behind the WAN port.
"""

import argparse

from trex.astf.api import (ASTFAssociationRule, ASTFIPGen, ASTFIPGenDist, ASTFIPGenGlobal,
                           ASTFProfile, ASTFProgram, ASTFTCPClientTemplate, ASTFTCPServerTemplate,
                           ASTFTemplate)

PORTS = {"tcp": 8080, "udp": 53}


class Profile:

    @staticmethod
    def programs(kind, request, response):
        client = ASTFProgram(stream=kind == "tcp")
        server = ASTFProgram(stream=kind == "tcp")
        if kind == "tcp":
            client.send("q" * request)
            client.recv(response)
            server.recv(request)
            server.send("a" * response)
        else:
            client.send_msg("q" * request)
            client.recv_msg(1)
            server.recv_msg(1)
            server.send_msg("a" * response)
        return client, server

    def template(self, kind, share, addresses, options):
        client, server = self.programs(kind, options.request, options.response)
        rule = ASTFAssociationRule(port=PORTS[kind])
        return ASTFTemplate(
            client_template=ASTFTCPClientTemplate(program=client, ip_gen=addresses, cps=share,
                                                  port=PORTS[kind]),
            server_template=ASTFTCPServerTemplate(program=server, assoc=rule))

    def get_profile(self, tunables=(), **_):
        parser = argparse.ArgumentParser(prog="astf.py")
        parser.add_argument("--kind", choices=("tcp", "udp", "mix"), default="tcp")
        parser.add_argument("--request", type=int, default=64, help="bytes")
        parser.add_argument("--response", type=int, default=64, help="bytes")
        options = parser.parse_args(tunables)
        shares = {"tcp": {"tcp": 1}, "udp": {"udp": 1}, "mix": {"tcp": 0.9, "udp": 0.1}}
        addresses = ASTFIPGen(
            glob=ASTFIPGenGlobal(ip_offset="0.0.0.0"),
            dist_client=ASTFIPGenDist(ip_range=["198.18.1.0", "198.18.16.255"], distribution="seq"),
            dist_server=ASTFIPGenDist(ip_range=["198.19.1.0", "198.19.4.255"], distribution="seq"))
        return ASTFProfile(
            default_ip_gen=addresses,
            templates=[self.template(kind, share, addresses, options)
                       for kind, share in shares[options.kind].items()])


def register():
    return Profile()
