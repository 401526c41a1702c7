#!/usr/bin/python3
"""Small clients and servers that run inside a lab's namespaces.

    serve PORT GREETING              greets, then echoes a line back
    wait ADDRESS PORT SECONDS        until somebody listens there, on this host
    connect ADDRESS PORT [SOURCE [SECONDS]]   prints open, refused, timeout or unreachable, and the seconds
    login ADDRESS PORT SOURCE        reads the greeting, says a line, prints what came back
    hold ADDRESS PORT COUNT          opens COUNT connections, prints how many are open, waits for input
    lookup SERVER NAME               one DNS question for an A record
    udp ADDRESS PORT                 sends a datagram, prints what the error was
    frames INTERFACE                 sends the frames that it reads, a line of hex each
"""

import errno
import socket
import struct
import sys
import time


def serve(port, greeting):
    listener = socket.create_server(("0.0.0.0", int(port)), backlog=64)
    while True:
        client, _ = listener.accept()
        with client:
            client.settimeout(5)
            try:
                client.sendall(greeting.encode() + b"\n")
                line = client.recv(1000)
                client.sendall(b"you said " + line)
            except OSError:
                pass


def wait(address, port, seconds):
    # Looked up, not tried: a server that is met by a stray connection may never recover from it (iperf3 ends
    # its test when the peer goes away before its cookie, at times together with the next one's).
    end = time.monotonic() + float(seconds)
    while not listens(address, int(port)):
        if time.monotonic() > end:
            return 1
        time.sleep(0.05)
    return 0


def listens(address, port):
    """Whether a TCP socket listens on this IPv4 address or on all, as /proc/net/tcp and tcp6 say."""
    own = struct.unpack("=I", socket.inet_aton(address))[0]
    for path, wanted in (("/proc/net/tcp", {f"{own:08X}", "0" * 8}), ("/proc/net/tcp6", {"0" * 32})):
        with open(path, encoding="ascii") as table:
            for line in list(table)[1:]:
                local, state = line.split()[1], line.split()[3]
                if state == "0A" and local.partition(":")[0] in wanted and int(local.partition(":")[2], 16) == port:
                    return True
    return False


def attempt(address, port, source="", seconds="2"):
    """("open", socket) or (what happened, None)"""
    try:
        return "open", socket.create_connection((address, int(port)), float(seconds),
                                                (source, 0) if source else None)
    except TimeoutError:
        return "timeout", None
    except ConnectionRefusedError:
        return "refused", None
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error)), None


def connect(address, port, source="", seconds="2"):
    started = time.monotonic()
    what, client = attempt(address, port, source, seconds)
    print(what, f"{time.monotonic() - started:.2f}")
    if client:
        client.close()
    return 0


def login(address, port, source):
    what, client = attempt(address, port, source)
    if not client:
        print(what)
        return 1
    with client:
        greeting = client.recv(1000).decode().strip()
        client.sendall(b"hello\n")
        print(greeting, "/", client.recv(1000).decode().strip())
    return 0


def hold(address, port, count):
    held = [attempt(address, port, seconds="3") for _ in range(int(count))]
    print(sum(what == "open" for what, _ in held), flush=True)
    sys.stdin.readline()
    return 0


def lookup(server, name):
    question = struct.pack("!HHHHHH", 0x1234, 0x100, 1, 0, 0, 0)
    for label in name.split("."):
        question += bytes([len(label)]) + label.encode()
    question += b"\0" + struct.pack("!HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(3)
        client.connect((server, 53))
        client.send(question)
        answer = client.recv(1500)
    print(socket.inet_ntoa(answer[-4:]))
    return 0


def udp(address, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.connect((address, int(port)))
        try:
            client.send(b"anybody?")
            client.recv(100)
            print("answer")
        except TimeoutError:
            print("timeout")
        except OSError as error:
            print(errno.errorcode[error.errno])
    return 0


def frames(interface):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((interface, 0))
        for line in sys.stdin:
            wire.send(bytes.fromhex(line.strip()))
    return 0


if __name__ == "__main__":
    sys.exit({"serve": serve, "wait": wait, "connect": connect, "login": login, "hold": hold,
              "lookup": lookup, "udp": udp, "frames": frames}[sys.argv[1]](*sys.argv[2:]))
