#!/usr/bin/python3
"""perf/stages knows a stage for every function of the pipeline, and for no function that isn't there."""

import importlib.machinery
import importlib.util
import pathlib
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOADER = importlib.machinery.SourceFileLoader("stages", str(ROOT / "perf" / "stages"))
SPEC = importlib.util.spec_from_loader("stages", LOADER)
stages = importlib.util.module_from_spec(SPEC)
LOADER.exec_module(stages)

# The established path. Elsewhere what isn't named is its file's, or "other".
FILES = ["established.h", "established.cc", "advance.cc", "lane.h"]


class Stages(unittest.TestCase):

    def test_every_function_of_the_way_has_a_stage(self):
        for name in FILES:
            functions = stages.functions_of(ROOT / "dataplane" / "pipeline" / name)
            self.assertTrue(functions, name)
            for line, function in functions:
                self.assertIn(function, stages.FUNCTIONS, f"{name}:{line}: say in perf/stages what stage it is of")

    def test_every_function_is_there(self):
        there = {function for path in (ROOT / "dataplane" / "pipeline").iterdir()
                 for _, function in stages.functions_of(path)}
        self.assertEqual(set(stages.FUNCTIONS) - there - {None}, set())

    def test_a_line_counts_for_its_function(self):
        path = ROOT / "dataplane" / "pipeline" / "established.cc"
        places = stages.Places()
        for line, function in stages.functions_of(path):
            self.assertEqual(places.stage(str(path), line + 1), stages.FUNCTIONS[function])

    def test_rooms(self):
        places = stages.Places()
        for path, stage in [("../ctrack/flow_table.cc", "lookup"), ("../ctrack/tracker.cc", "conntrack"),
                            ("../dataplane/net/plain.h", "parse"), ("../dataplane/net/wire.h", None), ("../nat/rewrite.cc", "NAT"),
                            ("../dataplane/net/flow_hash.cc", "lookup"), ("../dataplane/rules/walk.cc", "rules"),
                            ("../dataplane/route/route_table.cc", "route"), ("../perf/memory_ports.cc", "generator"),
                            ("/usr/include/dpdk/rte_mbuf.h", "I/O"), ("/usr/include/c++/12/span", None)]:
            self.assertEqual(places.stage(path, 1), stage, path)


if __name__ == "__main__":
    unittest.main()
