"""Frames as on a wire, the filter language, capture files and their comparison."""

from __future__ import annotations

import struct
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sonemu.errors import NotFoundError, ProbeError, SettingsError
from pytest_sonemu.handles import filter_program, filters
from pytest_sonemu.handles.golden import compare
from pytest_sonemu.handles.packet_list import Packets
from pytest_sonemu.handles.packets import CapturedPacket, decode
from pytest_sonemu.handles.pcap import Record, read_pcap, write_pcap
from pytest_sonemu.handles.wire import VnetHeader, checksum, transport_checksum, wire_frames

MACS = bytes.fromhex("020000000002020000000001")
A4, B4 = ip_address("10.0.0.1"), ip_address("10.0.0.2")
A6, B6 = ip_address("fd00::1"), ip_address("fd00::2")


def ip4(protocol: int, body: bytes, fragment: int = 0) -> bytes:
    head = (
        struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 7, fragment, 64, protocol, 0)
        + A4.packed
        + B4.packed
    )
    return MACS + b"\x08\x00" + head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def ip6(protocol: int, body: bytes) -> bytes:
    return (
        MACS
        + b"\x86\xdd"
        + struct.pack("!IHBB", 6 << 28, len(body), protocol, 64)
        + A6.packed
        + B6.packed
        + body
    )


def tcp(source: int = 4000, target: int = 80, flags: int = 0x10, payload: bytes = b"", seq: int = 1) -> bytes:
    return struct.pack("!HHIIBBHHH", source, target, seq, 0, 5 << 4, flags, 1000, 0, 0) + payload


def udp(source: int = 4000, target: int = 53, payload: bytes = b"") -> bytes:
    return struct.pack("!HHHH", source, target, 8 + len(payload), 0) + payload


def tagged(frame: bytes, tag: int, kind: int = 0x8100) -> bytes:
    return frame[:12] + struct.pack("!HH", kind, tag) + frame[12:]


SYN = ip4(6, tcp(flags=2))
DNS = ip4(17, udp())
ARP = MACS + b"\x08\x06" + bytes.fromhex("0001080006040001") + MACS[6:] + A4.packed + bytes(6) + B4.packed
EVERY = {
    "syn": SYN, "dns": DNS, "arp": ARP, "six": ip6(6, tcp(target=443)), "vlan": tagged(SYN, 7),
    "qinq": tagged(tagged(SYN, 9), 7, 0x88A8), "late": ip4(17, udp(), fragment=3),
    "private": MACS + b"\x88\xb5" + b"x" * 60,
    "ping": ip4(1, b"\x08\0\0\0\0\1\0\1"), "ping6": ip6(58, b"\x80\0\0\0\0\1\0\1"),
    "short": MACS + b"\x08\x00\x45",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "syn dns arp six vlan qinq late private ping ping6 short"),
        ("tcp", "syn six vlan qinq"),
        ("tcp port 80", "syn vlan qinq"),
        ("port 80 or 53", None),
        ("port 80 or port 53", "syn dns vlan qinq"),
        ("tcp dst port 4000", ""),
        ("src port 4000 and udp", "dns"),
        ("udp", "dns late"),
        ("tcp portrange 400-500", "six"),
        ("host 10.0.0.2 and not tcp", "dns arp late ping"),
        ("src host 10.0.0.2", ""),
        ("dst net 10.0.0.0/24 and syn", "syn vlan qinq"),
        ("net fd00::/64", "six ping6"),
        ("host fd00::3", ""),
        ("ip6 and dst host fd00::2", "six ping6"),
        ("arp or icmp", "arp ping ping6"),
        ("icmp6", "ping6"),
        ("ip and icmp", "ping"),
        ("vlan", "vlan qinq"),
        ("vlan 7", "vlan qinq"),
        ("vlan 9", ""),
        ("ether proto 0x88b5", "private"),
        ("ether src host 02:00:00:00:00:01 and arp", "arp"),
        ("ether dst host 02:00:00:00:00:01", ""),
        ("tcp syn and not (vlan or ip6)", "syn"),
        ("greater 60", "private six qinq ping6"),
        ("less 50 and icmp", "ping"),
        ("!ip && !arp && !ip6", "private"),
        ("host web", "dns syn vlan qinq late ping arp"),
    ],
)
def test_what_a_filter_takes(text: str, wanted: str | None) -> None:
    def resolve(name: str) -> list[object]:
        assert name == "web"
        return [B4]

    if wanted is None:
        with pytest.raises(ProbeError, match="a condition expected instead of '53'"):
            filters.parse(text)
        return
    program = filter_program.kernel_program(filters.parse(text, resolve))  # type: ignore[arg-type]
    # A frame that is cut short fits only what asks for nothing in it.
    assert {name for name, frame in EVERY.items() if filter_program.accepts(program, frame)} == set(
        wanted.split()
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tcp prot 80", "did you mean 'port'"),
        ("(tcp", "'\\)' expected instead of its end"),
        ("port http", "a port expected instead of 'http'"),
        ("portrange 9-3", "a range of ports"),
        ("host", "more expected instead of its end"),
        ("net x/3", "a network"),
        ("ether host 1:2", "a MAC address"),
        ("tcp)", "and, or expected"),
        ("vlan 7 foo", "'foo'"),
    ],
)
def test_what_a_filter_cannot_be(text: str, said: str) -> None:
    with pytest.raises(ProbeError, match=said):
        filters.parse(text)


def sound(frame: bytes) -> bool:
    """Whether the checksums of a frame's IPv4 and TCP or UDP headers are right."""
    packet, protocol, at = (
        (frame[14:], frame[23], 20) if frame[12:14] == b"\x08\x00" else (frame[14:], frame[20], 40)
    )
    place = at + (16 if protocol == 6 else 6)
    right = struct.unpack_from("!H", packet, place)[0] == transport_checksum(packet, at, protocol)
    return right and (at == 40 or checksum(packet[:20]) == 0)


@settings(deadline=None)
@given(st.integers(1, 4000), st.integers(100, 1460), st.booleans(), st.sampled_from([0x11, 0x18, 0x19, 0x98]))
def test_a_super_frame_is_cut_into_what_a_wire_carries(size: int, piece: int, six: bool, flags: int) -> None:
    payload = bytes(number % 251 for number in range(size))
    make = ip6 if six else ip4
    frame = make(6, tcp(flags=flags, payload=payload, seq=0xFFFFFF00))
    pieces = wire_frames(frame, VnetHeader(1, 4 if six else 1, 54, piece, 54 if six else 34, 16))
    read = [decode(each) for each in pieces]
    assert b"".join(payload for *_, payload in read) == payload
    assert all(map(sound, pieces))
    assert all(len(part) == piece for *_, part in read[:-1])
    headers = [transport for _, _, transport, _ in read]
    at = 0xFFFFFF00
    for number, ((_, ip, header, part), last) in enumerate(
        zip(read, [*[False] * (len(read) - 1), True], strict=True)
    ):
        assert ip is not None
        assert header is not None
        assert ip.length == (60 if six else 40) + len(part)
        assert six or ip.ident == 7 + number
        assert header.seq == at & 0xFFFFFFFF  # type: ignore[union-attr]
        assert bool(header.flags & 0x09) == (last and bool(flags & 0x09))  # type: ignore[union-attr]
        assert bool(header.flags & 0x80) == (number == 0 and bool(flags & 0x80))  # type: ignore[union-attr]
        at += len(part)
    assert headers


@settings(deadline=None)
@given(st.binary(max_size=200), st.booleans(), st.booleans())
def test_a_checksum_left_open_is_filled_in(payload: bytes, six: bool, with_tag: bool) -> None:
    frame = (ip6 if six else ip4)(17, udp(payload=payload))
    start = 54 if six else 34
    addresses = frame[start - 32 : start] if six else frame[26:34]
    # The kernel leaves the sum of the pseudo-header, which is not yet complemented.
    pseudo = 0xFFFF - checksum(addresses + struct.pack("!II", 17, 8 + len(payload)))
    left_open = frame[: start + 6] + struct.pack("!H", pseudo) + frame[start + 8 :]
    (filled,) = wire_frames(left_open, VnetHeader(1, 0, 0, 0, start, 6), (0x8100, 7) if with_tag else None)
    if with_tag:
        assert filled[12:16] == b"\x81\x00\x00\x07"
        filled = filled[:12] + filled[16:]
    assert sound(filled)


@pytest.mark.parametrize("data", [b"", b"\0\0", b"\xff\xff", b"\x01", bytes(range(101))])
def test_the_checksum_is_the_one_of_the_book(data: bytes) -> None:
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert checksum(data) == ~total & 0xFFFF


def test_capture_files_are_read_as_written(tmp_path: Path) -> None:
    records = (Record(1_700_000_000_123_456_789, SYN, len(SYN)), Record(1_700_000_001_000_000_000, DNS, 2000))
    assert read_pcap(write_pcap(tmp_path / "x.pcap", records)) == records


@pytest.mark.parametrize("order", "<>")
def test_capture_files_of_others_are_read(tmp_path: Path, order: str) -> None:
    old = struct.pack(f"{order}IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    old += struct.pack(f"{order}IIII", 5, 7, len(SYN), len(SYN)) + SYN
    (tmp_path / "old.pcap").write_bytes(old)
    assert read_pcap(tmp_path / "old.pcap") == (Record(5_000_007_000, SYN, len(SYN)),)

    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        return (
            struct.pack(f"{order}II", kind, 12 + len(body)) + body + struct.pack(f"{order}I", 12 + len(body))
        )

    new = block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))
    new += block(1, struct.pack(f"{order}HHI", 1, 0, 0) + struct.pack(f"{order}HHB3xHH", 9, 1, 9, 0, 0))
    new += block(5, bytes(8))
    new += block(6, struct.pack(f"{order}IIIII", 0, 1, 5, len(DNS), len(DNS)) + DNS)
    (tmp_path / "new.pcapng").write_bytes(new)
    assert read_pcap(tmp_path / "new.pcapng") == (Record((1 << 32) + 5, DNS, len(DNS)),)


@pytest.mark.parametrize(
    "content", [b"", b"not a capture", struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 9, 1) + b"x"]
)
def test_a_damaged_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pcap").write_bytes(content)
    with pytest.raises(ProbeError, match=r"x\.pcap"):
        read_pcap(tmp_path / "x.pcap")


def packet(raw: bytes, time: float = 0.0) -> CapturedPacket:
    return CapturedPacket(time, "a", "in", raw)


def test_a_comparison_names_packets_and_fields() -> None:
    golden = [packet(SYN), packet(DNS), packet(ARP)]
    found = [packet(ip4(6, tcp(flags=2, seq=99)), 5.0), packet(ip4(17, udp(target=54)))]
    result = compare(Path("g.pcap"), golden, found)
    assert not result
    assert [(each.expected, each.found) for each in result.differences] == [(2, 2), (3, None)]
    assert str(result).splitlines()[0] == "g.pcap: 3 packets, captured: 2"
    assert "! 2: 10.0.0.1:4000 > 10.0.0.2:53 UDP, 42 bytes: ports.target 53 -> 54" in str(result)
    assert "- 3: ARP who has 10.0.0.2, asks 10.0.0.1 is missing" in str(result)
    assert compare(Path("g.pcap"), golden[:2], found, ("tcp.seq", "ports"))
    assert not compare(Path("g.pcap"), golden[:1], found[:1], ())
    with pytest.raises(SettingsError, match=r"did you mean 'ip\.ttl'"):
        compare(Path("g.pcap"), golden, found, ("ip.tl",))


def test_scapy_s_packets() -> None:
    inet = pytest.importorskip("scapy.layers.inet")
    (found, other) = Packets(
        [CapturedPacket(1.5, "a", "in", SYN), CapturedPacket(2, "a", "in", EVERY["vlan"])]
    ).scapy()
    assert (found[inet.IP].src, found[inet.TCP].dport, str(found[inet.TCP].flags)) == ("10.0.0.1", 80, "S")
    assert found.time == 1.5
    assert bytes(found) == SYN
    assert other[inet.TCP].dport == 80


def test_scapy_takes_packets_apart_where_nobody_imported_its_layers() -> None:
    pytest.importorskip("scapy")
    code = (
        "from pytest_sonemu.handles.packet_list import Packets\n"
        "from pytest_sonemu.handles.packets import CapturedPacket\n"
        f"frames = [{SYN!r}, {EVERY['six']!r}]\n"
        "found = Packets([CapturedPacket(0, 'a', 'in', frame) for frame in frames]).scapy()\n"
        "print([[layer.__name__ for layer in each.layers()][:3] for each in found])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[['Ether', 'IP', 'TCP'], ['Ether', 'IPv6', 'TCP']]"


def test_a_place_or_direction_that_cannot_be_is_no_empty_result() -> None:
    packets = Packets([CapturedPacket(0, "fw:input", "in", SYN)], places=("fw:input", "fw:output"))
    assert len(packets.matching(at="fw:output")) == 0
    assert len(packets.matching("syn").matching(at="fw:input", direction="in")) == 1
    for chosen in (packets, packets[:1], packets.matching("syn")):
        with pytest.raises(NotFoundError, match=r"'fw:inptu'; there are: fw:input, fw:output"):
            chosen.matching(at="fw:inptu")
    with pytest.raises(ProbeError, match=r"'outt' is not a direction; .* \(did you mean 'out'\?\)"):
        packets.matching(direction="outt")  # type: ignore[arg-type]
    with pytest.raises(ProbeError, match="5 matches no packets; give a filter"):
        packets.matching(5)  # type: ignore[arg-type]
