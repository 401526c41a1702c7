#!/usr/bin/python3
"""What an attacker does inside a lab's namespace, with a raw socket.

    frames INTERFACE MAC SEED COUNT     truncated, mutated and random frames of every length
    syn INTERFACE MAC ADDRESS COUNT     SYNs from addresses and ports that never answer
    udp INTERFACE MAC ADDRESS COUNT     datagrams likewise
    bind ADDRESS COUNT                  a datagram from each of COUNT source ports, one at a time
    talk ADDRESS PORT SECONDS           a connection that says something all the time; prints what came
                                        back, of how much, and the longest wait in seconds
    echo PORT                           the other side of `talk`

MAC is the appliance's. Deterministic for a seed.
"""

import random
import socket
import struct
import sys
import time

US4, US6 = "192.168.1.1", "2001:db8:2::1"
HOST4, HOST6 = "192.168.1.66", "2001:db8:2::66"
FAR4, FAR6 = "198.51.100.7", "2001:db8:ffff::7"


def sum16(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ipv4(source, destination, protocol, payload, ttl=64, flags=0, options=b""):
    words = 5 + len(options) // 4
    head = struct.pack("!BBHHHBBH4s4s", 0x40 | words, 0, words * 4 + len(payload), 7, flags, ttl, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(destination)) + options
    return head[:10] + struct.pack("!H", sum16(head)) + head[12:] + payload


def ipv6(source, destination, protocol, payload, hops=64):
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, hops) + \
        socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination) + payload


def transport(source, destination, protocol, segment, at):
    """The segment with its checksum, which stands at `at`."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    pseudo = socket.inet_pton(family, source) + socket.inet_pton(family, destination) + \
        struct.pack("!IBBBB", len(segment), 0, 0, 0, protocol)
    value = sum16(pseudo + segment) or 0xffff
    return segment[:at] + struct.pack("!H", value) + segment[at + 2:]


def tcp(source, destination, sport, dport, flags=2):
    segment = struct.pack("!HHIIBBHHH", sport, dport, 1, 0, 0x50, flags, 65535, 0, 0)
    return transport(source, destination, 6, segment, 16)


def datagram(source, destination, sport, dport, data=b"x" * 40):
    segment = struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data
    return transport(source, destination, 17, segment, 6)


def samples():
    """(ethertype, packet) of every kind."""
    for source, target in ((HOST4, US4), (HOST4, FAR4), (FAR4, HOST4)):
        request = struct.pack("!BBHHH", 8, 0, 0, 7, 1) + b"p" * 56
        for number, body in ((6, tcp(source, target, 4000, 80)), (17, datagram(source, target, 4000, 53)),
                             (1, request[:2] + struct.pack("!H", sum16(request)) + request[4:]),
                             (132, b"\x9c\x40\x0b\x59" + bytes(28)), (47, b"\x30\x81\x88\x0b" + bytes(12)),
                             (50, bytes(40)), (51, bytes(40)), (2, bytes(8))):
            yield 0x800, ipv4(source, target, number, body)
            yield 0x800, ipv4(source, target, number, body, flags=0x2000)
            yield 0x800, ipv4(source, target, number, body, flags=4)
            yield 0x800, ipv4(source, target, number, body, options=b"\x07\x07\x04\0\0\0\0\0")
            quoted = struct.pack("!BBHI", 3, 4, 0, 1400) + ipv4(target, source, number, body)
            yield 0x800, ipv4("198.51.100.1", source, 1,
                              quoted[:2] + struct.pack("!H", sum16(quoted)) + quoted[4:])
    for source, target in ((HOST6, US6), (HOST6, FAR6)):
        for number, body in ((6, tcp(source, target, 4000, 80)), (17, datagram(source, target, 4000, 53)),
                             (58, transport(source, target, 58, b"\x80\0\0\0\0\7\0\1" + b"p" * 8, 2)),
                             (0, b"\x3a\0\1\4\0\0\0\0" + bytes(8)), (43, b"\x11\2\0\1" + bytes(28)),
                             (44, b"\x11\0\0\1\0\0\0\7" + bytes(24)), (60, b"\x3c\0\1\4\0\0\0\0" * 30)):
            yield 0x86dd, ipv6(source, target, number, body)
    solicit = b"\x87\0\0\0\0\0\0\0" + socket.inet_pton(socket.AF_INET6, US6) + b"\1\1\2\0\0\0\0\x0a"
    yield 0x86dd, ipv6(HOST6, US6, 58, transport(HOST6, US6, 58, solicit, 2), hops=255)
    yield 0x806, struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, b"\2\0\0\0\0\x0a",
                             socket.inet_aton(HOST4), bytes(6), socket.inet_aton(US4))
    yield 0x8100, b"\0\5\x08\0" + bytes(60)
    yield 0x88cc, bytes(46)


def mutate(chance, packet):
    changed = bytearray(packet)
    for _ in range(chance.randrange(1, 5)):
        changed[chance.randrange(len(changed))] = chance.choice((0, 1, 0x45, 0x4f, 0x60, 0x7f, 0x80, 0xff,
                                                                 chance.randrange(256)))
    if len(changed) >= 20 and changed[0] >> 4 == 4 and chance.random() < 0.7:
        # Otherwise nearly everything would die of the header's checksum.
        changed[10:12] = b"\0\0"
        words = min(max(changed[0] & 15, 5) * 4, len(changed))
        changed[10:12] = struct.pack("!H", sum16(bytes(changed[:words])))
    return bytes(changed)


def raw(interface):
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    out.bind((interface, 0))
    return out


def send(out, frame):
    while True:
        try:
            out.send(frame)
            return
        except OSError as error:
            if error.errno != 105:  # ENOBUFS: the veth is faster than the appliance
                raise
            time.sleep(0.001)


def frames(interface, mac, seed, count):
    chance = random.Random(int(seed))
    link = bytes.fromhex(mac.replace(":", "")) + b"\2\0\0\0\0\x0a"
    kinds = list(samples())
    out = raw(interface)
    sent = 0
    # Every sample cut at every length, with a length field that fits and with the one that it had.
    for kind, packet in kinds:
        for length in range(len(packet)):
            send(out, link + struct.pack("!H", kind) + packet[:length])
            sent += 1
            if sent % 64 == 0:
                time.sleep(0.0005)
    for number in range(int(count)):
        kind, packet = chance.choice(kinds)
        if number % 4 == 0:
            packet = chance.randbytes(number // 4 % 1501)
        elif packet:
            packet = mutate(chance, packet)
        send(out, link + struct.pack("!H", kind) + packet[:1500])
        sent += 1
        if sent % 64 == 0:
            time.sleep(0.0005)
    print(sent)
    return 0


def flood(interface, mac, address, count, make, protocol):
    out = raw(interface)
    link = bytes.fromhex(mac.replace(":", "")) + b"\2\0\0\0\0\x0a\x08\0"
    for number in range(int(count)):
        source = f"192.168.1.{100 + number % 100}"
        body = make(source, address, 1024 + number // 100 % 60000, 7000 + number % 7)
        send(out, link + ipv4(source, address, protocol, body))
        if number % 32 == 0:
            time.sleep(0.001)
    return 0


def bind(address, count):
    for number in range(int(count)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.bind(("0.0.0.0", 20000 + number))
            out.sendto(b"hello", (address, 9))
        time.sleep(0.005)
    return 0


def talk(address, port, seconds):
    said = heard = 0
    longest = 0.0
    with socket.create_connection((address, int(port)), 5) as peer:
        peer.settimeout(5)
        print("open", flush=True)
        end = time.monotonic() + float(seconds)
        while time.monotonic() < end:
            started = time.monotonic()
            peer.sendall(b"%8d" % said)
            said += 1
            try:
                heard += peer.recv(8, socket.MSG_WAITALL) == b"%8d" % (said - 1)
            except OSError:
                break
            longest = max(longest, time.monotonic() - started)
            time.sleep(0.02)
    print(heard, said, f"{longest:.2f}")
    return 0


def echo(port):
    listener = socket.create_server(("0.0.0.0", int(port)), backlog=16)
    while True:
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(20)
            try:
                while data := peer.recv(8):
                    peer.sendall(data)
            except OSError:
                pass


if __name__ == "__main__":
    sys.exit({"frames": frames, "bind": bind, "talk": talk, "echo": echo,
              "syn": lambda *a: flood(*a, tcp, 6),
              "udp": lambda *a: flood(*a, datagram, 17)}[sys.argv[1]](*sys.argv[2:]))
