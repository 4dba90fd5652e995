"""Captured packets as small typed objects, read when they are first asked for (pure)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address
from typing import TYPE_CHECKING

from pytest_sonemu.handles.frames import icmp_words
from pytest_sonemu.handles.results import Direction, one_line
from pytest_sonemu.handles.wire import VnetHeader, network_offset
from pytest_sonemu.planning.plan import Address

if TYPE_CHECKING:
    from datetime import datetime

_IPV4, _IPV6, _ARP = 0x0800, 0x86DD, 0x0806
_TCP, _UDP, _ICMP, _ICMPV6 = 6, 17, 1, 58
_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
_NAMES = {_TCP: "TCP", _UDP: "UDP", _ICMP: "ICMP", _ICMPV6: "ICMPv6"}


@dataclass(frozen=True, slots=True)
class Ethernet:
    """`tags` are VLAN ids, outermost first; `kind` is the EtherType behind them."""

    source: str
    target: str
    kind: int
    tags: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Ip:
    """An IPv4 or IPv6 header. `ttl` is IPv6's hop limit, `tos` its traffic class; lengths in bytes."""

    version: int
    source: Address
    target: Address
    protocol: int
    ttl: int
    tos: int = 0
    length: int = 0
    ident: int = 0
    dont_fragment: bool = False
    more_fragments: bool = False
    fragment_offset: int = 0


@dataclass(frozen=True, slots=True)
class Tcp:
    """A TCP header. `flags` are the bits as sent; `window` is not scaled; `options` are raw."""

    source_port: int
    target_port: int
    seq: int
    ack: int
    flags: int
    window: int
    options: bytes = b""

    @property
    def flag_names(self) -> tuple[str, ...]:
        """`("SYN", "ACK")`"""
        return tuple(name for bit, name in enumerate(_FLAGS) if self.flags >> bit & 1)

    @property
    def syn(self) -> bool:
        """Whether SYN is set."""
        return bool(self.flags & 0x02)

    @property
    def fin(self) -> bool:
        """Whether FIN is set."""
        return bool(self.flags & 0x01)

    @property
    def rst(self) -> bool:
        """Whether RST is set."""
        return bool(self.flags & 0x04)


@dataclass(frozen=True, slots=True)
class Udp:
    """A UDP header; `length` in bytes, header included."""

    source_port: int
    target_port: int
    length: int


@dataclass(frozen=True, slots=True)
class Icmp:
    """`ident` and `number` are an echo's; `words` says an error in words."""

    version: int
    type: int
    code: int
    ident: int = 0
    number: int = 0

    @property
    def words(self) -> str:
        """Its type and code in words: `"echo request"`, `"port unreachable"`."""
        echoes = {
            (4, 8): "echo request",
            (4, 0): "echo reply",
            (6, 128): "echo request",
            (6, 129): "echo reply",
        }
        return echoes.get((self.version, self.type)) or icmp_words(self.version, self.type, self.code)


@dataclass(frozen=True, slots=True)
class Arp:
    """An ARP packet for IPv4: a request, or an answer."""

    request: bool
    sender_mac: str
    sender: Address
    target_mac: str
    target: Address


@dataclass(frozen=True, repr=False)
class CapturedPacket:
    """One frame as it is on a wire.

    `time` is the kernel's clock in seconds since the epoch. `at` is where it was seen ("fw:input"), and
    `direction` "in" if it went into that endpoint there, "out" if it came out of it. `raw` is the frame
    from its Ethernet header on. Headers that it does not have are None.
    """

    time: float
    at: str
    direction: Direction
    raw: bytes
    nanoseconds: int = field(default=0, compare=False)

    @property
    def length(self) -> int:
        """Bytes of the frame, without the checksum at its end."""
        return len(self.raw)

    @property
    def eth(self) -> Ethernet:
        """The Ethernet header."""
        return self._read[0]

    @property
    def ip(self) -> Ip | None:
        """The IPv4 or IPv6 header; None: it has none."""
        return self._read[1]

    @property
    def tcp(self) -> Tcp | None:
        """The TCP header; None: it has none."""
        found = self._read[2]
        return found if isinstance(found, Tcp) else None

    @property
    def udp(self) -> Udp | None:
        """The UDP header; None: it has none."""
        found = self._read[2]
        return found if isinstance(found, Udp) else None

    @property
    def icmp(self) -> Icmp | None:
        """The ICMP header; None: it has none."""
        found = self._read[2]
        return found if isinstance(found, Icmp) else None

    @property
    def arp(self) -> Arp | None:
        """What it asks or answers in ARP; None: it is something else."""
        found = self._read[2]
        return found if isinstance(found, Arp) else None

    @property
    def payload(self) -> bytes:
        """What is behind the last header that was read."""
        return self._read[3]

    @property
    def when(self) -> datetime:
        """`time` as a date, in UTC."""
        from datetime import datetime, timezone

        return datetime.fromtimestamp(self.time, timezone.utc)

    def summary(self) -> str:
        """`"10.30.0.1:40000 > 10.30.1.2:80 TCP SYN, 74 bytes"`"""
        ip, transport = self.ip, self._read[2]
        if isinstance(transport, Arp):
            asks = f"who has {transport.target}, asks {transport.sender}"
            return f"ARP {asks if transport.request else f'{transport.sender} is at {transport.sender_mac}'}"
        tags = "".join(f"VLAN {tag} " for tag in self.eth.tags)
        if ip is None:
            return (
                f"{tags}{self.eth.source} > {self.eth.target} type {self.eth.kind:#06x}, {self.length} bytes"
            )
        name = _NAMES.get(ip.protocol, f"protocol {ip.protocol}")
        if isinstance(transport, (Tcp, Udp)):
            ends = f"{ip.source}:{transport.source_port} > {ip.target}:{transport.target_port}"
            said = f" {' '.join(transport.flag_names)}" if isinstance(transport, Tcp) else ""
        else:
            ends = f"{ip.source} > {ip.target}"
            said = f" {transport.words}" if isinstance(transport, Icmp) else ""
        return f"{tags}{ends} {name}{said}, {self.length} bytes"

    def __repr__(self) -> str:
        return one_line(f"<{self.when:%H:%M:%S.%f} {self.at} {self.direction}: {self.summary()}>")

    @cached_property
    def _read(self) -> tuple[Ethernet, Ip | None, Tcp | Udp | Icmp | Arp | None, bytes]:
        return decode(self.raw)


@dataclass(frozen=True, slots=True)
class RawFrame:
    """A frame as the kernel handed it over: perhaps a super-frame, checksums perhaps left open.

    `length` is that of the frame, of which `data` holds the beginning where it is not `whole`.
    """

    nanoseconds: int
    index: int
    outgoing: bool
    data: bytes
    vnet: VnetHeader
    tag: tuple[int, int] | None
    whole: bool
    length: int


def decode(raw: bytes) -> tuple[Ethernet, Ip | None, Tcp | Udp | Icmp | Arp | None, bytes]:
    """The headers of a frame, and what is behind the last one that could be read."""
    offset, kind = network_offset(raw)
    tags = tuple(int.from_bytes(raw[at : at + 2], "big") & 0xFFF for at in range(14, offset, 4))
    ethernet = Ethernet(raw[6:12].hex(":"), raw[:6].hex(":"), kind, tags)
    data = raw[offset:]
    try:
        if kind == _IPV4:
            ip, behind = _ipv4(data)
        elif kind == _IPV6:
            ip, behind = _ipv6(data)
        elif kind == _ARP and data[:6] == b"\0\x01\x08\0\x06\x04":
            return ethernet, None, _arp(data), data[28:]
        else:
            return ethernet, None, None, data
    except (IndexError, struct.error, ValueError):
        return ethernet, None, None, data
    if ip.fragment_offset:
        return ethernet, ip, None, behind
    try:
        return ethernet, ip, *_transport(ip, behind)
    except (IndexError, struct.error):
        return ethernet, ip, None, behind


def _ipv4(data: bytes) -> tuple[Ip, bytes]:
    header = (data[0] & 0xF) * 4
    length, ident, fragment = struct.unpack_from("!HHH", data, 2)
    ip = Ip(
        4, ip_address(data[12:16]), ip_address(data[16:20]), data[9], data[8], data[1], length, ident,
        bool(fragment & 0x4000), bool(fragment & 0x2000), (fragment & 0x1FFF) * 8,
    )  # fmt: skip
    return ip, data[header : length or None]


def _ipv6(data: bytes) -> tuple[Ip, bytes]:
    word, length = struct.unpack_from("!IH", data)
    ip = Ip(
        6, ip_address(data[8:24]), ip_address(data[24:40]), data[6], data[7], word >> 20 & 0xFF, length + 40
    )
    return ip, data[40 : 40 + length if length else None]


def _arp(data: bytes) -> Arp:
    sender, target = ip_address(data[14:18]), ip_address(data[24:28])
    return Arp(data[7] == 1, data[8:14].hex(":"), sender, data[18:24].hex(":"), target)


def _transport(ip: Ip, data: bytes) -> tuple[Tcp | Udp | Icmp | None, bytes]:
    if ip.protocol == _TCP:
        source, target, seq, ack, length, flags, window = struct.unpack_from("!HHIIBBH", data)
        header = (length >> 4) * 4
        return Tcp(source, target, seq, ack, flags, window, data[20:header]), data[header:]
    if ip.protocol == _UDP:
        source, target, size = struct.unpack_from("!HHH", data)
        return Udp(source, target, size), data[8:]
    if ip.protocol in (_ICMP, _ICMPV6):
        version = 4 if ip.protocol == _ICMP else 6
        kind, code, _, ident, number = struct.unpack_from("!BBHHH", data)
        echo = kind in ((0, 8) if version == 4 else (128, 129))
        return Icmp(version, kind, code, ident if echo else 0, number if echo else 0), data[8:]
    return None, data
