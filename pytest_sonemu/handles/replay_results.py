"""What became of a replay."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pytest_sonemu.handles.results import one_line


@dataclass(frozen=True, slots=True, repr=False)
class ReplayedPacket:
    """One packet of a recording, as it was sent on the bed.

    `number` counts the frames of the file from 1. `sent` and `arrived` are the kernel's clock in seconds
    since the epoch; None: it was not. `crossed` are the connection points that it was seen at, in order.
    `last_seen` says where that ended ("seen into fw:input, not out of fw"), `lost_in` names the endpoint or
    the virtual link. `changes` is how it arrived, where that is not as it was sent ("ip.source 10.30.0.1
    -> 10.30.1.1"); TTLs, checksums and MACs do not count.
    """

    number: int
    summary: str
    source: str
    target: str
    sent: float | None
    arrived: float | None
    crossed: tuple[str, ...]
    last_seen: str
    lost_in: str | None = None
    changes: str = ""

    @property
    def lost(self) -> bool:
        """Whether it did not arrive."""
        return self.arrived is None

    @property
    def latency(self) -> float | None:
        """Seconds on the way."""
        return self.arrived - self.sent if self.arrived is not None and self.sent is not None else None

    def __str__(self) -> str:
        return f"packet {self.number} {self.summary}: {self.changes or self.last_seen}"

    def __repr__(self) -> str:
        return one_line(f"<{self}>")


@dataclass(frozen=True, slots=True, repr=False)
class Replay:
    """A recording, replayed: `assert service.replay("attack.pcap", sides).lost == ()`.

    `skipped` counts frames of the file that were not between the sides. `recorded` and `took` are the
    seconds from the first packet to the last, then and now. `str()` has a line for each packet that was
    lost or changed.
    """

    file: Path
    packets: tuple[ReplayedPacket, ...]
    skipped: int
    recorded: float
    took: float

    @property
    def lost(self) -> tuple[ReplayedPacket, ...]:
        """Those that did not arrive, in the order of the recording."""
        return tuple(packet for packet in self.packets if packet.lost)

    @property
    def arrived(self) -> tuple[ReplayedPacket, ...]:
        """Those that did."""
        return tuple(packet for packet in self.packets if not packet.lost)

    @property
    def changed(self) -> tuple[ReplayedPacket, ...]:
        """Those that arrived otherwise than they were sent."""
        return tuple(packet for packet in self.packets if packet.changes)

    def packet(self, number: int) -> ReplayedPacket:
        """One by its number in the recording. Raises KeyError for one that was not replayed."""
        for packet in self.packets:
            if packet.number == number:
                return packet
        raise KeyError(f"packet {number} of {self.file.name} was not replayed")

    @property
    def _headline(self) -> str:
        arrived, every = len(self.arrived), len(self.packets)
        share = f"all {every} packets" if arrived == every else f"{arrived} of {every} packets"
        changed = f", {len(self.changed)} changed" if self.changed else ""
        return f"replay {self.file.name}: {share} arrived{changed} ({self.took:.2f} s)"

    def __str__(self) -> str:
        return "\n".join([self._headline, *(str(each) for each in self.packets if each.lost or each.changes)])

    def __repr__(self) -> str:
        lost = self.lost
        if not lost:
            return one_line(f"<{self._headline}>")
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        return one_line(f"<{self._headline}; {lost[0]}{more}>")
