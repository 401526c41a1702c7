#!/usr/bin/python3
"""perf/compare's arithmetic and captures; with BUILD as argument also a brief run of it (root)."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "perf"))

from peers import captures, ovs, rules, table
from peers.processes import Sample
from peers.table import Subject



def ones_sum(data):
    total = sum(int.from_bytes(data[i:i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def frames(path):
    data = path.read_bytes()[24:]
    size = 16 + captures.FRAME_BYTES
    assert len(data) % size == 0
    return [data[at + 16:at + size] for at in range(0, len(data), size)]


def ends(frame):
    return frame[26:30], frame[30:34], frame[34:36], frame[36:38]


class Captures(unittest.TestCase):

    def written(self, flows, nat):
        with tempfile.TemporaryDirectory() as folder:
            captures.write(pathlib.Path(folder), flows, nat)
            return [frames(pathlib.Path(folder) / f"{name}.pcap") for name in ("lan", "wan")]

    def test_checksums_are_right(self):
        for frame in self.written(200, True)[0]:
            self.assertEqual(len(frame), 60)
            self.assertEqual(ones_sum(frame[14:34]), 0xFFFF)
            pseudo = frame[26:34] + bytes([0, 17]) + frame[38:40]
            self.assertEqual(ones_sum(pseudo + frame[34:]), 0xFFFF)

    def test_every_packet_has_its_answer(self):
        for flows in (1, 100, 7919, 2 * 7919):
            lan, wan = self.written(flows, False)
            asked = {ends(frame) for frame in lan}
            self.assertEqual(len(asked), flows)
            answered = {(d, s, dp, sp) for s, d, sp, dp in map(ends, wan)}
            self.assertEqual(asked, answered)

    def test_masquerade_is_answered_with_the_kept_port(self):
        lan, wan = self.written(2000, True)
        self.assertEqual({frame[30:34] for frame in wan},
                         {captures.WAN_ADDRESS.to_bytes(4, "big")})
        self.assertEqual({ends(frame)[1:3] for frame in lan},
                         {(ends(frame)[0], ends(frame)[3]) for frame in wan})


class Rules(unittest.TestCase):

    def test_has_as_many_as_asked_for(self):
        for count in (10, 11, 1000):
            lines = rules.text(count, True).splitlines()
            self.assertEqual(sum(line.startswith("-A ") for line in lines), count + 1)


class OvsFlows(unittest.TestCase):

    def test_translate_only_where_asked_for(self):
        self.assertNotIn("nat", ovs.flows_text(False))
        self.assertIn("nat(src=203.0.113.2)", ovs.flows_text(True))
        self.assertIsNotNone(ovs.missing(1_000_000))


class Table(unittest.TestCase):
    BARE, OURS = Subject("bare", 16000), Subject("posternd", 16000)

    def test_rates_are_by_cpu_time(self):
        sample = Sample(packets=3_000_000, wall=2.0, cpu=0.5)
        self.assertEqual((sample.mpps, sample.mpps_wall), (6.0, 1.5))
        self.assertEqual(Sample(1, 0, 0).mpps, 0)

    def samples(self):
        def some(*rates):
            return [rate and Sample(int(rate * 1e6), 1, 1) for rate in rates]
        return {self.BARE: some(10, 20, 10, None), self.OURS: some(5, 5, 4, 9)}

    def test_ratios_are_of_one_round(self):
        self.assertEqual(table.ratios(self.samples(), self.OURS, self.BARE), [0.5, 0.25, 0.4])
        self.assertEqual(table.ratios(self.samples(), self.OURS, Subject("ovs", 16000)), [])

    def test_median_least_and_most(self):
        self.assertEqual(table.summary([0.5, 0.25, 0.4]), (0.4, 0.25, 0.5))
        self.assertIsNone(table.summary([]))

    def test_says_which_aim_is_met(self):
        rows = {row[0]: row for row in table.aim_rows(self.samples())}
        self.assertEqual(rows["16k flows, against the bare loop"][1:],
                         ["0.400", "0.250-0.500", "0.4", "0.5", "met"])

    def test_every_aim_is_named_once(self):
        texts = [aim.text for aim in table.aims()]
        self.assertEqual(len(texts), len(set(texts)))

    def test_a_failure_is_shown(self):
        rows = table.subject_rows({self.BARE: [None, None]})
        self.assertEqual(rows[1][:2], ["bare, 16k flows", "failed"])

    def test_markdown(self):
        self.assertEqual(table.markdown([["a", "bb"], ["ccc", "d"]]),
                         "| a   | bb |\n| --- | -- |\n| ccc | d  |")


class BriefRun(unittest.TestCase):

    @unittest.skipUnless(len(sys.argv) > 1 and os.geteuid() == 0,
                         "needs a build and root")
    def test_every_contender_that_is_there_forwards(self):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "compare.json"
            done = subprocess.run(
                [ROOT / "perf" / "compare", "--build", sys.argv[1], "--flows", "1000",
                 "--pairs", "1", "--seconds", "0.1", "--json", out],
                capture_output=True, text=True, check=False, timeout=280)
            self.assertEqual(done.returncode, 0, done.stderr)
            comparison = json.loads(out.read_text())
            names = [subject["name"] for subject in comparison["subjects"]]
            for name in ("bare, 1k flows", "posternd, 1k flows, MASQUERADE"):
                self.assertIn(name, names)
            for subject in comparison["subjects"]:
                self.assertIsNotNone(subject["mpps"], f"{subject['name']}: {done.stderr}")
            plot = pathlib.Path(folder) / "plot.svg"
            drawn = subprocess.run([ROOT / "perf" / "plot", out, plot], capture_output=True,
                                   text=True, check=False, timeout=120)
            if "No module named 'matplotlib'" in drawn.stderr:
                self.skipTest("python3-matplotlib isn't installed")
            self.assertEqual(drawn.returncode, 0, drawn.stderr)
            self.assertIn("<svg", plot.read_text())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
