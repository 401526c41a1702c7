#!/usr/bin/python3
"""scripts/bind-nics on a made-up sysfs, with a made-up `ip`."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "bind-nics"
FREE, BUSY, DISK = "0000:03:00.0", "0000:03:00.1", "0000:04:00.0"

# Answers what the test has written beside it.
IP = """#!/bin/sh
case "$*" in
  *address*) cat "$(dirname "$0")/addresses.json";;
  *route*) cat "$(dirname "$0")/routes.json";;
  *) exit 1;;
esac
"""


class BindNics(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.pci = self.root / "sys/bus/pci"
        for driver in ("ixgbe", "nvme", "vfio-pci"):
            (self.pci / "drivers" / driver).mkdir(parents=True)
            (self.pci / "drivers" / driver / "unbind").write_text("")
        (self.pci / "drivers_probe").write_text("")
        self.add_card(FREE, "0x020000", "ixgbe", "eth0")
        self.add_card(BUSY, "0x020000", "ixgbe", "eth1")
        self.add_card(DISK, "0x010802", "nvme", None)
        self.bin = self.root / "bin"
        self.bin.mkdir()
        (self.bin / "ip").write_text(IP)
        (self.bin / "ip").chmod(0o755)
        self.links = [{"ifname": "lo"}, {"ifname": "eth0", "addr_info": [
            {"local": "fe80::1", "scope": "link"}]}, {"ifname": "eth1"}]
        self.routes = [{"dst": "fe80::/64", "dev": "eth0"}]

    def add_card(self, address, kind, driver, interface):
        card = self.pci / "devices" / address
        card.mkdir(parents=True)
        (card / "class").write_text(kind + "\n")
        (card / "driver_override").write_text("")
        (card / "driver").symlink_to(self.pci / "drivers" / driver)
        if interface:
            (card / "net" / interface).mkdir(parents=True)

    def run_script(self, *arguments):
        (self.bin / "addresses.json").write_text(json.dumps(self.links))
        (self.bin / "routes.json").write_text(json.dumps(self.routes))
        environment = dict(os.environ, PATH=f"{self.bin}:{os.environ['PATH']}")
        return subprocess.run([sys.executable, SCRIPT, "--root", self.root, *arguments],
                              env=environment, capture_output=True, text=True, check=False)

    def written(self):
        files = [self.pci / "drivers_probe", *self.pci.glob("devices/*/driver_override"),
                 *self.pci.glob("drivers/*/unbind")]
        return {str(path.relative_to(self.pci)): path.read_text() for path in files
                if path.read_text()}

    def assert_refused(self, done, words):
        self.assertEqual(done.returncode, 1, done.stdout)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertEqual(self.written(), {})

    def test_dry_run_says_everything_and_writes_nothing(self):
        done = self.run_script("--dry-run", FREE)
        self.assertEqual(done.returncode, 0, done.stderr)
        for what in ("drivers/ixgbe/unbind", "driver_override", "drivers_probe", "vfio-pci"):
            self.assertIn(what, done.stdout)
        self.assertEqual(self.written(), {})

    def test_an_address_keeps_a_card_with_the_kernel(self):
        self.links[2]["addr_info"] = [{"local": "192.0.2.7", "scope": "global"}]
        self.assert_refused(self.run_script("--dry-run", BUSY), ["eth1", "192.0.2.7"])

    def test_a_route_does(self):
        self.routes.append({"dst": "default", "gateway": "192.0.2.1", "dev": "eth1"})
        self.assert_refused(self.run_script("--dry-run", BUSY), ["eth1", "default"])

    def test_a_way_of_a_multipath_route_does(self):
        self.routes.append({"dst": "default", "nexthops": [{"dev": "eth5"}, {"dev": "eth1"}]})
        self.assert_refused(self.run_script("--dry-run", BUSY), ["eth1", "default"])

    def test_a_bridge_does(self):
        self.links[2]["master"] = "br0"
        self.assert_refused(self.run_script("--dry-run", BUSY), ["eth1", "br0"])

    def test_a_vlan_does(self):
        self.links.append({"ifname": "eth1.7", "link": "eth1"})
        self.assert_refused(self.run_script("--dry-run", BUSY), ["eth1.7"])

    def test_an_interface_of_a_virtio_device_counts(self):
        virtio = self.pci / "devices" / BUSY / "virtio0"
        virtio.mkdir()
        (virtio.parent / "net").rename(virtio / "net")
        self.links[2]["addr_info"] = [{"local": "192.0.2.7", "scope": "global"}]
        self.assert_refused(self.run_script("--dry-run", BUSY), ["eth1", "192.0.2.7"])

    def test_all_or_none(self):
        self.links[2]["addr_info"] = [{"local": "192.0.2.7", "scope": "global"}]
        self.assert_refused(self.run_script(FREE, BUSY), [BUSY])

    def test_where_ip_fails_nothing_is_taken(self):
        (self.bin / "ip").write_text("#!/bin/sh\nexit 1\n")
        self.assert_refused(self.run_script("--dry-run", FREE), ["ip"])

    def test_only_network_cards(self):
        self.assert_refused(self.run_script("--dry-run", DISK), [DISK, "no network card"])

    def test_names_what_isnt_there(self):
        self.assert_refused(self.run_script("--dry-run", "0000:09:00.0"), ["no such device"])
        self.assert_refused(self.run_script("--dry-run", "../../etc"), ["no PCI address"])

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_writes_what_the_kernel_wants(self):
        # A made-up sysfs has no driver that would take the card.
        done = self.run_script(FREE)
        self.assertEqual(done.returncode, 1)
        self.assertIn("hasn't taken it", done.stderr)
        self.assertEqual(self.written(), {
            "drivers/ixgbe/unbind": FREE, f"devices/{FREE}/driver_override": "vfio-pci",
            "drivers_probe": FREE})

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_gives_back(self):
        (self.pci / "devices" / FREE / "driver").unlink()
        (self.pci / "devices" / FREE / "driver").symlink_to(self.pci / "drivers" / "vfio-pci")
        done = self.run_script("--back", FREE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.written(), {
            "drivers/vfio-pci/unbind": FREE, f"devices/{FREE}/driver_override": "\n",
            "drivers_probe": FREE})

    def test_status_tells_who_has_what(self):
        self.links[2]["addr_info"] = [{"local": "192.0.2.7", "scope": "global"}]
        done = self.run_script("--status")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), 2, lines)
        self.assertIn("not in use", lines[0])
        self.assertIn("192.0.2.7", lines[1])


if __name__ == "__main__":
    unittest.main()
