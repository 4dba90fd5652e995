"""How long a policy table takes: 200 rows through a firewall that allows, drops and rejects.

    python -m benchmarks.policy [ROWS]

The bound is 3 s. Half of the rows are dropped, which is known only when `timeout` (0.5 s) is over.
"""

from __future__ import annotations

import sys
from statistics import median

from pytest_sonemu.handles.testbed import TestBed

ROUNDS = 5
FIREWALL = "example_packages/firewall"


def rows(count: int) -> list[tuple[str, str, str, int, str]]:
    """Rows that hold: of each eight one is allowed, one rejected, two are answered as UDP, four dropped."""
    kinds = [("tcp", 80, "allow"), ("tcp", 8080, "reject"), ("udp", 5000, "allow"), ("udp", 5000, "allow")]
    found = []
    for number in range(count):
        protocol, port, verdict = kinds[number % 8] if number % 8 < 4 else ("tcp", 1000 + number, "drop")
        found.append(("input", "server", protocol, port, verdict))
    return found


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with TestBed(f"{FIREWALL}/two-pops.yml") as bed:
        service = bed.start(FIREWALL)
        results = [service.policy(rows(count)) for _ in range(ROUNDS)]
    for result in results:
        result.check()
    took = [result.duration for result in results]
    print(f"{count} rows: median {median(took):.2f} s, worst {max(took):.2f} s of {ROUNDS}")


if __name__ == "__main__":
    main()
