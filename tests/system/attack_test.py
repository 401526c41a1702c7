#!/usr/bin/python3
"""What an attacker, bad luck and a bad operator do to the daemon; nothing else may suffer.

usage: attack_test.py BUILD_DIR [NAME...]

One lab serves all tests, in order. A sanitizer build of posternd may be given. Root.
"""

import signal
import sys
import time

import attack_operator
import attack_traffic
import lab as labs
import suite
from attack_lab import ATTACKER, RULES4, SILENT, AttackLab, wait_until
from steps import WEB, need



def test_killed_again_and_again(lab):
    for _ in range(2):
        # In the middle of its work.
        flood = lab.spawn("lan1", *ATTACKER, "syn", "eth0", lab.lan_mac(), SILENT, 3000)
        time.sleep(0.3)
        status = lab.stop(signal.SIGKILL)
        need(status == -signal.SIGKILL, status)
        lab.start()
        flood.wait(30)
        wait_until(lambda: lab.on("lan1", "ping", "-c", 1, "-W", 1, WEB).returncode == 0, "no traffic")
    status = lab.stop(signal.SIGTERM)
    need(status == 0, f"exit {status}:\n{lab.log()[-3000:]}")


def prepare(lab):
    labs.run("ip", "-n", lab.name("wan"), "route", "add", "blackhole", SILENT)
    lab.spawn("wan", *ATTACKER, "echo", 7777)
    lab.wait_for("wan", WEB, 7777)


if __name__ == "__main__":
    sys.exit(suite.run("attack", lambda: AttackLab(sys.argv[1], workers=2, rules4=RULES4),
                       [attack_traffic, attack_operator, sys.modules[__name__]], sys.argv[2:], prepare))
