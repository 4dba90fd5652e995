"""Rates asked and measured: TCP and UDP, over several links, in one direction, shared by virtual links."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.traffic import FLOOD, Row, both, flood, goodput, in_bits, server, stream
from pytest_sonemu.relay.model import Impairment, LinkSpec
from tests.links.lab import Lab, Site, end, flows

RATES = (10**6, 10**7, 10**8, 5 * 10**8, 10**9, 5 * 10**9)
# tbf with a fixed burst of 15 KB had 25,000 of these within seconds at 1 Gbit/s.
MOST_SENT_AGAIN = 1_000


def rates(lab: Lab, a: Site, b: Site) -> Iterator[Row]:
    for rate in RATES:
        lab.join(a, b, both(rate=rate))
        seconds = 10 if rate < 10**7 else 3  # the queue alone holds 0.4 s of it
        bits, again = stream(a, b, "128K" if rate >= 10**8 else "8K", seconds)
        yield _within("TCP goodput", rate, bits)
        if rate == 10**9:
            good = again < MOST_SENT_AGAIN
            yield Row("TCP segments sent again in 3 s", in_bits(rate), f"{again:,}", good)
        lab.join(a, b, both(rate=rate))
        bits = flood(lab, a, b, int(1.5 * rate), 1400, 1.5)["sent_bytes"] * 8
        yield _within("UDP at 1.5 times the rate", rate, bits)


def in_a_row(lab: Lab, a: Site, b: Site) -> Iterator[Row]:
    for hops in (3, 10):
        for rate in (10**7, 5 * 10**8):
            lab.join(a, b, *(both(f"h{hop}", rate=rate) for hop in range(hops)))
            yield _within(f"TCP goodput, {hops} links in a row", rate, goodput(a, b, "128K", 5))
    for name, link in (
        ("there only", LinkSpec("l", forward=Impairment(rate=10**7))),
        ("back only", LinkSpec("l", backward=Impairment(rate=10**7))),
    ):
        lab.join(a, b, link)
        there, back = goodput(a, b, "128K", 3), goodput(b, a, "128K", 3)
        slow, other = (there, back) if name == "there only" else (back, there)
        good = 0.9 * 10**7 <= slow <= 1.01 * 10**7 and other > 5 * 10**7
        measured = f"{there / 1e6:,.1f} Mbit/s there, {back / 1e6:,.1f} back"
        yield Row(f"TCP goodput, {name}", "10 Mbit/s", measured, good)


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
    yield _fair("two virtual links, TCP", before, lab.client.counters()["flows"], a, c)
    offered = [(a, b, 0.7e8), (c, d, 2.1e8)]
    for _, other, _ in offered:
        other.socket().bind((other.address, 5202))  # never read: full, it drops
    programs = [
        one.popen([sys.executable, "-c", FLOOD, other.address, "1400", str(rate)])
        for one, other, rate in offered
    ]
    time.sleep(1)
    before = lab.client.counters()["flows"]
    time.sleep(2)
    after = lab.client.counters()["flows"]
    for program in programs:
        end(program)
    yield _fair("two virtual links, UDP at 0.7 and 2.1 times the rate", before, after, a, c)


def _fair(
    what: str, before: dict[str, dict[str, int]], after: dict[str, dict[str, int]], a: Site, c: Site
) -> Row:
    one, two = (after[site.name]["sent_bytes"] - before[site.name]["sent_bytes"] for site in (a, c))
    both_of_them = max(one + two, 1)
    measured = f"{100 * one / both_of_them:.1f} : {100 * two / both_of_them:.1f}"
    return Row(what, "50 : 50", measured, 0.9 <= one / max(two, 1) <= 1.1)


def _within(what: str, rate: int, bits: float) -> Row:
    return Row(what, in_bits(rate), f"{bits / rate:.1%}", 0.9 <= bits / rate <= 1.01)
