"""Capture files: pcap with nanoseconds is written; pcap and pcapng, of either byte order, are read."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_sonemu.errors import ProbeError

ETHERNET = 1
# What tcpdump writes of "any" interface (2), of a tunnel (RAW, IPV4, IPV6) and of a BSD loopback (2).
_COOKED, _COOKED_2, _RAW, _NULL = 113, 276, (12, 101, 228, 229), (0, 108)
_NANOSECONDS, _MICROSECONDS = 0xA1B23C4D, 0xA1B2C3D4
_SECTION, _INTERFACE, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 3, 6
_BYTE_ORDER = 0x1A2B3C4D
_TIME_RESOLUTION = 9
_LONGEST = 262144


@dataclass(frozen=True, slots=True)
class Record:
    """One frame of a file. `time` in nanoseconds since the epoch; `length` on the wire, in bytes."""

    time: int
    data: bytes
    length: int


def write_pcap(path: str | Path, records: Iterable[Record]) -> Path:
    """Write a capture file that Wireshark, tcpdump and scapy read; returns its path."""
    place = Path(path)
    with place.open("wb") as file:
        file.write(struct.pack("<IHHiIII", _NANOSECONDS, 2, 4, 0, 0, _LONGEST, ETHERNET))
        for record in records:
            whole, rest = divmod(record.time, 1_000_000_000)
            file.write(struct.pack("<IIII", whole, rest, len(record.data), record.length) + record.data)
    return place


def read_pcap(path: str | Path, *, any_link: bool = False) -> tuple[Record, ...]:
    """Read a capture file. Raises ProbeError for one that cannot be read or is not of Ethernet.

    With `any_link` one of another link, if IP is said on it, is read as if Ethernet had carried it.
    """
    place = Path(path)
    try:
        content = place.read_bytes()
    except OSError as error:
        raise ProbeError(f"{place}: {error.strerror}") from error
    try:
        if content[:4] == struct.pack("<I", _SECTION):
            return tuple(_pcapng(content, any_link))
        return tuple(_pcap(content, any_link))
    except (struct.error, IndexError) as error:
        raise ProbeError(f"{place}: the capture file is cut short or damaged") from error
    except ValueError as error:
        raise ProbeError(f"{place}: {error}") from error


def _pcap(content: bytes, any_link: bool) -> Iterator[Record]:
    order, unit = "", 0
    for candidate in "<>":
        magic = struct.unpack_from(f"{candidate}I", content)[0]
        if magic in (_NANOSECONDS, _MICROSECONDS):
            order, unit = candidate, 1 if magic == _NANOSECONDS else 1000
    if not order:
        raise ValueError("this is neither a pcap nor a pcapng file")
    as_ethernet = _link(struct.unpack_from(f"{order}I", content, 20)[0] & 0xFFFF, any_link)
    at = 24
    while at < len(content):
        whole, rest, kept, length = struct.unpack_from(f"{order}IIII", content, at)
        yield as_ethernet(whole * 1_000_000_000 + rest * unit, _slice(content, at + 16, kept), length)
        at += 16 + kept


def _pcapng(content: bytes, any_link: bool) -> Iterator[Record]:
    order, at = "<", 0
    interfaces: list[tuple[int, int, _Link]] = []  # ticks a second, most bytes of a packet, link
    while at < len(content):
        kind = struct.unpack_from(f"{order}I", content, at)[0]
        if kind == _SECTION:
            order = "<" if struct.unpack_from("<I", content, at + 8)[0] == _BYTE_ORDER else ">"
            interfaces = []
        length = struct.unpack_from(f"{order}I", content, at + 4)[0]
        if length < 12:
            raise ValueError("a block of the pcapng file has an impossible length")
        body = _slice(content, at + 8, length - 12)
        if kind == _INTERFACE:
            link, _, most = struct.unpack_from(f"{order}HHI", body)
            interfaces.append((_ticks_per_second(body[8:], order), most or _LONGEST, _link(link, any_link)))
        elif kind == _ENHANCED:
            interface, high, low, kept, whole = struct.unpack_from(f"{order}IIIII", body)
            ticks, _, as_ethernet = interfaces[interface]
            time = (high << 32 | low) * 1_000_000_000 // ticks
            yield as_ethernet(time, _slice(body, 20, kept), whole)
        elif kind == _SIMPLE:
            whole = struct.unpack_from(f"{order}I", body)[0]
            _, most, as_ethernet = interfaces[0]
            yield as_ethernet(0, _slice(body, 4, min(whole, most)), whole)
        at += length


def _ticks_per_second(options: bytes, order: str) -> int:
    at = 0
    while at + 4 <= len(options):
        code, length = struct.unpack_from(f"{order}HH", options, at)
        if code == _TIME_RESOLUTION and length:
            value = options[at + 4]
            return 1 << (value & 0x7F) if value & 0x80 else int("1" + "0" * value)
        at += 4 + (length + 3 & ~3)
    return 1_000_000


_Link = Callable[[int, bytes, int], Record]


def _link(kind: int, any_link: bool) -> _Link:
    """What makes a record of a frame of this link type. Raises ValueError."""
    if kind == ETHERNET:
        return Record
    if not any_link:
        raise ValueError(f"the capture is not of Ethernet frames (link type {kind})")
    if kind == _COOKED:
        return lambda time, data, length: _ethernet(time, data, length, 16, data[14:16])
    if kind == _COOKED_2:
        return lambda time, data, length: _ethernet(time, data, length, 20, data[:2])
    if kind in _RAW:
        return lambda time, data, length: _ethernet(time, data, length, 0, _kind_of(data))
    if kind in _NULL:
        return lambda time, data, length: _ethernet(time, data, length, 4, _kind_of(data[4:]))
    raise ValueError(f"captures of link type {kind} are not read, only of Ethernet, cooked Linux and raw IP")


def _ethernet(time: int, data: bytes, length: int, header: int, kind: bytes) -> Record:
    return Record(time, bytes(12) + kind + data[header:], length - header + 14)


def _kind_of(packet: bytes) -> bytes:
    return b"\x86\xdd" if packet[:1] and packet[0] >> 4 == 6 else b"\x08\x00"


def _slice(content: bytes, at: int, length: int) -> bytes:
    if at + length > len(content):
        raise IndexError
    return content[at : at + length]
