#!/usr/bin/python3
"""The manual pages are clean and name everything that the programs know; completion offers it.

usage: manual_test.py BUILD_DIR
"""

import pathlib
import re
import shutil
import subprocess
import sys
import unittest

import tree

BUILD = pathlib.Path(sys.argv.pop(1)).resolve()
MAN = tree.ROOT / "packaging/man"
PAGES = ("postern.8", "postern.conf.5", "postern-replay.8", "posternd.8")
READS = re.compile(
    r"(?:reader|root)(?:->|\.)(?:Group|List|Text|Texts|Number|Numbers|Boolean|Choice|Find|Missing)"
    r"\(\"(\w+)\"")


def said(*command, text=""):
    done = subprocess.run(command, capture_output=True, text=True, input=text, check=False, timeout=30)
    return done.stdout


def plain(page):
    """The page as somebody reads it."""
    text = said("mandoc", "-Tutf8", "-O", "width=200", str(MAN / page))
    text = re.sub(".\b", "", text)
    return text.replace("−", "-").replace("‐", "-").replace("‑", "-")


def options(help_text):
    return sorted(set(re.findall(r"(?m)^  (?:-\w(?: \[ | \[))?(--[a-z-]+)", help_text)))


def commands():
    lines = said(str(BUILD / "app/postern"), "--help").split("Commands:\n")[1].split("\n\n")[0]
    return [line.split()[0] for line in lines.splitlines()]


def complete(*words):
    """What bash offers for the last of the words."""
    script = (f"source {tree.ROOT}/packaging/completions/postern\n"
              "COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _postern; printf '%s\\n' \"${COMPREPLY[@]}\"")
    return said("bash", "--norc", "-c", script, "bash", str(BUILD / "app/postern"), *words).split()


class Manual(unittest.TestCase):

    def setUp(self):
        if not shutil.which("mandoc"):
            self.fail("mandoc isn't installed (scripts/setup)")

    def test_pages_are_clean(self):
        for page in PAGES:
            done = subprocess.run(["mandoc", "-Tlint", "-W", "warning", str(MAN / page)],
                                  capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stdout), (0, ""), page)

    def test_every_setting_is_in_its_page(self):
        text = plain("postern.conf.5")
        keys = set()
        for path in tree.files("config.cc", "config_network.cc", "config_ports.cc"):
            keys |= set(READS.findall((tree.ROOT / path).read_text()))
        self.assertGreater(len(keys), 30)
        missing = [key for key in sorted(keys) if not re.search(rf"\b{key}\b", text)]
        self.assertEqual(missing, [])

    def test_every_command_is_in_its_page(self):
        text = plain("postern.8")
        self.assertGreater(len(commands()), 12)
        self.assertEqual([c for c in commands() if not re.search(rf"\b{c}\b", text)], [])

    def test_every_option_is_in_its_page(self):
        tool, daemon = str(BUILD / "app/postern"), str(BUILD / "app/posternd")
        for page, text in (("posternd.8", said(daemon, "--help")),
                           ("postern-replay.8", said(tool, "replay", "--help")),
                           ("postern.8", said(tool, "--help"))):
            known = options(text)
            self.assertGreater(len(known), 2, f"{page}: {known}")
            shown = plain(page)
            self.assertEqual([o for o in known if not re.search(rf"{o}\b", shown)], [], page)

    def test_every_link_is_in_its_page(self):
        text = plain("postern.8")
        for link in (BUILD / "libexec/postern").iterdir():
            self.assertRegex(text, rf"\b{link.name}\b")

    def test_commands_have_help(self):
        for command in commands():
            if command in ("status", "reload", "save", "env", "check", "replay", "sysctl", "ipset"):
                done = subprocess.run([str(BUILD / "app/postern"), command, "--help"],
                                      capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, f"{command}: {done.stderr}")
                self.assertIn("Usage:", done.stdout, command)

    def test_a_mistyped_command_suggests_the_nearest(self):
        for typed, meant in (("iptabels", "iptables"), ("contrack", "conntrack"), ("stauts", "status"),
                             ("sysctrl", "sysctl"), ("reaply", "replay")):
            done = subprocess.run([str(BUILD / "app/postern"), typed], capture_output=True, text=True,
                                  check=False)
            self.assertEqual(done.returncode, 2)
            self.assertIn(f"did you mean '{meant}'?", done.stderr)


class Completion(unittest.TestCase):

    def test_offers_commands(self):
        self.assertEqual(set(complete("")), set(commands()) | {"--socket", "--version", "--help"})
        self.assertEqual(complete("conn"), ["conntrack"])
        self.assertEqual(complete("--socket", "x", "relo"), ["reload"])

    def test_offers_what_a_command_takes(self):
        self.assertEqual(complete("iptables", "-t", "m"), ["mangle"])
        self.assertEqual(complete("iptables", "-t", "raw", "-A", "P"), ["PREROUTING"])
        self.assertEqual(complete("ip6tables", "-A", "INPUT", "-j", "REJ"), ["REJECT"])
        self.assertEqual(complete("iptables", "-A", "INPUT", "-m", "connl"), ["connlimit"])
        self.assertEqual(complete("status", "-"), ["--json"])
        self.assertEqual(complete("conntrack", "-L", "-o", "ext"), ["extended"])
        self.assertEqual(complete("sysctl", "net.netfilter.nf_conntrack_tcp_l"),
                         ["net.netfilter.nf_conntrack_tcp_loose"])

    def test_offers_every_option_of_replay(self):
        known = options(said(str(BUILD / "app/postern"), "replay", "--help"))
        self.assertEqual([o for o in known if o not in complete("replay", "--")], [])


if __name__ == "__main__":
    unittest.main()
