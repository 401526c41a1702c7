#!/usr/bin/python3
"""What the comparison takes for the same, and what it doesn't: roles.py, without a kernel."""

import unittest

import results
import roles
import wire

WEB, WAN, HOP, LAN = "198.51.100.7", "203.0.113.2", "198.51.100.1", "192.168.1.10"
WEB6, WAN6, HOP6 = "2001:db8:ffff::7", "2001:db8:1::2", "2001:db8:ffff::1"


def udp(src, dst, sport, dport, data=b"data"):
    return wire.ip(src, dst, wire.UDP, wire.udp_datagram(src, dst, sport, dport, data))


def sctp(src, dst, sport, dport):
    return wire.ip(src, dst, wire.SCTP, wire.sctp_packet(sport, dport, 7, ["COOKIE_ECHO"]))


def error(src, dst, quoted):
    kind, proto = (3, wire.ICMP) if "." in src else (1, wire.ICMP6)
    return wire.ip(src, dst, proto, wire.icmp_message(src, dst, kind, 0, b"\0\0\0\0", quoted))


PORTS = roles.Choices({(40001, 40000)}, set())
SOURCES = roles.Choices(set(), {(wire.address("203.0.113.9"), wire.address("203.0.113.8")),
                                (wire.address("2001:db8:1::9"), wire.address("2001:db8:1::8"))})


def side(sent, out):
    result = results.Result(1)
    result.sent, result.out = [("wan0", sent)], [[("lan0", out)]]
    return result


class Roles(unittest.TestCase):
    def same(self, make, choices, ours, theirs):
        self.assertNotEqual(make(ours), make(theirs))
        self.assertEqual(roles.align(make(ours), make(theirs), choices), make(theirs))

    def test_ports_in_quotes_of_quotes(self):
        for web, wan, hop in ((WEB, WAN, HOP), (WEB6, WAN6, HOP6)):
            for make in (udp, sctp):
                def quote(port, make=make, web=web, wan=wan):
                    return make(wan, web, port, 53)
                self.same(quote, PORTS, 40001, 40000)
                self.same(lambda p: error(hop, wan, quote(p)), PORTS, 40001, 40000)
                self.same(lambda p: error(web, hop, error(hop, wan, quote(p))), PORTS, 40001, 40000)

    def test_quotes_that_end_early(self):
        # Of the transport: UDP's header, both ports, one port; of SCTP its checksum but not its data.
        for make, lengths in ((udp, (28, 24, 22)), (sctp, (32, 28))):
            for length in lengths:
                self.same(lambda p: error(HOP, WAN, make(WAN, WEB, p, 53)[:length]), PORTS, 40001, 40000)

    def test_a_quoted_udp_packet_without_a_sum(self):
        self.same(lambda p: error(HOP, WAN, wire.ip(WAN, WEB, wire.UDP, wire.udp_datagram(
            WAN, WEB, p, 53, b"x", sum=0))), PORTS, 40001, 40000)

    def test_addresses_of_a_range(self):
        for web, hop, ours, theirs in ((WEB, HOP, "203.0.113.9", "203.0.113.8"),
                                       (WEB6, HOP6, "2001:db8:1::9", "2001:db8:1::8")):
            self.same(lambda a: udp(a, web, 40000, 53), SOURCES, ours, theirs)
            self.same(lambda a: error(hop, a, udp(a, web, 40000, 53)), SOURCES, ours, theirs)

    def test_what_nobody_chose_stays_different(self):
        for make in (lambda p: udp(WAN, WEB, p, 53), lambda p: error(HOP, WAN, udp(WAN, WEB, p, 53))):
            self.assertNotEqual(roles.align(make(40002), make(40000), PORTS), make(40000))
        # The port is right and a checksum isn't.
        wrong = bytearray(error(HOP, WAN, udp(WAN, WEB, 40001, 53)))
        wrong[22] ^= 1
        theirs = error(HOP, WAN, udp(WAN, WEB, 40000, 53))
        self.assertNotEqual(roles.align(bytes(wrong), theirs, PORTS), theirs)

    def test_what_goes_through_as_it_was_sent(self):
        # A later fragment is quoted: its data isn't read by anybody.
        def piece(port):
            return wire.ip(WAN, WEB, wire.UDP, udp(WAN, WEB, port, 53)[20:], offset=8)

        sent = {p: error(HOP, WAN, piece(p)) for p in (40000, 40001)}
        out = {p: error(HOP, LAN, piece(p)) for p in sent}
        nothing = roles.Choices(set(), set())
        self.assertEqual(roles.align(out[40001], out[40000], nothing, sent[40001], sent[40000]), out[40000])
        # An error about it quotes it.
        out = {p: error(WAN, HOP, sent[p]) for p in sent}
        self.assertEqual(roles.align(out[40001], out[40000], nothing, sent[40001], sent[40000]), out[40000])

    def test_a_quote_that_one_side_does_not_translate_back(self):
        def scenario_of(port, back):
            return error(HOP, WAN, udp(WAN, WEB, port, 53)), error(HOP, LAN, udp(LAN, WEB, back, 53))

        class Step:
            port, expression, depends = "wan0", "", False

        class Scenario:
            steps = [Step]

        right, other = side(*scenario_of(40000, 5000)), side(*scenario_of(40001, 5000))
        self.assertEqual(results.compare(Scenario, right, other, True), [])
        self.assertTrue(results.compare(Scenario, right, side(*scenario_of(40001, 40001)), True))

    def test_ports_of_what_came_out_are_chosen(self):
        ours, theirs = (side(b"", udp(WAN, WEB, p, 53)) for p in (40001, 40000))
        self.assertEqual(results.what_each_chose(theirs, ours).ports, {(40001, 40000)})
        quotes = [side(b"", error(HOP, WAN, udp(WAN, WEB, p, 53))) for p in (40001, 40000)]
        self.assertEqual(results.what_each_chose(quotes[1], quotes[0]).ports, set())
        ours, theirs = (side(b"", udp(f"203.0.113.{n}", WEB, 5000, 53)) for n in (9, 8))
        self.assertEqual(results.what_each_chose(theirs, ours).addresses, set())
        ranges = [(wire.address("203.0.113.4"), wire.address("203.0.113.9"))]
        self.assertEqual(len(results.what_each_chose(theirs, ours, ranges).addresses), 1)


if __name__ == "__main__":
    unittest.main()
