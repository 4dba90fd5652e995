"""Traffic over a lab's links, and how it is judged: what the benchmarks of links share."""

from __future__ import annotations

import json
import math
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_sonemu.relay.model import Impairment, LinkSpec
from tests.links.lab import Lab, Site, end, until

MS = 1000.0
NET = Path("/proc/thread-self/net")


@dataclass(frozen=True)
class Row:
    """One line of the table; `good` is None where nothing is promised."""

    what: str
    asked: str
    measured: str
    good: bool | None = None


def both(name: str = "l", **impairment: Any) -> LinkSpec:
    one = Impairment(**impairment)
    return LinkSpec(name, one, one)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Processes that want a CPU each."""
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for hog in hogs:
            end(hog)


def server(b: Site, port: int) -> subprocess.Popen[str]:
    process = b.popen(
        ["iperf3", "-s", "-1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def listens() -> bool:
        # It listens on both families by one socket of IPv6 where that exists, else on IPv4.
        files = b.inside(lambda: [path.read_text() for path in NET.glob("tcp*")])
        return any(re.search(rf":{port:04X} [0-9A-F:]+ 0A ", text) for text in files)

    until(listens, "iperf3 listens")
    return process


def goodput(a: Site, b: Site, size: str = "8K", seconds: int = 4, port: int = 5201) -> float:
    """Bits per second of one TCP stream's data that came, written `size` at a time."""
    return stream(a, b, size, seconds, port)[0]


def stream(a: Site, b: Site, size: str = "8K", seconds: int = 4, port: int = 5201) -> tuple[float, int]:
    """Of one TCP stream: bits per second of data that came, and how many segments were sent again.

    Without its first second, in which TCP finds out how fast it may be.
    """
    serving = server(b, port)
    command = ["iperf3", "-J", "-c", b.address, "-p", str(port), "-O", "1", "-t", str(seconds), "-l", size]
    output = json.loads(a.popen(command, stdout=subprocess.PIPE).communicate(timeout=seconds + 60)[0])
    end(serving)
    if "error" in output:
        raise RuntimeError(f"iperf3: {output['error']}")
    total = output["end"]
    return float(total["sum_received"]["bits_per_second"]), int(total["sum_sent"]["retransmits"])


FLOOD = """
import socket, sys, time
address, size, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.connect((address, 5202))
if rate >= 3e8:
    out.setsockopt(17, 103, size)  # UDP_SEGMENT: 40 datagrams a call, cut by the kernel or the relay
    size *= 40
data, begun, sent = bytes(size), time.monotonic(), 0
while True:
    if rate and sent > (time.monotonic() - begun) * rate / 8 / size:
        time.sleep(0.0005)
        continue
    out.send(data)
    sent += 1
"""


def flood(lab: Lab, a: Site, b: Site, rate: int, size: int, seconds: float = 2.5) -> dict[str, float]:
    """Datagrams at a rate (0: as fast as can be): what the flow saw a second, and the relay's CPU time."""
    with b.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sink:
        sink.bind((b.address, 5202))  # never read: full, it drops, and nobody answers "refused"
        client = a.popen([sys.executable, "-c", FLOOD, b.address, str(size), str(rate)])
        until(lambda: lab.client.counters()["flows"][a.name]["packets"] > 0, "datagrams come")
        time.sleep(0.5)
        samples = []
        for _ in range(2):
            flow = lab.client.counters()["flows"][a.name]
            samples.append({**flow, "cpu": spent(lab), "at": time.monotonic()})
            time.sleep(seconds)
        end(client)
    span = samples[1]["at"] - samples[0]["at"]
    names = ("packets", "sent_packets", "sent_bytes", "cpu")
    return {name: (samples[1][name] - samples[0][name]) / span for name in names}


def within_binomial(hits: int, count: int, share: float) -> bool:
    return abs(hits - count * share) <= 2.576 * math.sqrt(count * share * (1 - share)) + 0.5


def spent(lab: Lab) -> int:
    """The relay's CPU time so far, in ticks."""
    assert lab.relay is not None
    values = Path(f"/proc/{lab.relay.pid}/stat").read_text().rpartition(")")[2].split()
    return int(values[11]) + int(values[12])


def in_bits(rate: float) -> str:
    return f"{rate / 1e9:g} Gbit/s" if rate >= 10**9 else f"{rate / 1e6:g} Mbit/s"
