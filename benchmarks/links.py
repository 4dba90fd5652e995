"""What a link costs beside a bare veth pair in the same run: `python -m benchmarks.links [--json FILE]`.

Needs root. A machine is never quiet: each figure is the median of rounds in which every kind of link has its
turn beside the bare pair, so only the ratios are worth comparing.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from pytest_sonemu import NetworkFunction, NetworkService, PoP, PopLink, Service, TestBed, Topology
from tests.links.lab import Lab, Site, end

MakeSocket = Callable[[int], socket.socket]

POPS = Topology((PoP("p1"), PoP("p2"), PoP("p3")), (PopLink("p1", "p2"), PopLink("p2", "p3")))
SAPS = NetworkService.of(
    "saps",
    [],
    {"line": ["line1", "line2"], "relayed": ["relayed1", "relayed2"]},
    lans={"lan": ["lan1", "lan2", "lan3"], "wide": ["wide1", "wide2", "wide3"]},
)
CHAIN = NetworkService.chain(
    "in", *(NetworkFunction(f"vnf{number}", image="sonemu/vnf-base") for number in (1, 2, 3)), "out"
)
SECONDS = 2.0
_QDISC_BYPASS, _SOL_PACKET, _PIDFD_GETFD = 20, 263, 438


@dataclass(frozen=True)
class Way:
    """Two ends to measure between, as makers of sockets; `promise` is the least share of the bare pair."""

    name: str
    source: MakeSocket
    target: MakeSocket
    address: str
    promise: float | None = None


@dataclass(frozen=True)
class Row:
    """`share` of the bare pair's throughput, round trips in µs; `good` is None where nothing is promised."""

    name: str
    gigabits: float
    share: float
    rtt: float
    promise: float | None
    good: bool | None


SEND = """
import socket, sys, time
out, until = socket.socket(fileno=int(sys.argv[1])), time.monotonic() + float(sys.argv[2])
data = bytes(131072)
while time.monotonic() < until:
    out.sendall(data)
"""
RECEIVE = """
import socket, sys, time
into, space, count = socket.socket(fileno=int(sys.argv[1])), bytearray(1 << 20), 0
begun = time.monotonic()
while part := into.recv_into(space):
    count += part
print(count * 8 / (time.monotonic() - begun))
"""
ECHO = """
import socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
while True:
    data, peer = sock.recvfrom(2048)
    sock.sendto(data, peer)
"""


def program(code: str, sock: socket.socket, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own that works on a socket made elsewhere."""
    words = [str(sock.fileno()), *map(str, arguments)]
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code, *words],
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[sock.fileno()],
    )


def throughput(way: Way) -> float:
    """Bits per second of one TCP stream, seen by the receiver."""
    with way.target(socket.SOCK_STREAM) as listener, way.source(socket.SOCK_STREAM) as out:
        listener.bind((way.address, 0))
        listener.listen(1)
        listener.settimeout(10)
        out.settimeout(10)
        out.connect((way.address, listener.getsockname()[1]))
        into, _ = listener.accept()
        with into:
            for sock in (into, out):
                sock.settimeout(None)
            receiver = program(RECEIVE, into)
            sender = program(SEND, out, SECONDS)
        sender.wait(30)
        out.shutdown(socket.SHUT_WR)
        return float(receiver.communicate(timeout=30)[0])


def round_trip(way: Way, count: int = 400) -> float:
    """The median round trip of a small datagram, in µs."""
    with way.target(socket.SOCK_DGRAM) as there, way.source(socket.SOCK_DGRAM) as here:
        there.bind((way.address, 0))
        here.connect((way.address, there.getsockname()[1]))
        here.settimeout(2)
        echo = program(ECHO, there)
        try:
            taken = []
            for number in range(count + 20):
                begun = time.perf_counter()
                here.send(struct.pack("=Q", number))
                here.recv(64)
                taken.append(time.perf_counter() - begun)
        finally:
            end(echo)
    return median(taken[20:]) * 1e6


@contextmanager
def all_ways() -> Iterator[list[Way]]:
    """The bare pair first."""
    with ExitStack() as stack:
        lab = stack.enter_context(Lab())
        bed = stack.enter_context(TestBed(POPS, seed=1))
        where = {"line1": "p1", "line2": "p1", "relayed1": "p1", "relayed2": "p1", "lan3": "p1"}
        where |= {"lan1": "p1", "lan2": "p1", "wide1": "p1", "wide2": "p2", "wide3": "p3"}
        saps = bed.start(SAPS, saps={sap: {"pop": pop} for sap, pop in where.items()})
        chain = bed.start(CHAIN)
        stack.enter_context(saps.link("relayed").impair(rate="100Gbit"))
        yield [
            bare_pair(lab),
            between(saps, "direct E-Line", "line1", "line2", 0.85),
            between(saps, "E-LAN in one PoP", "lan1", "lan2", 0.70),
            between(saps, "E-LAN over three PoPs", "wide1", "wide3", 0.70),
            between(saps, "relayed E-Line, rate 100 Gbit/s", "relayed1", "relayed2"),
            between(chain, "chain of three forwarding VNFs", "in", "out"),
        ]


def bare_pair(lab: Lab) -> Way:
    """One veth pair between two namespaces, and nothing else."""
    from pytest_sonemu.emulation import namespaces

    a, b = (lab.site(name, address) for name, address in (("bare1", "10.9.1.1"), ("bare2", "10.9.2.1")))
    inner = [f"/proc/{os.getpid()}/fd/{site.namespace}" for site in (a, b)]
    pair = f"link add bare netns {inner[0]} type veth peer name bare netns {inner[1]}\n"
    namespaces.run_inside(lab.fabric, ["ip", "-batch", "-"], pair)
    for site, address in ((a, "10.9.9.1"), (b, "10.9.9.2")):
        up = f"addr add {address}/24 dev bare\nlink set bare up\n"
        namespaces.run_inside(site.namespace, ["ip", "-batch", "-"], up)
    return Way("bare veth pair", of_site(a), of_site(b), "10.9.9.2")


def of_site(site: Site) -> MakeSocket:
    return lambda kind: site.inside(lambda: socket.socket(socket.AF_INET, kind))


def between(service: Service, name: str, source: str, target: str, promise: float | None = None) -> Way:
    a, b = service.sap(source), service.sap(target)

    def made(sap: Any) -> MakeSocket:
        return lambda kind: sap.socket(socket.AF_INET, kind)

    return Way(name, made(a), made(b), str(b.ip()), promise)


def compare(ways: Sequence[Way], rounds: int) -> list[Row]:
    """Every way in each round, and its share of what the bare pair had in that round."""
    speeds: dict[str, list[float]] = {way.name: [] for way in ways}
    shares: dict[str, list[float]] = {way.name: [] for way in ways}
    trips: dict[str, list[float]] = {way.name: [] for way in ways}
    for _ in range(rounds):
        bare = throughput(ways[0])
        for way in ways:
            speed = bare if way is ways[0] else throughput(way)
            speeds[way.name].append(speed)
            shares[way.name].append(speed / bare)
            trips[way.name].append(round_trip(way))
    rows = []
    for way in ways:
        share = median(shares[way.name])
        good = None if way.promise is None else share >= way.promise
        rows.append(
            Row(way.name, median(speeds[way.name]) / 1e9, share, median(trips[way.name]), way.promise, good)
        )
    return rows


def bypass_cost(rounds: int) -> list[dict[str, Any]]:
    """What passing the packet taps costs the relay: PACKET_QDISC_BYPASS set from outside, turn by turn."""
    from benchmarks.traffic import flood, goodput

    streams: dict[bool, list[float]] = {False: [], True: []}
    packets: dict[bool, list[float]] = {False: [], True: []}
    with Lab() as lab:
        a, b = lab.pair(1)
        lab.start_relay()
        lab.join(a, b)
        assert lab.relay is not None
        with relays_socket(lab.relay.pid) as sock:
            for number in range(rounds):
                for bypass in (False, True) if number % 2 == 0 else (True, False):
                    sock.setsockopt(_SOL_PACKET, _QDISC_BYPASS, int(bypass))
                    streams[bypass].append(goodput(a, b, "128K", 2))
                    packets[bypass].append(flood(lab, a, b, 0, 64)["sent_packets"])
    rows = []
    for what, values, unit in (
        ("one TCP stream", streams, "Gbit/s"),
        ("datagrams of 64 bytes", packets, "packets/s"),
    ):
        scale = 1e9 if unit == "Gbit/s" else 1
        ratio = median(one / other for one, other in zip(values[True], values[False], strict=True))
        rows.append(
            {
                "what": what,
                "unit": unit,
                "through taps": median(values[False]) / scale,
                "bypassed": median(values[True]) / scale,
                "ratio": ratio,
            }
        )
    return rows


@contextmanager
def relays_socket(pid: int) -> Iterator[socket.socket]:
    """The relay's own packet socket, borrowed."""
    pidfd = os.pidfd_open(pid)
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            if not os.readlink(entry).startswith("socket:"):
                continue
            number = libc.syscall(_PIDFD_GETFD, pidfd, int(entry.name), 0)
            if number < 0:
                raise OSError(ctypes.get_errno(), "pidfd_getfd")
            with socket.socket(fileno=number) as sock:
                if sock.family == socket.AF_PACKET:
                    yield sock
                    return
    finally:
        os.close(pidfd)
    raise RuntimeError(f"process {pid} has no packet socket")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="what links cost, beside a bare veth pair")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("links", "bypass"), help="one part only")
    options = parser.parse_args(arguments)
    rows: list[Row] = []
    bypass: list[dict[str, Any]] = []
    if options.only != "bypass":
        with all_ways() as ways:
            rows = compare(ways, options.rounds)
        print("| link | Gbit/s | of a bare pair | round trip, µs | promised |\n|---|---|---|---|---|")
        for row in rows:
            promise = "" if row.promise is None else f"{row.promise:.0%}: {'yes' if row.good else 'NO'}"
            print(f"| {row.name} | {row.gigabits:.1f} | {row.share:.0%} | {row.rtt:.0f} | {promise} |")
    if options.only != "links":
        bypass = bypass_cost(options.rounds)
        for each in bypass:
            print(json.dumps(each))
    if options.json:
        figures = {"links": [asdict(row) for row in rows], "bypass": bypass}
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return int(any(row.good is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
