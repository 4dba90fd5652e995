"""Asked against measured on relayed links: `python -m benchmarks.relay [--engine core|python] [--json FILE]`.

Needs root (it makes network namespaces) and iperf3. Each row says what was asked, what was measured,
and whether that is within the limits of the project: delays within 5 % or 0.3 ms at p50 and p95, shares
within the 99 % interval of their binomial distribution, rates from 90 to 101 %, fair shares within 10 %.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from pytest_sonemu.relay.model import Distribution, Impairment, LinkSpec
from tests.links.lab import Arrival, Lab, Site, end, flows, quantile, train, until

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
    serving = server(b, port)
    command = ["iperf3", "-J", "-c", b.address, "-p", str(port), "-t", str(seconds + 1), "-l", size]
    output = json.loads(a.popen(command, stdout=subprocess.PIPE).communicate(timeout=seconds + 60)[0])
    end(serving)
    if "error" in output:
        raise RuntimeError(f"iperf3: {output['error']}")
    return float(output["end"]["sum_received"]["bits_per_second"])


FLOOD = """
import socket, sys, time
address, size, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.connect((address, 5202))
data, begun, sent = bytes(size), time.monotonic(), 0
while True:
    if rate and sent > (time.monotonic() - begun) * rate / 8 / size:
        time.sleep(0.0005)
        continue
    out.send(data)
    sent += 1
"""


def flood(lab: Lab, a: Site, b: Site, rate: int, size: int) -> dict[str, float]:
    """Datagrams at a rate (0: as fast as can be): what the flow saw a second, and the relay's CPU time."""
    with b.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sink:
        sink.bind((b.address, 5202))  # never read: full, it drops, and nobody answers "refused"
        client = a.popen([sys.executable, "-c", FLOOD, b.address, str(size), str(rate)])
        time.sleep(1)
        samples = []
        for _ in range(2):
            flow = lab.client.counters()["flows"][a.name]
            samples.append({**flow, "cpu": _spent(lab), "at": time.monotonic()})
            time.sleep(2.5)
        end(client)
    span = samples[1]["at"] - samples[0]["at"]
    names = ("packets", "sent_packets", "sent_bytes", "cpu")
    return {name: (samples[1][name] - samples[0][name]) / span for name in names}


def within_binomial(hits: int, count: int, share: float) -> bool:
    return abs(hits - count * share) <= 2.576 * math.sqrt(count * share * (1 - share)) + 0.5


def delays(lab: Lab, a: Site, b: Site) -> Iterator[Row]:
    for load in (0, os.cpu_count() or 1):
        state = "both CPUs busy" if load else "idle"
        with busy(load):
            for delay in (0.001, 0.005, 0.01, 0.05, 0.2):
                lab.join(a, b, both(delay=delay))
                got = [arrival.delay for arrival in train(a, b, 400, 0.004)]
                p50, p95 = quantile(got, 0.5), quantile(got, 0.95)
                limit = max(0.05 * delay, 0.0003)
                good = abs(p50 - delay) <= limit and abs(p95 - delay) <= limit
                measured = f"p50 {p50 * MS:.3f} p95 {p95 * MS:.3f} ms"
                yield Row(f"delay, {state}", f"{delay * MS:g} ms", measured, good)
    for hops in (3, 10):
        lab.join(a, b, *(both(f"h{hop}", delay=0.001) for hop in range(hops)))
        got = [arrival.delay for arrival in train(a, b, 400, 0.004)]
        p50, p95 = quantile(got, 0.5), quantile(got, 0.95)
        good = max(abs(p50 - hops * 0.001), abs(p95 - hops * 0.001)) <= max(0.05 * hops * 0.001, 0.0003)
        yield Row(f"{hops} links in a row", f"{hops} ms", f"p50 {p50 * MS:.3f} p95 {p95 * MS:.3f} ms", good)


def jitter(lab: Lab, a: Site, b: Site) -> Iterator[Row]:
    # Standard deviations: of a uniform jitter of j it is j/sqrt(3), of the others j itself.
    kinds: list[tuple[Distribution, float]] = [
        ("uniform", 0.005 / math.sqrt(3)),
        ("normal", 0.005),
        ("pareto", 0.005),
    ]
    for distribution, expected in kinds:
        lab.join(
            a, b, both(delay=0.05, jitter=0.005, distribution=distribution, jitter_reorders=True, seed=1)
        )
        got = [arrival.delay for arrival in train(a, b, 1500, 0.002)]
        good = abs(fmean(got) - 0.05) < 0.001 and abs(pstdev(got) - expected) < 0.2 * expected
        measured = f"mean {fmean(got) * MS:.2f} ms, deviation {pstdev(got) * MS:.2f} ms"
        yield Row(f"jitter, {distribution}", f"mean 50 ms, deviation {expected * MS:.2f} ms", measured, good)


def shares(lab: Lab, a: Site, b: Site) -> Iterator[Row]:
    def again(**impairment: Any) -> list[Arrival]:
        lab.join(a, b, both())
        lab.join(a, b, both(**impairment))
        return train(a, b, count, 0.0001)

    for loss, count in ((0.001, 30_000), (0.01, 10_000), (0.05, 5_000)):
        first = {arrival.number for arrival in again(loss=loss, seed=7)}
        second = {arrival.number for arrival in again(loss=loss, seed=7)}
        lost = count - len(first)
        yield Row("loss", f"{loss:.1%}", f"{lost / count:.3%} of {count}", within_binomial(lost, count, loss))
        yield Row(
            "loss, same seed again",
            "the same packets",
            "the same" if first == second else "others",
            first == second,
        )
    count = 5_000
    numbers = [arrival.number for arrival in again(duplicate=0.02, seed=7)]
    twice = len(numbers) - len(set(numbers))
    yield Row("duplication", "2.0%", f"{twice / count:.2%}", within_binomial(twice, count, 0.02))
    numbers = [arrival.number for arrival in again(reorder=0.02, reorder_gap=1, seed=7)]
    late = sum(one > other for one, other in pairwise(numbers))
    yield Row("reordering", "2.0%", f"{late / count:.2%}", within_binomial(late, count, 0.02))
    again(corrupt=0.02, seed=7)
    corrupted = lab.client.counters()["flows"][a.name]["hops"][0]["corrupted"]
    yield Row("corruption", "2.0%", f"{corrupted / count:.2%}", within_binomial(corrupted, count, 0.02))


def rates(lab: Lab, a: Site, b: Site) -> Iterator[Row]:
    for rate in (10**6, 10**7, 10**8, 5 * 10**8, 10**9, 5 * 10**9):
        lab.join(a, b, both(rate=rate))
        share = goodput(a, b, "128K" if rate >= 10**8 else "8K") / rate
        yield Row("TCP goodput", _bits(rate), f"{share:.1%}", 0.9 <= share <= 1.01)
        if rate <= 10**8:
            share = flood(lab, a, b, int(1.5 * rate), 1400)["sent_bytes"] * 8 / rate
            yield Row("UDP at 1.5 times the rate", _bits(rate), f"{share:.1%}", 0.9 <= share <= 1.01)


def sharing(lab: Lab, a: Site, b: Site, c: Site, d: Site) -> Iterator[Row]:
    link = both("shared", rate=10**8)
    lab.client.change([link], [*flows(a, b, link, name="one"), *flows(c, d, link, name="two")])
    before = lab.client.counters()["flows"]
    programs = []
    for site, other, port in ((a, b, 5301), (c, d, 5302)):
        server(other, port)
        command = ["iperf3", "-c", other.address, "-p", str(port), "-t", "4"]
        programs.append(site.popen(command, stdout=subprocess.DEVNULL))
    for program in programs:
        program.wait(30)
    after = lab.client.counters()["flows"]
    one, two = (after[site.name]["sent_bytes"] - before[site.name]["sent_bytes"] for site in (a, c))
    yield Row(
        "two virtual links, TCP",
        "50 : 50",
        f"{100 * one / (one + two):.1f} : {100 * two / (one + two):.1f}",
        0.9 <= one / two <= 1.1,
    )


def capacity(lab: Lab, a: Site, b: Site, c: Site, d: Site) -> Iterator[Row]:
    lab.join_directly(c, d)
    lab.join(a, b)
    ticks = os.sysconf("SC_CLK_TCK")
    for name, x, y in (("direct", c, d), ("relayed", a, b)):
        yield Row(f"TCP, {name}", "10 Gbit/s", f"{goodput(x, y, size='128K') / 1e9:.1f} Gbit/s")
    for name, links in (("unimpaired", ()), ("1 ms and 1 % loss", (both(delay=0.001, loss=0.01),))):
        lab.join(a, b, *links)
        seen = flood(lab, a, b, 0, 64)
        cost = seen["cpu"] / ticks / seen["packets"]
        measured = f"{seen['packets']:,.0f}/s, {cost * 1e6:.1f} µs CPU each"
        yield Row(f"64 byte datagrams, {name}", "100,000/s", measured)


def _spent(lab: Lab) -> int:
    assert lab.relay is not None
    values = Path(f"/proc/{lab.relay.pid}/stat").read_text().rpartition(")")[2].split()
    return int(values[11]) + int(values[12])


def _bits(rate: float) -> str:
    return f"{rate / 1e9:g} Gbit/s" if rate >= 10**9 else f"{rate / 1e6:g} Mbit/s"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="asked against measured on relayed links")
    parser.add_argument("--engine", default="auto", choices=("auto", "core", "python"))
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    parser.add_argument(
        "--only", default="", help="parts, by commas: delays, jitter, shares, rates, sharing, capacity"
    )
    options = parser.parse_args(arguments)
    only = set(filter(None, options.only.split(",")))
    rows: list[Row] = []
    with Lab() as lab:
        (a, b), (c, d) = lab.pair(1), lab.pair(2)
        hello = lab.start_relay("--engine", options.engine).hello()
        print(f"engine {hello.engine}, {'real-time' if hello.realtime else 'ordinary'} priority\n")
        print("| what | asked | measured | |\n|---|---|---|---|")
        parts: list[tuple[str, Callable[[], Iterator[Row]]]] = [
            ("delays", lambda: delays(lab, a, b)),
            ("jitter", lambda: jitter(lab, a, b)),
            ("shares", lambda: shares(lab, a, b)),
            ("rates", lambda: rates(lab, a, b)),
            ("sharing", lambda: sharing(lab, a, b, c, d)),
            ("capacity", lambda: capacity(lab, a, b, c, d)),
        ]
        for name, part in parts:
            if only and name not in only:
                continue
            for row in part():
                rows.append(row)
                verdict = {True: "yes", False: "NO", None: ""}[row.good]
                print(f"| {row.what} | {row.asked} | {row.measured} | {verdict} |", flush=True)
            lab.client.change(remove_flows=[*lab.client.counters()["flows"]])
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return int(any(row.good is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
