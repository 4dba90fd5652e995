"""What was captured, as a sequence: chosen from, counted, saved, compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, overload

from pytest_sonemu.errors import NotFoundError, ProbeError, did_you_mean
from pytest_sonemu.handles import filter_program, filters
from pytest_sonemu.handles.differing import side_by_side
from pytest_sonemu.handles.packets import CapturedPacket
from pytest_sonemu.handles.pcap import Record, write_pcap
from pytest_sonemu.handles.results import Direction, one_line

Match = str | Callable[[CapturedPacket], object]

# Of packets in a comparison that fails.
_SHOWN = 40


class Packets(Sequence[CapturedPacket]):
    """Packets in the order in which they were seen."""

    def __init__(
        self,
        packets: Iterable[CapturedPacket],
        resolve: filters.Resolve | None = None,
        places: Iterable[str] | None = None,
    ) -> None:
        """`places`: all where something could have been seen; None: it is not known."""
        self._packets = tuple(packets)
        self._resolve = resolve
        self._places = frozenset(places) if places is not None else None

    def __len__(self) -> int:
        return len(self._packets)

    @overload
    def __getitem__(self, at: int) -> CapturedPacket: ...

    @overload
    def __getitem__(self, at: slice) -> Packets: ...

    def __getitem__(self, at: int | slice) -> CapturedPacket | Packets:
        if isinstance(at, slice):
            return Packets(self._packets[at], self._resolve, self._places)
        return self._packets[at]

    def __iter__(self) -> Iterator[CapturedPacket]:
        return iter(self._packets)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Packets) and self._packets == other._packets

    def __hash__(self) -> int:
        return hash(self._packets)

    def explain_difference(self, other: object) -> list[str]:
        """Lines for a failed comparison: the packets that only one of the two has."""
        rows = [_row(packet) for packet in self]
        if not isinstance(other, Packets):
            return [f"  {row}" for row in rows[:_SHOWN]]
        return side_by_side(rows, [_row(packet) for packet in other], "only left", "only right")[:_SHOWN]

    def matching(
        self, wanted: Match = "", *, at: str | None = None, direction: Direction | None = None
    ) -> Packets:
        """Those that match a filter expression ("tcp syn and host server") or a function of a packet.

        `at` and `direction` choose where they were seen. Raises ProbeError for a filter that cannot be read
        and for what is no direction, NotFoundError for a place where the capture does not stand.
        """
        check_direction(direction)
        if at is not None and self._places is not None and at not in self._places:
            raise NotFoundError("place of this capture", at, self._places)
        check = _check_of(wanted, self._resolve)
        return Packets(
            (
                packet
                for packet in self._packets
                if (at is None or packet.at == at)
                and (direction is None or packet.direction == direction)
                and check(packet)
            ),
            self._resolve,
            self._places,
        )

    def count(self, wanted: Match | CapturedPacket = "") -> int:
        """How many match; as for `matching`."""
        if isinstance(wanted, CapturedPacket):
            return self._packets.count(wanted)
        return len(self.matching(wanted))

    @property
    def bytes(self) -> int:
        """Bytes of all frames together."""
        return sum(packet.length for packet in self._packets)

    def save(self, path: str | Path) -> Path:
        """Write a pcap file; returns its path."""
        return write_pcap(
            path, (Record(packet.nanoseconds, packet.raw, packet.length) for packet in self._packets)
        )

    def scapy(self) -> list[Any]:
        """The same as scapy's packets. Raises ProbeError without the extra `scapy`."""
        try:
            ether = import_module("scapy.layers.l2").Ether
            # scapy takes apart only what it has imported the layers of.
            for layers in ("scapy.layers.inet", "scapy.layers.inet6"):
                import_module(layers)
        except ImportError as error:
            raise ProbeError(
                "scapy is not installed; install the extra: pip install 'pytest-sonemu[scapy]'"
            ) from error
        found = []
        for packet in self._packets:
            made = ether(packet.raw)
            made.time = packet.time
            found.append(made)
        return found

    def __repr__(self) -> str:
        shown = "; ".join(
            f"{packet.at} {packet.direction} {packet.summary()}" for packet in self._packets[:3]
        )
        return one_line(f"<{len(self)} packets{f': {shown}' if shown else ''}>")


def check_direction(direction: object) -> None:
    """Raises ProbeError for what is no direction: in it nothing would ever be seen."""
    known: tuple[str, ...] = get_args(Direction)
    if direction is not None and direction not in known:
        hint = did_you_mean(str(direction), known)
        raise ProbeError(f"direction={direction!r} is not a direction; it is 'in' or 'out'{hint}")


def _row(packet: CapturedPacket) -> str:
    return f"{packet.at} {packet.direction} {packet.summary()}"


def _check_of(wanted: object, resolve: filters.Resolve | None) -> Callable[[CapturedPacket], object]:
    if callable(wanted):
        return wanted
    if not isinstance(wanted, str):
        raise ProbeError(
            f"{wanted!r} matches no packets; give a filter ('tcp syn') or a function of a packet"
        )
    return _checker(wanted, resolve)


def _checker(wanted: str, resolve: filters.Resolve | None) -> Callable[[CapturedPacket], bool]:
    program = filter_program.kernel_program(filters.parse(wanted, resolve))
    return lambda packet: filter_program.accepts(program, packet.raw)
