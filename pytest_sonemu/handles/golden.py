"""Comparing a capture with one that was kept in a file: a diff packet by packet (pure but for the file)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sonemu.errors import ProbeError, SettingsError, did_you_mean
from pytest_sonemu.handles.arguments import several
from pytest_sonemu.handles.packets import CapturedPacket
from pytest_sonemu.handles.pcap import read_pcap
from pytest_sonemu.handles.results import one_line

if TYPE_CHECKING:
    from pytest_sonemu.handles.own_files import OwnFiles
    from pytest_sonemu.handles.packet_list import Packets

# What differs from one run to the next though nothing changed.
USUAL = ("ip.ident", "tcp.seq", "tcp.options", "tcp.window", "ports.ephemeral")
FIELDS = (
    *USUAL,
    "tcp",
    "eth",
    "eth.tags",
    "ip.source",
    "ip.target",
    "ip.ttl",
    "ip.tos",
    "tcp.flags",
    "ports",
    "payload",
)
_FIRST_EPHEMERAL = 32768

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One packet that is only in one of the two, or differs. Numbers count from 1; None: it is not there."""

    expected: int | None
    found: int | None
    text: str


@dataclass(frozen=True, slots=True, repr=False)
class Comparison:
    """What a comparison with a golden file came to: `assert capture.equals("golden.pcap")`.

    `str()` is the whole diff, `check()` raises AssertionError with it.
    """

    golden: Path
    expected: int
    found: int
    differences: tuple[Difference, ...] = ()
    updated: bool = False

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def __bool__(self) -> bool:
        return self.same

    def check(self) -> None:
        """Raise AssertionError with the whole diff unless both are the same."""
        if not self.same:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        head = f"{self.golden.name}: {self.expected} packets, captured: {self.found}"
        return "\n".join([head, *(difference.text for difference in self.differences)])

    def __repr__(self) -> str:
        if self.updated:
            return one_line(f"<{self.golden.name} is written anew with {self.found} packets>")
        if self.same:
            return one_line(f"<same as {self.golden.name}: {self.found} packets>")
        more = f" (and {len(self.differences) - 1} more)" if len(self.differences) > 1 else ""
        first = self.differences[0].text.strip()
        return one_line(
            f"<not as {self.golden.name} ({self.expected} packets, found {self.found}): {first}{more}>"
        )


def compare_with_file(
    packets: Packets, path: str | Path, ignore: Iterable[str] | None, files: OwnFiles
) -> Comparison:
    """Compare with a file, or have it written anew where that is asked for.

    Of several captures of one test that are kept in the same file the first is written, and the others are
    compared with it. Raises ProbeError if the file is not there.
    """
    place = files.place(path)
    uncounted = USUAL if ignore is None else several(ignore, "ignore")
    if files.update:
        if (held := files.held.get(place)) is not None:
            return compare(place, list(held), list(packets), uncounted)
        files.keep(place, packets)
        return Comparison(place, len(packets), len(packets), updated=True)
    if not place.exists():
        raise ProbeError(
            f"there is no {place} yet to compare with; look at the capture, then write it"
            f" by: {files.again or 'pytest --sonemu-update-golden'}"
        )
    expected = [
        CapturedPacket(record.time / 1e9, "", "in", record.data, record.time) for record in read_pcap(place)
    ]
    return compare(place, expected, list(packets), uncounted)


def compare(
    golden: Path, expected: list[CapturedPacket], found: list[CapturedPacket], ignore: tuple[str, ...] = USUAL
) -> Comparison:
    """Compare two lists of packets, in order, without their times.

    `ignore` names what does not count: of `FIELDS`; by default `USUAL`. `tcp.seq` stands for both
    numbers, `tcp.options` for the header's options, `tcp` for all of it but the ports, `eth` for both
    MACs, `ports.ephemeral` for ports from 32768 on, `ports` for all. Checksums never count. Raises
    SettingsError for an unknown name.
    """
    for name in ignore:
        if name not in FIELDS:
            raise SettingsError(f"ignore: there is no field '{name}'{did_you_mean(name, FIELDS)}")
    ours = [tuple(fields_of(packet, ignore)) for packet in found]
    theirs = [tuple(fields_of(packet, ignore)) for packet in expected]
    differences: list[Difference] = []
    for kind, i1, i2, j1, j2 in SequenceMatcher(None, theirs, ours, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        pairs = min(i2 - i1, j2 - j1)
        for k in range(pairs):
            changes = changes_between(theirs[i1 + k], ours[j1 + k])
            text = f"! {i1 + k + 1}: {expected[i1 + k].summary()}: {changes}"
            differences.append(Difference(i1 + k + 1, j1 + k + 1, text))
        for i in range(i1 + pairs, i2):
            differences.append(Difference(i + 1, None, f"- {i + 1}: {expected[i].summary()} is missing"))
        for j in range(j1 + pairs, j2):
            differences.append(Difference(None, j + 1, f"+ {j + 1}: {found[j].summary()} is new"))
    return Comparison(golden, len(expected), len(found), tuple(differences))


def changes_between(expected: Fields, found: Fields) -> str:
    before, after = dict(expected), dict(found)
    names = dict.fromkeys((*before, *after))
    return ", ".join(
        f"{name} {before.get(name, 'none')} -> {after.get(name, 'none')}"
        for name in names
        if before.get(name) != after.get(name)
    )


def fields_of(packet: CapturedPacket, ignore: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for name, value in _all_fields(packet):
        if name in ignore or name.rpartition(".")[0] in ignore:
            continue
        if (
            name in ("ports.source", "ports.target")
            and "ports.ephemeral" in ignore
            and int(value) >= _FIRST_EPHEMERAL
        ):
            continue
        yield name, value


def _all_fields(packet: CapturedPacket) -> Iterator[tuple[str, str]]:
    eth, ip = packet.eth, packet.ip
    yield "eth.source", eth.source
    yield "eth.target", eth.target
    if eth.tags:
        yield "eth.tags", ",".join(map(str, eth.tags))
    yield "eth.kind", f"{eth.kind:#06x}"
    if packet.arp is not None:
        yield "arp", packet.summary()
    elif ip is not None:
        yield "ip.source", str(ip.source)
        yield "ip.target", str(ip.target)
        yield "ip.protocol", str(ip.protocol)
        yield "ip.ttl", str(ip.ttl)
        yield "ip.tos", str(ip.tos)
        yield "ip.ident", str(ip.ident)
        yield "ip.fragment", f"{ip.fragment_offset}{'+' if ip.more_fragments else ''}"
        yield from _transport_fields(packet)
    if packet.payload and packet.arp is None:
        yield "payload", _shown(packet.payload)


def _transport_fields(packet: CapturedPacket) -> Iterator[tuple[str, str]]:
    ends = packet.tcp or packet.udp
    if ends is not None:
        yield "ports.source", str(ends.source_port)
        yield "ports.target", str(ends.target_port)
    if packet.tcp is not None:
        yield "tcp.flags", " ".join(packet.tcp.flag_names)
        yield "tcp.seq", f"{packet.tcp.seq}/{packet.tcp.ack}"
        yield "tcp.window", str(packet.tcp.window)
        yield "tcp.options", packet.tcp.options.hex()
    if packet.icmp is not None:
        yield "icmp", f"{packet.icmp.words} {packet.icmp.number}"


def _shown(payload: bytes) -> str:
    """Short payloads as they are; long ones by length and a digest, so that a diff stays readable."""
    if len(payload) <= 32:
        return repr(payload)
    import hashlib

    return f"{len(payload)} bytes {hashlib.sha256(payload).hexdigest()[:8]} ({payload[:16]!r}…)"
