"""From what a packet socket hands over to frames as they would be on a wire (pure).

Between two ends of a veth pair a TCP stream travels as super-frames of up to 64 KB, with checksums
left for hardware to fill in. The vnet header in front of such a frame says what hardware would do.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

VNET_HEADER = struct.Struct("=BBHHHH")
_NEEDS_CHECKSUM = 1
_NOT_CUT, _TCP4, _TCP6, _UDP, _ECN = 0, 1, 4, 5, 0x80
_TAGS = (0x8100, 0x88A8, 0x9100)
_IPV4, _IPV6 = 0x0800, 0x86DD
_TCP_PROTOCOL, _UDP_PROTOCOL, _ICMPV6_PROTOCOL = 6, 17, 58
_FIN_PSH, _CWR = 0x09, 0x80
_UDP_CHECKSUM = 6


@dataclass(frozen=True, slots=True)
class VnetHeader:
    """What was left to hardware: checksums from `checksum_start` on, cutting into pieces of `piece` bytes."""

    flags: int = 0
    kind: int = 0
    header_length: int = 0
    piece: int = 0
    checksum_start: int = 0
    checksum_offset: int = 0


def with_tag(data: bytes, tag: tuple[int, int] | None) -> bytes:
    """A frame with the (EtherType, TCI) that the kernel took off it put back."""
    return data if tag is None else data[:12] + struct.pack("!HH", *tag) + data[12:]


def wire_frames(data: bytes, vnet: VnetHeader, tag: tuple[int, int] | None = None) -> list[bytes]:
    """The frame, or the frames, that would cross a wire: tag put back, cut, checksums filled in.

    `data` must be whole. What cannot be read is handed back as it is.
    """
    framed = with_tag(data, tag)
    kind = vnet.kind & ~_ECN
    if kind in (_TCP4, _TCP6, _UDP) and vnet.piece:
        return _cut(framed, vnet.piece) or [framed]
    if vnet.flags & _NEEDS_CHECKSUM:
        start = vnet.checksum_start + (len(framed) - len(data))
        return [_filled(framed, start, vnet.checksum_offset)]
    return [framed]


def wire_beginnings(
    data: bytes, vnet: VnetHeader, tag: tuple[int, int] | None, length: int
) -> list[tuple[bytes, int]]:
    """As `wire_frames` for a frame of `length` bytes of which only the beginning is known.

    Each with its length on the wire: the first piece with what is known of its content, the others with
    their headers alone. Checksums of what is not whole stay open.
    """
    known, extra = with_tag(data, tag), 0 if tag is None else 4
    kind = vnet.kind & ~_ECN
    pieces = []
    if kind in (_TCP4, _TCP6, _UDP) and vnet.piece and vnet.header_length:
        # Of zeros, so that headers come out right; what is added is cut off again.
        pieces = _cut(known + bytes(length + extra - len(known)), vnet.piece, sums=False)
    if not pieces:
        return [(known, length + extra)]
    head = len(pieces[0]) - min(vnet.piece, length - vnet.header_length)
    first = max(head, min(len(known), len(pieces[0])))
    return [(pieces[0][:first], len(pieces[0])), *((each[:head], len(each)) for each in pieces[1:])]


def framed(target: str, source: str, tags: Iterable[tuple[int, int]], packet: bytes) -> bytes:
    """An Ethernet frame around an IP packet; tags are (EtherType, TCI), outermost first."""
    head = bytes.fromhex((target + source).replace(":", ""))
    kind = _IPV4 if packet[0] >> 4 == 4 else _IPV6
    return head + b"".join(struct.pack("!HH", *tag) for tag in tags) + struct.pack("!H", kind) + packet


def cut_to_fit(frame: bytes, mtu: int) -> list[bytes]:
    """The pieces of a TCP super-frame whose IP packets have at most `mtu` bytes; none if it is none."""
    offset, kind = network_offset(frame)
    transport = offset + ((frame[offset] & 0xF) * 4 if kind == _IPV4 else 40)
    protocol = frame[offset + 9] if kind == _IPV4 else frame[offset + 6]
    if protocol != _TCP_PROTOCOL:
        return []
    header = transport - offset + (frame[transport + 12] >> 4) * 4
    return _cut(frame, mtu - header) if mtu > header else []


def checksum(data: bytes) -> int:
    """The Internet checksum: the complement of the 16-bit one's complement sum."""
    # A number modulo 2^16 - 1 is its one's complement sum, but for the two ways to write zero.
    padded = data if len(data) % 2 == 0 else data + b"\0"
    left = int.from_bytes(padded, "big") % 0xFFFF
    return 0xFFFF - left if left or not any(padded) else 0


def network_offset(frame: bytes) -> tuple[int, int]:
    """Where the packet in a frame begins, behind all tags, and its EtherType."""
    offset, kind = 14, int.from_bytes(frame[12:14], "big")
    while kind in _TAGS and len(frame) >= offset + 4:
        kind = int.from_bytes(frame[offset + 2 : offset + 4], "big")
        offset += 4
    return offset, kind


def transport_checksum(packet: bytes, transport: int, protocol: int) -> int:
    """The checksum that belongs into the TCP, UDP or ICMPv6 header at `transport` of an IP packet.

    It is computed as if the field held zeros.
    """
    body = packet[transport:]
    place = {_TCP_PROTOCOL: 16, _ICMPV6_PROTOCOL: 2}.get(protocol, _UDP_CHECKSUM)
    zeroed = body[:place] + b"\0\0" + body[place + 2 :]
    addresses = packet[12:20] if packet[0] >> 4 == 4 else packet[8:40]
    result = checksum(addresses + struct.pack("!II", protocol, len(body)) + zeroed)
    return 0xFFFF if protocol == _UDP_PROTOCOL and result == 0 else result


def _filled(frame: bytes, start: int, offset: int) -> bytes:
    """The field holds the sum of the pseudo-header; the rest is added here."""
    if start + offset + 2 > len(frame):
        return frame
    result = checksum(frame[start:])
    if offset == _UDP_CHECKSUM and result == 0:
        result = 0xFFFF
    return frame[: start + offset] + struct.pack("!H", result) + frame[start + offset + 2 :]


def _cut(frame: bytes, piece: int, *, sums: bool = True) -> list[bytes]:
    """The pieces of a super-frame; none if it is nothing that can be cut."""
    offset, kind = network_offset(frame)
    packet = frame[offset:]
    try:
        if kind == _IPV4:
            transport, protocol = (packet[0] & 0xF) * 4, packet[9]
        elif kind == _IPV6:
            transport, protocol = 40, packet[6]
        else:
            return []
        if protocol == _TCP_PROTOCOL:
            header = transport + (packet[transport + 12] >> 4) * 4
        elif protocol == _UDP_PROTOCOL:
            header = transport + 8
        else:
            return []
    except IndexError:
        return []
    head, payload = packet[:header], packet[header:]
    return [
        frame[:offset] + _piece(head, transport, protocol, payload, at, piece, sums=sums)
        for at in range(0, len(payload), piece)
    ]


def _piece(
    head: bytes, transport: int, protocol: int, payload: bytes, at: int, size: int, *, sums: bool
) -> bytes:
    """One piece as the kernel, or hardware, would have cut it: an IP packet."""
    part = payload[at : at + size]
    packet = bytearray(head + part)
    if packet[0] >> 4 == 4:
        ident = (int.from_bytes(head[4:6], "big") + at // size) & 0xFFFF
        struct.pack_into("!HH", packet, 2, len(packet), ident)
        packet[10:12] = b"\0\0"
        struct.pack_into("!H", packet, 10, checksum(bytes(packet[:transport])))
    else:
        struct.pack_into("!H", packet, 4, len(packet) - 40)
    if protocol == _TCP_PROTOCOL:
        seq = int.from_bytes(head[transport + 4 : transport + 8], "big")
        struct.pack_into("!I", packet, transport + 4, (seq + at) & 0xFFFFFFFF)
        if at + size < len(payload):
            packet[transport + 13] &= ~_FIN_PSH & 0xFF
        if at:
            packet[transport + 13] &= ~_CWR & 0xFF
        place = transport + 16
    else:
        struct.pack_into("!H", packet, transport + 4, 8 + len(part))
        place = transport + _UDP_CHECKSUM
    if sums:
        struct.pack_into("!H", packet, place, transport_checksum(bytes(packet), transport, protocol))
    return bytes(packet)
