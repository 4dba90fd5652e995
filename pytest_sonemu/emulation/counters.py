"""The kernel's counters of the fabric's interfaces, read where the keeper stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from pytest_sonemu.emulation.readings import PastCounters

# Columns of /proc/net/dev behind the name: 0-7 received (bytes, packets, errors, drops, …), 8-15 sent.
_COLUMNS = {
    "rx_bytes": 0,
    "rx_packets": 1,
    "rx_dropped": 3,
    "tx_bytes": 8,
    "tx_packets": 9,
    "tx_dropped": 11,
}


def read_counters() -> dict[str, PastCounters]:
    """The counters of every interface in the namespace we are in, by name."""
    found = {}
    for line in Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]:
        name, _, figures = line.partition(":")
        values = figures.split()
        found[name.strip()] = PastCounters(
            name.strip(), **{field: int(values[column]) for field, column in _COLUMNS.items()}
        )
    return found


def keep_past(past: dict[str, PastCounters], outers: Iterable[str]) -> None:
    """Add to `past` what these interfaces have counted, before they are taken away."""
    now = read_counters()
    for outer in outers:
        if outer in now:
            past[outer] = _sum(past.get(outer, PastCounters(outer)), now[outer])


def _sum(one: PastCounters, other: PastCounters) -> PastCounters:
    figures = {
        field.name: getattr(one, field.name) + getattr(other, field.name)
        for field in fields(PastCounters)
        if field.name != "outer"
    }
    return PastCounters(one.outer, **figures)
