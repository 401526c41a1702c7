"""The bare rx→tx loop: what the ports alone can do, with DPDK's usual buffers or posternd's."""

import json

from . import processes


def measure(bed, layout="dpdk"):
    """`bed`: peers.bed.Bed. A sample."""
    ports = [f"--vdev=net_pcap{i},rx_pcap={bed.captures}/{name}.pcap,infinite_rx=1"
             for i, name in enumerate(("wan", "lan"))]
    out = processes.run(bed.build / "perf" / "bare-loop", bed.seconds, bed.mbufs, layout,
                        f"--lcores=0@{bed.cpu}", "--no-huge", "-m", 512 + bed.buffer_mb, "--no-pci",
                        "--no-shconf", "--no-telemetry", "--log-level=error",
                        f"--file-prefix={bed.name}", *ports)
    answer = json.loads([line for line in out.splitlines() if line.startswith("{")][-1])
    return processes.Sample(answer["packets"], answer["seconds"], answer["cpu_seconds"])


def measure_packed(bed):
    return measure(bed, "packed")
