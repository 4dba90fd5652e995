"""Asked against measured on relayed links: `python -m benchmarks.relay [--engine core|python] [--json FILE]`.

Needs root (it makes network namespaces) and iperf3. Each row says what was asked, what was measured,
and whether that is within the limits of the project: delays within 5 % or 0.3 ms at p50 and p95, shares
within the 99 % interval of their binomial distribution, rates from 90 to 101 %, fair shares within 10 %.
All of it takes ten minutes; `--only` names parts, and `--add` keeps what a file has of the others.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import capacity, rates, several, shares, times
from benchmarks.traffic import Row, flood, goodput
from tests.links.lab import Lab

__all__ = ["flood", "goodput", "main"]


def parts(lab: Lab, engine: str) -> dict[str, Callable[[], Iterator[Row]]]:
    (a, b), (c, d) = lab.pair(1), lab.pair(2)
    return {
        "delays": lambda: times.delays(lab, a, b),
        "directions": lambda: times.directions(lab, a, b),
        "jitter": lambda: times.jitter(lab, a, b),
        "shares": lambda: shares.shares(lab, a, b),
        "patterns": lambda: shares.patterns(lab, a, b),
        "rates": lambda: rates.rates(lab, a, b),
        "row": lambda: rates.in_a_row(lab, a, b),
        "several": lambda: several.in_a_row(lab, a, b),
        "one": lambda: several.one_direction(lab, a, b),
        "sharing": lambda: rates.sharing(lab, a, b, c, d),
        "capacity": lambda: capacity.capacity(engine),
        "ending": lambda: capacity.ending(engine),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="asked against measured on relayed links")
    parser.add_argument("--engine", default="auto", choices=("auto", "core", "python"))
    parser.add_argument("--json", type=Path, help="write the rows to this file too, by part")
    parser.add_argument("--add", action="store_true", help="keep what that file has of other parts")
    parser.add_argument(
        "--only",
        default="",
        help="of delays, directions, jitter, shares, patterns, rates, row, several, one, sharing,"
        " capacity, ending",
    )
    options = parser.parse_args(arguments)
    only = set(filter(None, options.only.split(",")))
    found: dict[str, list[dict[str, object]]] = {}
    if options.add and options.json and options.json.exists():
        found = json.loads(options.json.read_text())
    bad = False
    with Lab() as lab:
        hello = lab.start_relay("--engine", options.engine).hello()
        print(f"engine {hello.engine}, {'real-time' if hello.realtime else 'ordinary'} priority\n")
        print("| what | asked | measured | |\n|---|---|---|---|")
        for name, part in parts(lab, options.engine).items():
            if only and name not in only:
                continue
            found[name] = []
            for row in part():
                found[name].append(asdict(row))
                bad = bad or row.good is False
                verdict = {True: "yes", False: "NO", None: ""}[row.good]
                print(f"| {row.what} | {row.asked} | {row.measured} | {verdict} |", flush=True)
            lab.client.change(remove_flows=[*lab.client.counters()["flows"]])
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
