"""What a change costs a link that is in use: `python -m benchmarks.over [--changes 20]`.

Numbered datagrams cross a link while it goes over into the relay's hands and back. A line for each kind of
link: how many were lost, came twice or overtook another, on average for one change. Needs Docker's base
image and root or the installed keeper, as any bed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise

from pytest_sonemu import NetworkService, PoP, PopLink, Service, TestBed, Topology
from tests.support.traffic import Numbered

POPS = Topology((PoP("pop1"), PoP("pop2")), (PopLink("pop1", "pop2"),))
SAPS = NetworkService.of("saps", [], {"near": ["a", "b"], "far": ["c", "d"]}, lans={"lan": ["e", "f", "g"]})
WHERE = {sap: {"pop": "pop1"} for sap in "abcef"} | {sap: {"pop": "pop2"} for sap in "dg"}
SPEEDS = (1000, 5000)
DELAY = 0.02

Impair = Callable[[], AbstractContextManager[None]]


def kinds(bed: TestBed, service: Service) -> dict[str, tuple[str, str, Impair]]:
    """Each kind of link, with the ends that packets go between."""
    pop_link = bed.link("pop1", "pop2")
    return {
        "E-Line": ("a", "b", lambda: service.link("near").impair(delay=DELAY)),
        "E-Line over an impaired PoP link": ("c", "d", lambda: pop_link.impair(delay=DELAY)),
        "E-LAN": ("e", "f", lambda: service.link("lan").impair(delay=DELAY)),
        "E-LAN over an impaired PoP link": ("e", "g", lambda: pop_link.impair(delay=DELAY)),
        "one member of an E-LAN": ("e", "f", lambda: service.sap("e").interface("e").impair(delay=DELAY)),
    }


def measure(service: Service, source: str, target: str, impair: Impair, speed: int, changes: int) -> str:
    with Numbered(service.sap(source), service.sap(target), speed) as numbered:
        for _ in range(changes // 2):
            with impair():
                numbered.more(speed // 8)
            numbered.more(speed // 8)
    overtook = sum(one > other for one, other in pairwise(numbered.came))
    lost, twice, late = (count / changes for count in (numbered.lost, numbered.twice, overtook))
    return f"{lost:.1f} lost, {twice:.1f} twice, {late:.1f} overtaken"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="what a change costs a link that is in use")
    parser.add_argument("--changes", type=int, default=20, help="of each kind of link, at each speed")
    options = parser.parse_args(arguments)
    with TestBed(POPS, seed=7) as bed:
        service = bed.start(SAPS, saps=WHERE)
        print(f"| for one change, on average | {' | '.join(f'{speed:,} packets/s' for speed in SPEEDS)} |")
        print(f"|---|{'---|' * len(SPEEDS)}")
        for name, (source, target, impair) in kinds(bed, service).items():
            service.ping(source, target, 1)
            cells = [measure(service, source, target, impair, speed, options.changes) for speed in SPEEDS]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
