"""Frames with a vnet header: what is in them, and TCP's and UDP's super-frames cut into wire frames.

A kernel hands over up to 64 KB of one connection as one frame, to be cut by hardware that a veth pair does
not have, with its checksum still to be done. The vnet header (10 bytes, native byte order, before the frame)
says so: flags, kind, header length, bytes per segment, where the checksum starts and where it goes.

The relay cuts super-frames itself, where something on a flow's way acts on single frames, and leaves the
interfaces of VNFs alone: they need no change while running, the way to the relay stays cheap, and the kinds
that `gso_max_segs` would cut for every flow of an interface are cut for the impaired one only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

VNET = struct.Struct("=BBHHHH")
NO_VNET = VNET.pack(0, 0, 0, 0, 0, 0)
NEEDS_CHECKSUM = 1
GSO_NONE, GSO_TCP4, GSO_UDP_FRAGMENTS, GSO_TCP6, GSO_UDP, GSO_ECN = 0, 1, 3, 4, 5, 0x80

_ETHERNET = 14
_BEFORE = VNET.size
_TYPE_AT = _BEFORE + 12
_IP4, _IP6 = 0x0800, 0x86DD
_TAGS = (0x8100, 0x88A8)
_IGMP, _TCP, _UDP, _ICMP6 = 2, 6, 17, 58
_HOP_BY_HOP, _DESTINATION_OPTIONS = 0, 60
_FIN_PSH, _CWR = 0x09, 0x80


def with_tag(data: bytes, tag_type: int, tag: int) -> bytes:
    """Put a VLAN tag back that the kernel had taken out and reported beside the frame."""
    flags, kind, header, size, start, offset = VNET.unpack_from(data)
    if flags & NEEDS_CHECKSUM:
        start = start + 4 & 0xFFFF
    if kind:
        header = header + 4 & 0xFFFF
    inner = _BEFORE + 12
    tagged = struct.pack("!HH", tag_type, tag)
    return VNET.pack(flags, kind, header, size, start, offset) + data[_BEFORE:inner] + tagged + data[inner:]


def network_header(data: bytes) -> tuple[int, int]:
    """EtherType behind all tags, and where (from the start of `data`) its header starts."""
    at = _TYPE_AT
    while len(data) >= at + 2:
        kind = data[at] << 8 | data[at + 1]
        at += 2
        if kind not in _TAGS:
            return kind, at
        at += 2
    return 0, len(data)


def kind_of(data: bytes) -> int:
    """0 for an IP packet; 1 for the rest, with neighbour discovery and group membership, which kernels send
    whenever it suits them."""
    kind, at = network_header(data)
    if kind == _IP4:
        return int(len(data) < at + 20 or data[at + 9] == _IGMP)
    if kind != _IP6 or len(data) < at + 40:
        return 1
    upper, at = data[at + 6], at + 40
    if upper == _HOP_BY_HOP and len(data) >= at + 8:
        upper, at = data[at], at + 8 * (data[at + 1] + 1)
    if upper != _ICMP6 or len(data) <= at:
        return 0
    return int(130 <= data[at] <= 137 or data[at] == 143)


def wire_size(data: bytes) -> tuple[int, int]:
    """Layer-2 bytes and number of the wire frames in a frame."""
    length = len(data) - _BEFORE
    flags, kind, _, size, start, _ = VNET.unpack_from(data)
    if not kind or not size or not flags & NEEDS_CHECKSUM:
        return length, 1
    header = _header_length(data, kind, start)
    payload = length - header
    if header <= 0 or payload <= size:
        return length, 1
    segments = -(-payload // size)
    return length + (segments - 1) * header, segments


def cut(data: bytes) -> Iterator[bytes]:
    """The wire frames of a frame, each with a vnet header that leaves the checksum to be done.

    A frame that is none, or of a kind that cannot be cut, comes back as it is: so does one of a tunnel,
    whose vnet header speaks of the inner TCP.
    """
    flags, kind, _, size, start, offset = VNET.unpack_from(data)
    header = _header_length(data, kind, start) if kind and size and flags & NEEDS_CHECKSUM else 0
    total = len(data) - _BEFORE
    ethertype, network = network_header(data)
    transport = _BEFORE + start
    tcp = kind & ~GSO_ECN != GSO_UDP
    plain = (
        header
        and start + offset + 2 <= header
        and _leads_to(data, ethertype, network, transport, _TCP if tcp else _UDP)
    )
    if not plain or total - header <= size:
        yield data
        return
    vnet = VNET.pack(flags, GSO_NONE, 0, 0, start, offset)
    heads = bytearray(data[_BEFORE : _BEFORE + header])
    network -= _BEFORE
    transport -= _BEFORE
    first_id = int.from_bytes(heads[network + 4 : network + 6], "big")
    sequence = int.from_bytes(heads[transport + 4 : transport + 8], "big") if tcp else 0
    marks = heads[transport + 13] if tcp else 0
    addresses = _addresses(heads, ethertype, network)
    for number, position in enumerate(range(header, total, size)):
        payload = data[_BEFORE + position : _BEFORE + min(position + size, total)]
        upper = header - transport + len(payload)
        if ethertype == _IP4:
            _set_word(heads, network + 2, header - network + len(payload))
            _set_word(heads, network + 4, (first_id + number) & 0xFFFF)
            _set_word(heads, network + 10, 0)
            _set_word(
                heads, network + 10, ~_sum(heads[network : network + 4 * (heads[network] & 15)]) & 0xFFFF
            )
        else:
            _set_word(heads, network + 4, header - network - 40 + len(payload))
        if tcp:
            heads[transport + 4 : transport + 8] = ((sequence + position - header) & 0xFFFFFFFF).to_bytes(
                4, "big"
            )
            mark = marks & ~_CWR if number else marks
            heads[transport + 13] = mark if position + size >= total else mark & ~_FIN_PSH
        else:
            _set_word(heads, transport + 4, upper)
        pseudo = addresses + struct.pack("!HH", _TCP if tcp else _UDP, upper)
        _set_word(heads, transport + offset, _sum(pseudo))
        yield vnet + heads + payload


def corrupted(data: bytes, place: int) -> bytes:
    """A copy with one bit behind the Ethernet header flipped; `place` is 64 random bits that say which.

    Its checksum is made whole first: the receiver would not look at one that is still to be done.
    """
    first = _BEFORE + _ETHERNET
    if len(data) <= first:
        return data
    frame = bytearray(data)
    flags, _, _, _, start, offset = VNET.unpack_from(data)
    if flags & NEEDS_CHECKSUM and _BEFORE + start + offset + 2 <= len(data):
        total = ~_sum(frame[_BEFORE + start :]) & 0xFFFF
        _set_word(frame, _BEFORE + start + offset, total or 0xFFFF)
    frame[:_BEFORE] = NO_VNET
    bit = place % ((len(data) - first) * 8)
    frame[first + bit // 8] ^= 1 << bit % 8
    return bytes(frame)


def _header_length(data: bytes, kind: int, start: int) -> int:
    """All headers up to the payload, as the frame itself says (the vnet header has a hint); 0: no sense."""
    if kind & ~GSO_ECN == GSO_UDP:
        header = start + 8
    elif kind & ~GSO_ECN in (GSO_TCP4, GSO_TCP6) and _BEFORE + start + 20 <= len(data):
        words = data[_BEFORE + start + 12] >> 4
        header = start + 4 * words if words >= 5 else 0
    else:
        return 0
    return header if start >= _ETHERNET + 20 and _BEFORE + header <= len(data) else 0


def _leads_to(data: bytes, ethertype: int, network: int, transport: int, protocol: int) -> bool:
    """Whether a transport header of this protocol follows the IP header at `network` at once, or behind
    options only that leave its checksum alone."""
    if ethertype == _IP4:
        at = network + 4 * (data[network] & 15) if network + 20 <= transport else 0
        return at == transport and data[network + 9] == protocol
    if ethertype != _IP6 or network + 40 > transport:
        return False
    upper, at = data[network + 6], network + 40
    while at + 8 <= transport and upper in (_HOP_BY_HOP, _DESTINATION_OPTIONS):
        upper, at = data[at], at + 8 * (data[at + 1] + 1)
    return at == transport and upper == protocol


def _addresses(heads: bytearray, ethertype: int, network: int) -> bytes:
    return bytes(
        heads[network + 12 : network + 20] if ethertype == _IP4 else heads[network + 8 : network + 40]
    )


def _set_word(frame: bytearray, at: int, value: int) -> None:
    frame[at] = value >> 8
    frame[at + 1] = value & 0xFF


def _sum(data: bytes | bytearray) -> int:
    """The Internet checksum's sum, folded to 16 bits."""
    if len(data) % 2:
        data = bytes(data) + b"\0"
    # A number in base 65536 modulo 65535 is the sum of its digits, carried round: what the checksum asks for.
    value = int.from_bytes(data, "big")
    return value % 0xFFFF or (0xFFFF if value else 0)
