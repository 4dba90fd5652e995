"""The relay beside the kernel's netem, on a kernel that has it: `python -m benchmarks.netem [--json FILE]`.

Two links between namespaces of their own get the same properties, one from `tc … netem` on its outer ends,
one from the relay, and the same is measured on both. Needs root, iperf3 and sch_netem, so on most machines:

    python3 -m scripts.kernel.run --no-docker --results netem.json -- \\
        .venv/bin/python -m benchmarks.netem --json /dev/ttyS3

A guest without KVM is some twenty times slower than the machine: compare the columns, not other tables.
`python -m benchmarks.netem --plot netem.json docs/links/netem.svg` draws it and prints the table.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from benchmarks.plots import bars
from benchmarks.relay import goodput
from pytest_sonemu.relay.model import Impairment, LinkSpec
from tests.links.lab import Arrival, Lab, Site, quantile, train
from tests.support.netem import join_by_netem

MS = 1000.0
PAYLOAD = 1000
ON_WIRE = PAYLOAD + 42
NAMES = ("netem", "relay")


@dataclass(frozen=True)
class Row:
    """What was asked of both, and what each did: as text, and where that is one, as a share of it."""

    what: str
    asked: str
    netem: str
    relay: str
    shares: tuple[float, float] | None = None


class Links:
    """The two links. Each call gives a link new properties, and its ends."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._ends = lab.pair(1), lab.pair(2)
        join_by_netem(lab, *self._ends[0], "delay 0ms")

    def both(self, words: str, **properties: Any) -> Iterator[tuple[Site, Site]]:
        """The ends of the link by netem, then those of the relayed one."""
        (a, b), (c, d) = self._ends
        join_by_netem(self.lab, a, b, words, joined=True)
        yield a, b
        one = Impairment(**properties)
        self.lab.join(c, d, LinkSpec("l"))  # a new impairment begins to count anew
        self.lab.join(c, d, LinkSpec("l", one, one))
        yield c, d


def delays(links: Links) -> Iterator[Row]:
    for delay in (0.01, 0.05):
        got = []
        for a, b in links.both(f"delay {delay * MS:g}ms", delay=delay):
            taken = [arrival.delay for arrival in train(a, b, 300, 0.01, settle=1.5)][20:]
            got.append((quantile(taken, 0.5), quantile(taken, 0.95)))
        said = (f"p50 {p50 * MS:.2f} p95 {p95 * MS:.2f} ms" for p50, p95 in got)
        yield Row("delay", f"{delay * MS:g} ms", *said, shares=_shares(delay, [p50 for p50, _ in got]))


def jitter(links: Links) -> Iterator[Row]:
    words = "delay 50ms 5ms limit 10000"
    spread, order = [], []
    for a, b in links.both(words, delay=0.05, jitter=0.005, seed=1):
        came = train(a, b, 500, 0.004, settle=1.5)
        taken = [arrival.delay for arrival in came]
        spread.append(f"mean {fmean(taken) * MS:.2f}, deviation {pstdev(taken) * MS:.2f} ms")
        order.append(f"{_overtaken(came)} of {len(came)}")
    yield Row("jitter", "mean 50, deviation 2.89 ms", *spread)
    yield Row("overtaken under that jitter", "0, unless asked for", *order)


def losses(links: Links) -> Iterator[Row]:
    count, share = 3000, 0.01
    sets = []
    for _ in range(2):
        sets.append(
            [
                {arrival.number for arrival in train(a, b, count, 0.001, settle=1.5)}
                for a, b in links.both(f"loss {share:.0%} limit 10000", loss=share, seed=7)
            ]
        )
    lost = [count - len(got) for got in sets[0]]
    yield Row("loss", f"1 % of {count}", *map(str, lost), shares=_shares(count * share, lost))
    same = ("the same" if one == two else "others" for one, two in zip(*sets, strict=True))
    yield Row("lost again by the same seed", "the same", *same)


def rates(links: Links) -> Iterator[Row]:
    for rate in (10**6, 10**7):
        got, waits = [], []
        for a, b in links.both(f"rate {rate}bit", rate=rate):
            count = int(2 * 1.5 * rate / 8 / ON_WIRE)
            came = train(a, b, count, 2 / count, size=PAYLOAD, settle=2.0)
            got.append((len(came) - 1) * ON_WIRE * 8 / (came[-1].at - came[0].at))
            waits.append(max(arrival.delay for arrival in came))
        asked = f"{rate / 1e6:g} Mbit/s"
        shares = _shares(rate, got)
        yield Row("UDP at 1.5 times the rate", asked, *_percent(shares), shares=shares)
        yield Row("longest wait in its queue", "-", *(f"{wait * MS:.0f} ms" for wait in waits))
        got = [goodput(a, b, "8K", 3) for a, b in links.both(f"rate {rate}bit", rate=rate)]
        shares = _shares(rate, got)
        yield Row("TCP goodput", asked, *_percent(shares), shares=shares)


def _overtaken(came: Sequence[Arrival]) -> int:
    return sum(one.number > other.number for one, other in pairwise(came))


def _shares(asked: float, got: Sequence[float]) -> tuple[float, float]:
    return got[0] / asked, got[1] / asked


def _percent(shares: Sequence[float]) -> Iterator[str]:
    return (f"{share:.1%}" for share in shares)


PARTS: dict[str, Callable[[Links], Iterator[Row]]] = {
    "delays": delays,
    "jitter": jitter,
    "losses": losses,
    "rates": rates,
}


@contextmanager
def two_links() -> Iterator[Links]:
    with Lab() as lab:
        lab.start_relay().hello()
        yield Links(lab)


def as_table(figures: dict[str, Any]) -> str:
    lines = [f"| {figures['kernel']} | asked | netem | relay |", "|---|---|---|---|"]
    lines += [
        f"| {row['what']} | {row['asked']} | {row['netem']} | {row['relay']} |" for row in figures["rows"]
    ]
    return "\n".join(lines)


def as_plot(figures: dict[str, Any]) -> str:
    shown = [
        (f"{row['what']}, {row['asked']}: {name}", 100 * share, f"{share:.1%}")
        for row in figures["rows"]
        if row["shares"]
        for name, share in zip(NAMES, row["shares"], strict=True)
    ]
    return bars("Measured in % of what was asked, netem beside the relay", shown, 100.0)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="the relay beside netem")
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    parser.add_argument("--only", default="", help=f"parts, by commas: {', '.join(PARTS)}")
    parser.add_argument("--plot", nargs=2, type=Path, metavar=("JSON", "SVG"), help="measure nothing, draw")
    options = parser.parse_args(arguments)
    if options.plot:
        figures = json.loads(options.plot[0].read_text())
        options.plot[1].write_text(as_plot(figures))
        print(as_table(figures))
        return 0
    rows: list[Row] = []
    with two_links() as links:
        for name, part in PARTS.items():
            if options.only and name not in options.only.split(","):
                continue
            for row in part(links):
                rows.append(row)
                print(f"| {row.what} | {row.asked} | {row.netem} | {row.relay} |", flush=True)
    if options.json:
        figures = {"kernel": platform.release(), "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
