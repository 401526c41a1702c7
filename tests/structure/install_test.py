#!/usr/bin/python3
"""`meson install` below another root: everything is there, and what is there works from there.

usage: install_test.py BUILD_DIR
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

BUILD = pathlib.Path(sys.argv.pop(1)).resolve()
LINKS = ("conntrack", "ip6tables", "ip6tables-restore", "ip6tables-save", "ipset", "iptables",
         "iptables-restore", "iptables-save", "netfilter-persistent", "sysctl")
# Below the prefix; sysconfdir is /etc for a prefix of /usr.
FILES = ("sbin/posternd", "bin/postern", "libexec/postern-offline",
         "share/man/man8/posternd.8", "share/man/man8/postern.8", "share/man/man8/postern-replay.8",
         "share/man/man5/postern.conf.5", "share/bash-completion/completions/postern",
         "lib/systemd/system/postern.service", "lib/sysusers.d/postern.conf",
         "share/doc/postern/operations.md", "share/doc/postern/LICENSE",
         "share/doc/postern/examples/edge.conf", "share/doc/postern/examples/edge.rules.v4",
         "share/doc/postern/examples/edge.rules.v6")


def option(name):
    options = subprocess.run(["meson", "introspect", "--buildoptions", str(BUILD)], check=True,
                             capture_output=True, text=True).stdout
    return next(o["value"] for o in json.loads(options) if o["name"] == name)


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          check=False, timeout=60, **options)


class InstalledTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="postern-install-")
        cls.root = pathlib.Path(cls.scratch.name) / "root"
        done = run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", cls.root)
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)
        prefix = option("prefix").lstrip("/")
        cls.prefix = cls.root / prefix
        cls.etc = cls.root / pathlib.Path("/", prefix, option("sysconfdir")).relative_to("/")

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def test_everything_is_there(self):
        for name in FILES:
            self.assertTrue((self.prefix / name).is_file(), name)
        self.assertTrue((self.etc / "logrotate.d/postern").is_file())
        self.assertTrue((self.etc / "postern").is_dir())
        self.assertEqual((self.etc / "postern").stat().st_mode & 0o777, 0o750)

    def test_links_lead_to_the_tool(self):
        folder = self.prefix / "libexec/postern"
        self.assertEqual(sorted(p.name for p in folder.iterdir()), sorted(LINKS))
        for name in LINKS:
            self.assertEqual((folder / name).resolve(), (self.prefix / "bin/postern").resolve())

    def test_the_programs_run(self):
        for program in ("sbin/posternd", "bin/postern"):
            done = run(self.prefix / program, "--version")
            self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
            self.assertIn("postern", done.stdout)

    def test_the_example_is_valid_for_both_programs(self):
        example = self.prefix / "share/doc/postern/examples/edge.conf"
        done = run(self.prefix / "sbin/posternd", "-c", example, "--check")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        done = run(self.prefix / "bin/postern", "check", "-c", example)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_replay_finds_its_program(self):
        # It is asked for something that only postern-offline can refuse.
        done = run(self.prefix / "bin/postern", "replay", "-c", "/nowhere/postern.conf",
                   "--in", "lan0=/nowhere/in.pcap", "--out", self.scratch.name)
        self.assertNotIn("can't be run", done.stderr)
        self.assertIn("/nowhere/postern.conf:1: can't be read", done.stdout + done.stderr)

    def test_env_puts_the_links_first(self):
        done = run("/bin/sh", "-c", f"eval \"$({self.prefix}/bin/postern env)\"; command -v iptables")
        self.assertEqual(done.stdout.strip(), f"{self.prefix}/libexec/postern/iptables")

    def test_the_service_names_what_is_installed(self):
        text = (self.prefix / "lib/systemd/system/postern.service").read_text()
        self.assertNotIn("@", text.replace("@system-service", ""))
        self.assertIn(f"ExecStart={option('prefix')}/{option('sbindir')}/posternd -c ", text)

    def test_systemd_takes_the_service(self):
        if shutil.which("systemd-analyze") is None:
            self.skipTest("no systemd-analyze here")
        text = (self.prefix / "lib/systemd/system/postern.service").read_text()
        program = f"{option('prefix')}/{option('sbindir')}/posternd"
        unit = pathlib.Path(self.scratch.name) / "postern.service"
        unit.write_text(text.replace(program, str(self.prefix / "sbin/posternd")))
        done = run("systemd-analyze", "verify", "--man=no", unit,
                   env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"})
        said = [line for line in (done.stdout + done.stderr).splitlines() if "postern" in line]
        self.assertEqual((done.returncode, said), (0, []), done.stderr)

    def test_sysusers_takes_the_group(self):
        if shutil.which("systemd-sysusers") is None:
            self.skipTest("no systemd-sysusers here")
        empty = pathlib.Path(self.scratch.name) / "users"
        (empty / "etc").mkdir(parents=True)
        done = run("systemd-sysusers", f"--root={empty}",
                   self.prefix / "lib/sysusers.d/postern.conf")
        if done.returncode != 0 and os.geteuid() != 0:
            self.skipTest("needs root")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex((empty / "etc/group").read_text(), r"(?m)^postern:x:\d+:$")

    def test_logrotate_takes_its_file(self):
        if shutil.which("logrotate") is None:
            self.skipTest("no logrotate here")
        done = run("logrotate", "-d", "-s", f"{self.scratch.name}/state", self.etc / "logrotate.d/postern")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("error:", done.stderr)


if __name__ == "__main__":
    unittest.main()
