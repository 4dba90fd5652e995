"""Recorded IP packets, and the same packets between other addresses (pure).

Whatever link they were recorded on: what is kept of a frame is its IP packet and its VLAN tags.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from pytest_sonemu.errors import ProbeError
from pytest_sonemu.handles.packets import CapturedPacket
from pytest_sonemu.handles.pcap import read_pcap
from pytest_sonemu.handles.wire import checksum, network_offset, transport_checksum
from pytest_sonemu.planning.plan import Address

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
_IPV4, _IPV6 = 0x0800, 0x86DD
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _OPTIONS = 0, 43, 44, 60
_CHECKSUM_AT = {TCP: 16, UDP: 6, ICMP: 2, ICMPV6: 2}
_LEAST = {TCP: 20, UDP: 8, ICMP: 8, ICMPV6: 8}
_ICMP_ERRORS = {ICMP: (3, 4, 5, 11, 12), ICMPV6: (1, 2, 3, 4)}
_ECHO_REQUEST = {ICMP: 8, ICMPV6: 128}
_REDIRECT = 5

# Protocol and both ends of what speaks with whom, the smaller end first.
Conversation = tuple[int, tuple[tuple[Address, int], tuple[Address, int]]]


@dataclass(frozen=True, slots=True)
class RecordedPacket:
    """One IP packet of a recording; `number` counts the frames of the file from 1.

    `packet` is without what pads the frame, `transport` the offset of what is behind all IP headers
    (None: a later fragment, or malformed). `tags` are VLAN tags as (EtherType, TCI), outermost first.
    `cut`: not all of it was recorded. `time` in nanoseconds.
    """

    number: int
    time: int
    packet: bytes
    source: Address
    target: Address
    protocol: int
    transport: int | None
    fragment: bool = False
    source_port: int = 0
    target_port: int = 0
    tags: tuple[tuple[int, int], ...] = ()
    cut: bool = False

    @property
    def conversation(self) -> Conversation:
        one, other = (self.source, self.source_port), (self.target, self.target_port)
        first, second = sorted((one, other), key=lambda end: (end[0].packed, end[1]))
        return self.protocol, (first, second)

    @property
    def is_echo_request(self) -> bool:
        return self.transport is not None and self.packet[self.transport] == _ECHO_REQUEST.get(self.protocol)


@dataclass(frozen=True, slots=True)
class Recording:
    """The IP packets of a file, and how many frames it has besides."""

    path: Path
    packets: tuple[RecordedPacket, ...]
    others: int = 0

    @property
    def addresses(self) -> tuple[Address, ...]:
        """All addresses that speak in it, in the order of their first word."""
        return tuple(dict.fromkeys(packet.source for packet in self.packets))


@dataclass(frozen=True, slots=True)
class Ends:
    """Between whom a packet is to go. A port of None stays as it was recorded."""

    source: Address
    target: Address
    source_port: int | None = None
    target_port: int | None = None


def read_recording(path: Path) -> Recording:
    """Read a capture file. Raises ProbeError for one that cannot be read."""
    packets, others = [], 0
    for number, record in enumerate(read_pcap(path, any_link=True), start=1):
        found = read_packet(number, record.time, record.data, record.length)
        if found is None:
            others += 1
        else:
            packets.append(found)
    return Recording(path, tuple(packets), others)


def read_packet(number: int, time: int, frame: bytes, length: int = 0) -> RecordedPacket | None:
    """The IP packet in an Ethernet frame of `length` bytes; None if none can be read."""
    offset, kind = network_offset(frame)
    whole = max(length, len(frame)) - offset
    tags = tuple(struct.unpack_from("!HH", frame, at) for at in range(12, offset - 2, 4))
    data = frame[offset:]
    try:
        if kind == _IPV4:
            return _ipv4(number, time, data, tags, whole)
        if kind == _IPV6:
            return _ipv6(number, time, data, tags, whole)
    except (IndexError, struct.error, ValueError):
        return None
    return None


def between(packet: RecordedPacket, ends: Ends, others: Mapping[Address, Address]) -> bytes:
    """The packet between other ends, all checksums right.

    `others` are the new addresses of recorded ones, for the packets that ICMP errors speak of. Checksums are
    computed anew, since recorded ones are often unfinished; of a fragment, which has only a part of what
    its checksum is of, it is changed by what has changed.
    """
    made = bytearray(packet.packet)
    width = 4 if made[0] >> 4 == 4 else 16
    start = 12 if width == 4 else 8
    before = bytes(made[start : start + 2 * width])
    made[start : start + 2 * width] = ends.source.packed + ends.target.packed
    if width == 4:
        _sum_up_header(made, 0)
    if packet.transport is None:
        return bytes(made)
    at = packet.transport
    if packet.protocol in (TCP, UDP):
        before += bytes(made[at : at + 4])
        if ends.source_port is not None:
            struct.pack_into("!H", made, at, ends.source_port)
        if ends.target_port is not None:
            struct.pack_into("!H", made, at + 2, ends.target_port)
    elif made[at] in _ICMP_ERRORS.get(packet.protocol, ()):
        _readdress_subject(made, at, others)
    _sum_up(made, packet, before)
    return bytes(made)


def as_captured(frame: bytes) -> CapturedPacket:
    """A frame of ours as a capture would show it."""
    return CapturedPacket(0.0, "", "out", frame)


def _ipv4(
    number: int, time: int, data: bytes, tags: tuple[tuple[int, int], ...], whole: int
) -> RecordedPacket | None:
    header = (data[0] & 0xF) * 4
    length, _, fragment = struct.unpack_from("!HHH", data, 2)
    if data[0] >> 4 != 4 or header < 20:
        return None
    length = length or whole  # of a super-frame that was never cut it may be 0
    if length < header:
        return None
    return _made(
        number, time, data[:length], ip_address(data[12:16]), ip_address(data[16:20]), data[9],
        None if fragment & 0x1FFF else header, bool(fragment & 0x3FFF), tags, length > len(data),
    )  # fmt: skip


def _ipv6(
    number: int, time: int, data: bytes, tags: tuple[tuple[int, int], ...], whole: int
) -> RecordedPacket | None:
    if data[0] >> 4 != 6:
        return None
    length = struct.unpack_from("!H", data, 4)[0] + 40
    if length == 40:  # a jumbogram, or a super-frame that was never cut
        length = whole
    packet = data[:length]
    protocol, at, fragment, later = data[6], 40, False, False
    while protocol in (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _OPTIONS) and not later:
        onward = packet[at]
        if protocol == _FRAGMENT:
            fragment, later = True, bool(struct.unpack_from("!H", packet, at + 2)[0] & 0xFFF8)
            at += 8
        else:
            at += 8 + packet[at + 1] * 8
        protocol = onward
    return _made(
        number, time, packet, ip_address(data[8:24]), ip_address(data[24:40]), protocol,
        None if later else at, fragment, tags, length > len(data),
    )  # fmt: skip


def _made(
    number: int, time: int, packet: bytes, source: Address, target: Address, protocol: int,
    transport: int | None, fragment: bool, tags: tuple[tuple[int, int], ...], cut: bool,
) -> RecordedPacket:  # fmt: skip
    ports = (0, 0)
    if transport is not None and protocol in _LEAST:
        if len(packet) < transport + _LEAST[protocol]:
            transport = None  # malformed, perhaps on purpose: it goes as it is
        elif protocol in (TCP, UDP):
            ports = struct.unpack_from("!HH", packet, transport)
    return RecordedPacket(
        number, time, packet, source, target, protocol, transport, fragment, *ports, tags, cut
    )


def _sum_up_header(packet: bytearray, at: int) -> None:
    end = at + (packet[at] & 0xF) * 4
    packet[at + 10 : at + 12] = b"\0\0"
    struct.pack_into("!H", packet, at + 10, checksum(bytes(packet[at:end])))


def _sum_up(made: bytearray, packet: RecordedPacket, before: bytes) -> None:
    """The checksum behind the IP header. `before` are addresses and ports as they were recorded."""
    at, protocol = packet.transport, packet.protocol
    assert at is not None
    if protocol not in _CHECKSUM_AT:
        return
    place = at + _CHECKSUM_AT[protocol]
    if protocol == UDP and made[place : place + 2] == b"\0\0" and made[0] >> 4 == 4:
        return  # its sender did not want one
    if packet.fragment:
        if protocol == ICMP:
            return
        width = 4 if made[0] >> 4 == 4 else 16
        start = 12 if width == 4 else 8
        after = bytes(made[start : start + 2 * width])
        if protocol in (TCP, UDP):
            after += bytes(made[at : at + 4])
        _adjust(made, place, before, after)
        if protocol == UDP and made[place : place + 2] == b"\0\0":
            made[place : place + 2] = b"\xff\xff"
    elif protocol == ICMP:
        made[place : place + 2] = b"\0\0"
        struct.pack_into("!H", made, place, checksum(bytes(made[at:])))
    else:
        struct.pack_into("!H", made, place, transport_checksum(bytes(made), at, protocol))


def _adjust(packet: bytearray, place: int, before: bytes, after: bytes) -> None:
    """Change a checksum by what it is of having changed (RFC 1624)."""
    if place + 2 > len(packet):
        return
    total = ~int.from_bytes(packet[place : place + 2], "big") & 0xFFFF
    for old, new in zip(_words(before), _words(after), strict=True):
        total += (~old & 0xFFFF) + new
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    struct.pack_into("!H", packet, place, ~total & 0xFFFF)


def _words(data: bytes) -> Iterator[int]:
    yield from struct.unpack(f"!{len(data) // 2}H", data)


def _readdress_subject(packet: bytearray, icmp: int, others: Mapping[Address, Address]) -> None:
    """New addresses in the packet that an ICMP error speaks of, and in a redirect."""
    if packet[0] >> 4 == 4 and packet[icmp] == _REDIRECT:
        gateway = ip_address(bytes(packet[icmp + 4 : icmp + 8]))
        packet[icmp + 4 : icmp + 8] = others.get(gateway, gateway).packed
    at = icmp + 8
    version = packet[at] >> 4 if at < len(packet) else 0
    width, start, header = {4: (4, 12, 20), 6: (16, 8, 40)}.get(version, (0, 0, 0))
    if not width or len(packet) < at + header:
        return
    old = bytes(packet[at + start : at + start + 2 * width])
    source, target = ip_address(old[:width]), ip_address(old[width:])
    new = others.get(source, source).packed + others.get(target, target).packed
    packet[at + start : at + start + 2 * width] = new
    protocol = packet[at + 9] if version == 4 else packet[at + 6]
    transport = at + ((packet[at] & 0xF) * 4 if version == 4 else 40)
    if version == 4:
        if (packet[at] & 0xF) < 5 or len(packet) < transport:
            return
        _sum_up_header(packet, at)
    if protocol in (TCP, UDP, ICMPV6):
        place = transport + _CHECKSUM_AT[protocol]
        if protocol != UDP or packet[place : place + 2] != b"\0\0":
            _adjust(packet, place, old, new)


def refuse_what_is_cut(packet: RecordedPacket) -> None:
    """Raises ProbeError for a packet of which only the beginning was recorded."""
    if packet.cut:
        raise ProbeError(
            f"packet {packet.number} was cut short when it was recorded:"
            f" only {len(packet.packet)} bytes of it are there; record whole packets (tcpdump -s 0)"
        )
