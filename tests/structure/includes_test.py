#!/usr/bin/python3
"""Fails when a file includes what its room may not (docs/architecture.md, table of rooms)."""

import re
import sys
import unittest

import tree

NET = {"dataplane/net"}
BELOW_PIPELINE = NET | {"ctrack", "nat", "dataplane/rules", "dataplane/route"}
BELOW_DPDK = BELOW_PIPELINE | {"dataplane/pipeline"}
ALL_BUT_APP = set(tree.ROOMS) - {"app"}

MAY_INCLUDE_ROOMS = {
    "dataplane/net": set(),
    "ctrack": NET,
    "nat": NET,
    "dataplane/rules": NET | {"ctrack"},
    "dataplane/route": NET,
    "dataplane/pipeline": BELOW_PIPELINE,
    "dataplane/dpdk": BELOW_DPDK,
    "control": BELOW_DPDK,
    "app": set(tree.ROOMS) - {"tests", "perf"},
    "tests": ALL_BUT_APP,
    "perf": ALL_BUT_APP,
}

# Rules know a connection's data, not who tracks it.
CTRACK_DATA = {"ctrack/connection.h", "ctrack/extension.h", "ctrack/settings.h"}

STANDARD = set("""
algorithm any array atomic barrier bit bitset charconv chrono codecvt compare complex concepts
condition_variable coroutine deque exception execution filesystem format forward_list fstream
functional future initializer_list iomanip ios iosfwd iostream istream iterator latch limits list
locale map memory memory_resource mutex new numbers numeric optional ostream queue random ranges
ratio regex scoped_allocator semaphore set shared_mutex source_location span sstream stack
stdexcept stop_token streambuf string string_view strstream syncstream system_error thread tuple
type_traits typeindex typeinfo unordered_map unordered_set utility valarray variant vector version
cassert cctype cerrno cfenv cfloat cinttypes climits clocale cmath csetjmp csignal cstdarg cstddef
cstdint cstdio cstdlib cstring ctime cuchar cwchar cwctype
""".split())
# AES-NI for the keyed flow hash: compiler headers, no library.
INTRINSICS = {"immintrin.h", "wmmintrin.h", "emmintrin.h", "x86intrin.h", "cpuid.h"}

POSIX = re.compile(r"^(sys|net|netinet|arpa|linux|asm)/|^(dirent|errno|fcntl|fnmatch|getopt|glob|grp|ifaddrs|netdb|"
                   r"poll|pthread|pwd|regex|sched|signal|stdlib|string|strings|syslog|termios|time|unistd)\.h$")
DPDK = re.compile(r"^(rte_|generic/rte_|bus_|dev_driver|ethdev_)")
CONTROL_LIBRARIES = re.compile(
    r"^(libconfig\.h\+\+|boost/|prometheus/|nlohmann/|fmt/|spdlog/|pcap)")
APP_LIBRARIES = re.compile(r"^(boost/|fmt/|spdlog/|systemd/|cap-ng\.h)")
TEST_LIBRARIES = re.compile(r"^(gtest/|gmock/|benchmark/)")

LIBRARIES = {
    # inet_ntop and inet_pton: text of addresses, no system call.
    "dataplane/net": (re.compile(r"^arpa/inet\.h$"),),
    "dataplane/dpdk": (DPDK, POSIX),
    "control": (CONTROL_LIBRARIES, POSIX, re.compile(r"^systemd/")),
    "app": (APP_LIBRARIES, POSIX),
    "tests": (TEST_LIBRARIES, CONTROL_LIBRARIES, POSIX),
    "perf": (TEST_LIBRARIES, CONTROL_LIBRARIES, POSIX),
}


def objection(path, quoted, name):
    """Why a file may not include a name, or None."""
    room = tree.room_of(path)
    if room is None:
        return "is in no room"
    if quoted:
        target = tree.room_of(name)
        if target is None:
            return "quotes a name that is no path from the root"
        if target == room:
            return None
        if target not in MAY_INCLUDE_ROOMS[room]:
            return f"{room} may not include {target}"
        if room == "dataplane/rules" and target == "ctrack" and name not in CTRACK_DATA:
            return "dataplane/rules may include ctrack's data types only"
        return None
    if name in STANDARD or name in INTRINSICS:
        return None
    libraries = LIBRARIES.get(room, ())
    # Tests of the dpdk room may use DPDK, other tests may not.
    if str(path).startswith(("tests/dpdk/", "perf/")):
        libraries += (DPDK,)
    if any(pattern.search(name) for pattern in libraries):
        return None
    return f"{room} may not include the library header"


class Includes(unittest.TestCase):

    def test_every_file_includes_only_what_its_room_may(self):
        complaints = []
        for path in tree.files(".h", ".cc"):
            for line, quoted, name in tree.includes(path):
                why = objection(path, quoted, name)
                if why:
                    complaints.append(f"{path}:{line}: {name}: {why}")
                elif quoted and not (tree.ROOT / name).is_file():
                    complaints.append(f"{path}:{line}: {name}: no such file")
        self.assertFalse(complaints, "\n" + "\n".join(complaints))

    def test_the_rules_object_where_they_should(self):
        wrong = (
            ("ctrack/tracker.cc", True, "nat/binding.h"),
            ("nat/binding.cc", True, "ctrack/connection.h"),
            ("dataplane/net/parse.cc", True, "ctrack/connection.h"),
            ("dataplane/rules/walk.cc", True, "ctrack/tracker.h"),
            ("dataplane/pipeline/pipeline.cc", False, "rte_mbuf.h"),
            ("dataplane/route/route_table.cc", False, "sys/socket.h"),
            ("control/engine.cc", True, "dataplane/dpdk/eal.h"),
            ("tests/net/parse_test.cc", True, "app/options.h"),
            ("ctrack/tracker.cc", True, "tracker.h"),
        )
        for path, quoted, name in wrong:
            self.assertIsNotNone(objection(path, quoted, name), f"{path} including {name}")
        right = (
            ("ctrack/tracker.cc", True, "dataplane/net/tuple.h"),
            ("dataplane/rules/walk.cc", True, "ctrack/connection.h"),
            ("dataplane/dpdk/eal.cc", False, "rte_eal.h"),
            ("dataplane/net/flow_hash.cc", False, "wmmintrin.h"),
            ("app/posternd.cc", True, "dataplane/dpdk/eal.h"),
        )
        for path, quoted, name in right:
            self.assertIsNone(objection(path, quoted, name), f"{path} including {name}")


if __name__ == "__main__":
    sys.exit(unittest.main())
