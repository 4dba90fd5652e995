"""A reader of pcap files that believes nothing: it shares no line with the code that wrote them.

It reads the format by itself, and adds up every checksum word by word as RFC 1071 says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

LARGEST = 1514


def verify(path: Path, largest: int = LARGEST) -> Counter[str]:
    """How many frames of each kind a file has; AssertionError for one too long or with a false checksum."""
    kinds: Counter[str] = Counter()
    for number, (data, length) in enumerate(frames(path), start=1):
        where = f"frame {number} of {path.name}"
        assert len(data) == length <= largest, f"{where} has {len(data)} of {length} bytes"
        kinds[_verify_frame(data, where)] += 1
    return kinds


def frames(path: Path) -> Iterator[tuple[bytes, int]]:
    """The frames of a classic pcap file in this machine's byte order, and their lengths on the wire."""
    content = path.read_bytes()
    magic = int.from_bytes(content[:4], "little")
    assert magic in (0xA1B2C3D4, 0xA1B23C4D), hex(magic)
    assert int.from_bytes(content[20:24], "little") == 1, "not Ethernet"
    at, before = 24, 0
    while at < len(content):
        seconds, parts, kept, length = (
            int.from_bytes(content[at + 4 * k : at + 4 * k + 4], "little") for k in range(4)
        )
        assert parts < (10**9 if magic == 0xA1B23C4D else 10**6)
        assert at + 16 + kept <= len(content)
        moment = seconds * 10**9 + parts
        assert moment >= before - 10**9, "time runs backwards"
        before = moment
        yield content[at + 16 : at + 16 + kept], length
        at += 16 + kept


def _verify_frame(data: bytes, where: str) -> str:
    kind, at = int.from_bytes(data[12:14], "big"), 14
    while kind in (0x8100, 0x88A8):
        kind, at = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
    if kind == 0x0800:
        return _verify_ipv4(data[at:], where)
    if kind == 0x86DD:
        return _verify_ipv6(data[at:], where)
    return "other"


def _verify_ipv4(packet: bytes, where: str) -> str:
    header = (packet[0] % 16) * 4
    total = int.from_bytes(packet[2:4], "big")
    assert packet[0] // 16 == 4
    assert header >= 20
    assert total <= len(packet), f"{where}: {total} bytes of IP in {len(packet)}"
    assert _sum(packet[:header]) == 0xFFFF, f"{where}: IP checksum"
    body, protocol = packet[header:total], packet[9]
    if int.from_bytes(packet[6:8], "big") & 0x3FFF:
        return "fragment"
    if protocol == 1:
        assert _sum(body) == 0xFFFF, f"{where}: ICMP checksum"
        return "icmp"
    pseudo = packet[12:20] + bytes([0, protocol]) + len(body).to_bytes(2, "big")
    return _verify_transport(body, protocol, pseudo, where)


def _verify_ipv6(packet: bytes, where: str) -> str:
    length, protocol = int.from_bytes(packet[4:6], "big"), packet[6]
    assert packet[0] // 16 == 6
    assert length + 40 <= len(packet), f"{where}: {length} bytes of payload in {len(packet)}"
    body = packet[40 : 40 + length]
    pseudo = packet[8:40] + length.to_bytes(4, "big") + bytes([0, 0, 0, protocol])
    if protocol == 58:
        assert _sum(pseudo + body) == 0xFFFF, f"{where}: ICMPv6 checksum"
        return "icmp6"
    return _verify_transport(body, protocol, pseudo, where) + "6"


def _verify_transport(body: bytes, protocol: int, pseudo: bytes, where: str) -> str:
    if protocol == 6:
        assert _sum(pseudo + body) == 0xFFFF, f"{where}: TCP checksum"
        return "tcp"
    if protocol == 17:
        assert int.from_bytes(body[4:6], "big") == len(body), f"{where}: UDP length"
        if body[6:8] != b"\0\0":
            assert _sum(pseudo + body) == 0xFFFF, f"{where}: UDP checksum"
        return "udp"
    return "ip"


def _sum(data: bytes) -> int:
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total
