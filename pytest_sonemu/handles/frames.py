"""What a probe reads in a frame: addresses, ports, the numbers by which it knows its own packets (pure)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address

from pytest_sonemu.planning.plan import Address

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
SYN, RST, ACK = 0x02, 0x04, 0x10
_IPV4, _IPV6, _ARP, _TAGS = 0x0800, 0x86DD, 0x0806, (0x8100, 0x88A8, 0x9100)
_ICMP_ERRORS, _ICMPV6_ERRORS = {3, 4, 5, 11, 12}, {1, 2, 3, 4}

_UNREACHABLE = {
    0: "net unreachable",
    1: "host unreachable",
    2: "protocol unreachable",
    3: "port unreachable",
    4: "fragmentation needed",
    6: "net unknown",
    7: "host unknown",
    9: "net prohibited",
    10: "host prohibited",
    13: "administratively prohibited",
}
_UNREACHABLE_V6 = {
    0: "no route",
    1: "administratively prohibited",
    2: "beyond scope",
    3: "address unreachable",
    4: "port unreachable",
    5: "policy failed",
    6: "route rejected",
}


@dataclass(frozen=True, slots=True)
class Packet:
    """The headers of an IP packet, as far as probes need them.

    `seq`, `ack` and `flags` are TCP's; `payload` is UDP's, as much of it as was seen. `icmp` is what an
    ICMP error says in words, `about` the packet it speaks of.
    """

    source: Address
    target: Address
    protocol: int
    source_port: int = 0
    target_port: int = 0
    seq: int = 0
    ack: int = 0
    flags: int = 0
    payload: bytes = b""
    icmp: str = ""
    about: Packet | None = None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A question for a neighbour's MAC (ARP, or IPv6's solicitation), or its answer."""

    address: Address
    answer: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame seen at an outer end. `inward`: it went into the endpoint behind `outer`.

    `time` is the kernel's clock in seconds since the epoch; `tags` are VLAN ids, outermost first.
    """

    outer: str
    inward: bool
    time: float
    destination_mac: str
    source_mac: str
    tags: tuple[int, ...]
    content: Packet | Neighbour | None


def parse(data: bytes, outer: str, inward: bool, time: float, tag: int | None = None) -> Frame:
    """Read a frame from its Ethernet header on. `tag` is the VLAN id that the kernel took off it."""
    tags = [tag] if tag is not None else []
    offset, kind = 14, int.from_bytes(data[12:14], "big")
    while kind in _TAGS:
        tags.append(int.from_bytes(data[offset : offset + 2], "big") & 0xFFF)
        kind = int.from_bytes(data[offset + 2 : offset + 4], "big")
        offset += 4
    content = _content(kind, data[offset:])
    return Frame(outer, inward, time, data[:6].hex(":"), data[6:12].hex(":"), tuple(tags), content)


def _content(kind: int, data: bytes) -> Packet | Neighbour | None:
    try:
        if kind == _IPV4:
            return ipv4(data)
        if kind == _IPV6:
            return ipv6(data)
        if kind == _ARP and data[:6] == b"\0\x01\x08\0\x06\x04":
            answer = data[7] == 2
            return Neighbour(ip_address(data[14:18] if answer else data[24:28]), answer)
    except (IndexError, struct.error, ValueError):
        return None  # cut short or malformed: a frame that was seen, and says nothing
    return None


def ipv4(data: bytes) -> Packet:
    """Read an IPv4 packet. Raises IndexError, struct.error or ValueError if it is cut short."""
    header = (data[0] & 0xF) * 4
    source, target = ip_address(data[12:16]), ip_address(data[16:20])
    if data[9] == ICMP:
        return _icmp(source, target, data[header:])
    return _transport(source, target, data[9], data[header:])


def ipv6(data: bytes) -> Packet | Neighbour:
    """Read an IPv6 packet without extension headers; raises as `ipv4` does."""
    source, target = ip_address(data[8:24]), ip_address(data[24:40])
    if data[6] == ICMPV6:
        return _icmpv6(source, target, data[40:])
    return _transport(source, target, data[6], data[40:])


def _transport(source: Address, target: Address, protocol: int, data: bytes) -> Packet:
    if protocol == TCP:
        # Of a packet inside an ICMP error only the first 8 bytes may be there.
        source_port, target_port, seq = struct.unpack_from("!HHI", data)
        ack, flags = (struct.unpack_from("!I", data, 8)[0], data[13]) if len(data) >= 14 else (0, 0)
        return Packet(source, target, protocol, source_port, target_port, seq, ack, flags)
    if protocol == UDP:
        source_port, target_port = struct.unpack_from("!HH", data)
        return Packet(source, target, protocol, source_port, target_port, payload=data[8:])
    return Packet(source, target, protocol)


def _icmp(source: Address, target: Address, data: bytes) -> Packet:
    if data[0] in _ICMP_ERRORS:
        return Packet(source, target, ICMP, icmp=icmp_words(4, data[0], data[1]), about=ipv4(data[8:]))
    return _echo(source, target, ICMP, data)


def _icmpv6(source: Address, target: Address, data: bytes) -> Packet | Neighbour:
    if data[0] in _ICMPV6_ERRORS:
        about = ipv6(data[8:])
        words = icmp_words(6, data[0], data[1])
        return Packet(source, target, ICMPV6, icmp=words, about=about if isinstance(about, Packet) else None)
    if data[0] in (135, 136):
        return Neighbour(ip_address(data[8:24]), answer=data[0] == 136)
    return _echo(source, target, ICMPV6, data)


def _echo(source: Address, target: Address, protocol: int, data: bytes) -> Packet:
    """An echo's id and number stand where other packets have their ports."""
    ident, number = struct.unpack_from("!HH", data, 4)
    return Packet(source, target, protocol, ident, number, payload=data[8:])


def icmp_words(version: int, kind: int, code: int) -> str:
    """An ICMP error in words: "port unreachable"."""
    if version == 6:
        known = {2: "packet too big", 3: "hop limit exceeded", 4: "parameter problem"}
        if kind == 1:
            return _UNREACHABLE_V6.get(code, f"unreachable ({code})")
        return known.get(kind, f"ICMPv6 {kind}/{code}")
    known = {4: "source quench", 5: "redirect", 11: "time to live exceeded", 12: "parameter problem"}
    if kind == 3:
        return _UNREACHABLE.get(code, f"unreachable ({code})")
    return known.get(kind, f"ICMP {kind}/{code}")
