"""What a relay counts of each flow: on its whole way, and on each link."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(slots=True)
class LaneCounters:
    """What one flow has met on one direction of a link, in wire frames and layer-2 bytes.

    `stale`: it was read so late that its time does not count from when it came (`packets.py`).
    """

    packets: int = 0
    bytes: int = 0
    sent_packets: int = 0
    sent_bytes: int = 0
    lost: int = 0
    overflowed: int = 0
    duplicated: int = 0
    reordered: int = 0
    corrupted: int = 0
    queued_packets: int = 0
    queued_bytes: int = 0
    stale: int = 0

    def add(self, other: LaneCounters) -> None:
        for entry in fields(self):
            setattr(self, entry.name, getattr(self, entry.name) + getattr(other, entry.name))


@dataclass(slots=True)
class WayCounters:
    """What one flow has seen, in wire frames and layer-2 bytes.

    `refused` by the kernel at the egress; no `memory` left for it; `stale` as on a link.
    """

    packets: int = 0
    bytes: int = 0
    sent_packets: int = 0
    sent_bytes: int = 0
    refused: int = 0
    memory: int = 0
    stale: int = 0
