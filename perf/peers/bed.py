"""Where a contender runs: one measurement's captures, CPUs, names and folders."""

import dataclasses
import pathlib


@dataclasses.dataclass(frozen=True)
class Bed:
    build: pathlib.Path
    folder: pathlib.Path    # for whatever the contender writes
    captures: pathlib.Path  # holds lan.pcap and wan.pcap
    name: str               # of namespaces and DPDK's files; short
    flows: int
    nat: bool
    rules: int
    cpu: int                # the forwarding thread's
    main: int               # everybody else's
    seconds: float          # the measured window

    @property
    def mbufs(self):
        # net_pcap keeps the whole capture in buffers, and each direction has its rings.
        return 2 * self.flows + 16384

    @property
    def buffer_mb(self):
        # A buffer doesn't cross pages, and without hugepages a page holds one.
        return self.mbufs * 9 // 2048
