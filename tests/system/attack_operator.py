"""What comes over the control socket and in rule files."""

import os
import random
import socket
import struct
import subprocess
import threading
import time

import steps
from attack_lab import alive, heard_all, wait_until
from steps import need


# the control socket ----------------------------------------------------------------------------


def frame(kind, payload=b""):
    return struct.pack("<IB", len(payload), kind) + payload


def client(lab):
    out = socket.socket(socket.AF_UNIX)
    out.settimeout(10)
    out.connect(f"{lab.dir}/postern.sock")
    return out


def test_garbage_on_the_control_socket(lab):
    chance = random.Random(3)
    for number in range(300):
        with client(lab) as out:
            try:
                if number % 3 == 0:
                    out.sendall(chance.randbytes(chance.randrange(1, 3000)))
                elif number % 3 == 1:
                    out.sendall(frame(chance.randrange(8), chance.randbytes(chance.randrange(2000))))
                    out.sendall(frame(3))
                else:
                    out.sendall(frame(1, b"status\0" + chance.randbytes(50) + b"\0") + frame(3))
                if number % 2:
                    out.shutdown(socket.SHUT_WR)
                    while out.recv(65536):
                        pass
            except (BrokenPipeError, ConnectionResetError):
                pass
    alive(lab)
    for program in (b"iptables", b"ip6tables", b"iptables-restore", b"conntrack", b"sysctl", b"save", b"reload",
                    b"status", b"iptables-save", b"nonsense"):
        for arguments in ([b""], [b"-"], [b"--"], [b"-t"], [b"\xff\xfe%s%n"], [b"x" * 100000],
                          [b"-A", b"INPUT", b"-j"], [b"-L"] * 2000, [b"--json", b"\xff"]):
            if program == b"reload" and arguments == [b""]:
                continue
            with client(lab) as out:
                try:
                    out.sendall(frame(1, program + b"\0" + b"".join(a + b"\0" for a in arguments)) + frame(3))
                    while out.recv(65536):
                        pass
                except (BrokenPipeError, ConnectionResetError):
                    pass
            alive(lab)
    lab.status()


def test_huge_requests(lab):
    child = lab.talk(6)
    with client(lab) as out:  # a frame that says that it is 4 GB
        out.sendall(struct.pack("<IB", 0xffffffff, 1))
        need(b"malformed" in out.recv(1000), "no refusal")
    with client(lab) as out:  # endless input
        try:
            out.sendall(frame(1, b"iptables-restore\0"))
            piece = frame(2, b"# " + b"x" * 0xffff0 + b"\n")
            for _ in range(400):
                out.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        need(b"longer than" in out.recv(1000), "no refusal")
    heard_all(child)
    alive(lab)
    lab.status()


def test_half_requests_and_readers_that_stop(lab):
    """They hold their own connection and nobody else's: even with as many as fit."""
    held = []
    child = lab.talk(6)
    try:
        for number in range(300):
            out = client(lab)
            held.append(out)
            if number % 3 == 0:
                out.sendall(struct.pack("<IB", 1000, 1) + b"stat")
            elif number % 3 == 1:
                # Reads nothing of an answer.
                out.sendall(frame(1, b"iptables-save\0-c\0") + frame(3))
        started = time.monotonic()
        wait_until(lambda: lab.postern("status", "--json").returncode == 0, "everybody is locked out", 15)
        need(time.monotonic() - started < 15, "slow")
        heard_all(child)
        alive(lab)
    finally:
        for out in held:
            out.close()
    lab.status()


def test_more_clients_than_descriptors(lab):
    """1100 that only connect: the control thread doesn't spin, and answers afterwards."""
    held = []
    child = lab.talk(5)
    try:
        for _ in range(1100):
            out = socket.socket(socket.AF_UNIX)
            out.settimeout(0.2)
            held.append(out)
            try:
                out.connect(f"{lab.dir}/postern.sock")
            except OSError:
                break
        heard_all(child)
    finally:
        for out in held:
            out.close()
    wait_until(lambda: lab.postern("status", "--json").returncode == 0, "locked out")
    alive(lab)


def test_twenty_clients_at_once(lab):
    child = lab.talk(5)
    failures = []

    def work(number):
        commands = (("status", "--json"), ("conntrack", "-L"), ("iptables-save", "-c"), ("iptables", "-L", "-n", "-v"))
        for _ in range(5):
            done = lab.postern(*commands[number % 4])
            if done.returncode != 0:
                failures.append(done.stdout + done.stderr)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    need(not failures, f"{len(failures)} failed: {failures[:2]}")
    heard_all(child)
    alive(lab)


def test_a_client_killed(lab):
    for _ in range(20):
        killed = subprocess.Popen(
            lab.command("appliance", lab.build / "app/postern", "--socket", f"{lab.dir}/postern.sock",
                        "iptables-restore"), stdin=subprocess.PIPE)
        killed.stdin.write(b"*filter\n:INPUT DROP [0:0]\n")
        killed.stdin.flush()
        time.sleep(0.02)
        killed.kill()
        killed.wait()
        killed.stdin.close()
    alive(lab)
    steps.web_out(lab)


# rule files ------------------------------------------------------------------------------------


def check(lab, text, seconds):
    """`posternd --check` with these rules: (exit status, output); in time."""
    (lab.dir / "attack.v4").write_bytes(text)
    conf = lab.dir / "attack.conf"
    conf.write_text(lab.conf.read_text().replace("rules.v4", "attack.v4"))
    started = time.monotonic()
    done = subprocess.run([lab.build / "app/posternd", "-c", conf, "--check"], capture_output=True, check=False,
                          timeout=120)
    took = time.monotonic() - started
    need(took < seconds * float(os.environ.get("SLOW", "1")), f"{took:.1f} s")
    return done.returncode, done.stdout + done.stderr


def test_random_rule_files(lab):
    chance = random.Random(5)
    for size in (1, 100, 10000, 1000000):
        status, said = check(lab, chance.randbytes(size), 10)
        need(status == 1 and b"attack.v4:" in said, f"{size}: {status} {said[:300]}")
        need(len(said) < 100000, f"{len(said)} bytes of errors")


def test_a_rule_file_of_100_megabytes(lab):
    for name, text in (("comments", b"# nothing\n" * 10_000_000), ("one line", b"x" * 100_000_000),
                       ("zeros", bytes(100_000_000))):
        status, said = check(lab, text, 10)
        need(status == (0 if name == "comments" else 1), f"{name}: {status} {said[:300]}")
        need(len(said) < 100000, f"{name}: {len(said)} bytes of errors")
    # Every error is told, however many there are.
    status, said = check(lab, b"*filter\n" + b"-A NOWHERE -j DROP\n" * 200_000, 10)
    need(status == 1 and said.count(b"\n") >= 200_000, f"{status}, {said.count(chr(10).encode())} errors")


def test_ten_thousand_rules(lab):
    lines = ["*filter", ":INPUT ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]"]
    lines += [f"-A FORWARD -s 10.{i >> 8}.{i & 255}.0/24 -p tcp -m tcp --dport {1 + i} -j DROP"
              for i in range(10000)]
    status, said = check(lab, "\n".join(lines + ["COMMIT", ""]).encode(), 2)
    need(status == 0, said)
    before = lab.postern("iptables-save").stdout
    child = lab.talk(6)
    started = time.monotonic()
    done = lab.postern("iptables-restore", input="\n".join(lines + ["COMMIT", ""]))
    took = time.monotonic() - started
    need(done.returncode == 0, done.stderr)
    need(took < 2 * float(os.environ.get("SLOW", "1")), f"{took:.1f} s")
    lab.postern("iptables-restore", input=before, check=True)
    heard_all(child)
    steps.web_out(lab)
