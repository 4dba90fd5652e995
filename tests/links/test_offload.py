"""Super-frames cut into wire frames, checksums, VLAN tags: on frames made here, checked byte by byte."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sonemu.relay.offload import (
    GSO_ECN,
    GSO_TCP4,
    GSO_TCP6,
    GSO_UDP,
    NO_VNET,
    VNET,
    corrupted,
    cut,
    kind_of,
    network_header,
    wire_size,
    with_tag,
)

MACS = bytes.fromhex("020000000001020000000002")
FIN_PSH_ACK_CWR = 0x80 | 0x10 | 0x09


def checksum(data: bytes) -> int:
    """Slow and plain, after RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def super_frame(
    version: int, protocol: int, payload: bytes, size: int, options: bytes = b"", tags: bytes = b""
) -> bytes:
    """A frame as a kernel hands it over: its checksum is the pseudo header's sum only."""
    if protocol == 6:
        doff = (20 + len(options)) // 4
        upper = (
            struct.pack("!HHIIBBHHH", 1000, 2000, 2**32 - 500, 7, doff << 4, FIN_PSH_ACK_CWR, 99, 0, 0)
            + options
        )
        offset = 16
    else:
        upper, offset = struct.pack("!HHHH", 1000, 2000, 8 + len(payload), 0), 6
    if version == 4:
        length = 20 + len(upper) + len(payload)
        header = struct.pack(
            "!BBHHHBBH4s4s", 0x45, 0, length, 65530, 0, 64, protocol, 0, b"\x0a\0\0\1", b"\x0a\0\0\2"
        )
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    else:
        header = struct.pack("!IHBB", 6 << 28, len(upper) + len(payload), protocol, 64) + bytes(range(32))
    pseudo = ~checksum(pseudo_header(header, protocol, len(upper) + len(payload))) & 0xFFFF
    upper = upper[:offset] + struct.pack("!H", pseudo) + upper[offset + 2 :]
    start = 14 + len(tags) + len(header)
    kind = {(4, 6): GSO_TCP4 | GSO_ECN, (6, 6): GSO_TCP6, (4, 17): GSO_UDP, (6, 17): GSO_UDP}[
        version, protocol
    ]
    ethertype = b"\x08\x00" if version == 4 else b"\x86\xdd"
    vnet = VNET.pack(1, kind, start + len(upper), size, start, offset)
    return vnet + MACS + tags + ethertype + header + upper + payload


def pseudo_header(header: bytes, protocol: int, length: int) -> bytes:
    addresses = header[12:20] if header[0] >> 4 == 4 else header[8:40]
    return addresses + struct.pack("!HH", protocol, length)


cases = st.tuples(
    st.sampled_from([4, 6]),
    st.sampled_from([6, 17]),
    st.binary(min_size=1, max_size=9000),
    st.integers(50, 1460),
    st.sampled_from([b"", bytes(12)]),
    st.sampled_from([b"", bytes.fromhex("81000007"), bytes.fromhex("88a8000381000007")]),
)


@settings(deadline=None)
@given(cases)
def test_pieces_are_right_frames_and_make_the_whole(case: tuple[int, int, bytes, int, bytes, bytes]) -> None:
    version, protocol, payload, size, options, tags = case
    data = super_frame(version, protocol, payload, size, options, tags)
    pieces = list(cut(data))
    assert len(pieces) == max(-(-len(payload) // size), 1)
    assert wire_size(data) == (sum(len(piece) - 10 for piece in pieces), len(pieces))
    if len(pieces) == 1:
        assert pieces == [data]
        return
    got = b""
    for number, piece in enumerate(pieces):
        flags, kind, _, _, start, offset = VNET.unpack_from(piece)
        assert (flags, kind) == (1, 0)
        frame = piece[10:]
        network = 14 + len(tags)
        header, upper = frame[network:start], frame[start:]
        if version == 4:
            assert checksum(header) == 0
            assert struct.unpack_from("!HH", header, 2) == (
                len(header) + len(upper),
                (65530 + number) & 0xFFFF,
            )
        else:
            assert struct.unpack_from("!H", header, 4) == (len(upper),)
        # Filled in as the kernel would, the checksum must come out right over the whole.
        whole = bytearray(upper)
        whole[offset : offset + 2] = struct.pack("!H", checksum(upper))
        assert checksum(pseudo_header(header, protocol, len(upper)) + bytes(whole)) == 0
        if protocol == 6:
            sequence, marks = struct.unpack_from("!I", upper, 4)[0], upper[13]
            assert sequence == (2**32 - 500 + number * size) % 2**32
            last, first = number == len(pieces) - 1, number == 0
            assert marks == 0x10 | (0x09 if last else 0) | (0x80 if first else 0)
            got += upper[20 + len(options) :]
        else:
            assert struct.unpack_from("!H", upper, 4) == (len(upper),)
            got += upper[8:]
    assert got == payload


def tunnelled(outer: int, kind: str, data: bytes) -> bytes:
    """A super-frame within a tunnel, as a kernel hands it over: the vnet header speaks of the inner TCP."""
    flags, gso, header, size, start, offset = VNET.unpack_from(data)
    inside = data[24:] if kind == "ipip" else data[10:]
    if kind == "vxlan":
        inside = struct.pack("!HHHHII", 50000, 4789, 16 + len(inside), 0, 0x08000000, 5 << 8) + inside
    if kind == "gre":
        inside = bytes.fromhex("00006558") + inside
    protocol = {"vxlan": 17, "gre": 47, "ipip": 4}[kind]
    if outer == 4:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(inside), 1, 0, 64, protocol, 0) + bytes(8)
    else:
        head = struct.pack("!IHBB", 6 << 28, len(inside), protocol, 64) + bytes(32)
    more = len(head) + len(inside) - (len(data) - 10) + 14
    vnet = VNET.pack(flags, gso, header + more, size, start + more, offset)
    return vnet + MACS + (b"\x08\x00" if outer == 4 else b"\x86\xdd") + head + inside


tunnels = st.builds(
    tunnelled,
    st.sampled_from([4, 6]),
    st.sampled_from(["vxlan", "gre", "ipip"]),
    st.binary(min_size=1, max_size=9000).map(lambda payload: super_frame(4, 6, payload, 1000)),
)


@settings(deadline=None)
@given(tunnels)
def test_a_tunnels_frame_is_counted_by_its_pieces_and_not_cut(data: bytes) -> None:
    """Neither the lengths and checksums of all its headers nor a second IP header are understood."""
    assert list(cut(data)) == [data]
    _, _, _, size, start, _ = VNET.unpack_from(data)
    assert wire_size(data)[1] == -(-(len(data) - 10 - start - 20) // size)


def test_options_of_ipv6_are_left_where_they_are() -> None:
    data = bytearray(super_frame(6, 6, bytes(2500), 1000))
    data[64:64] = bytes.fromhex("06 00 010400000000")  # options for the destination, then TCP
    data[30] = 60
    vnet = VNET.unpack_from(data)
    pieces = list(cut(VNET.pack(1, GSO_TCP6, vnet[2] + 8, 1000, vnet[4] + 8, 16) + data[10:]))
    assert [len(piece) for piece in pieces] == [10 + 14 + 48 + 20 + size for size in (1000, 1000, 500)]
    assert [int.from_bytes(piece[28:30], "big") for piece in pieces] == [8 + 20 + 1000] * 2 + [8 + 20 + 500]
    data[30] = 43  # a routing header: another address is in the checksum
    assert len(list(cut(VNET.pack(1, GSO_TCP6, vnet[2] + 8, 1000, vnet[4] + 8, 16) + data[10:]))) == 1


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 2**64 - 1))
def test_no_frame_is_too_broken(junk: bytes, place: int) -> None:
    """Whatever a VNF sends, nothing raises and nothing grows."""
    data = bytes(10) + MACS + junk
    for frame in (
        data,
        VNET.pack(1, 1, 54, 100, 34, 16) + MACS + junk,
        VNET.pack(3, 5, 9, 1, 65535, 65535) + MACS + junk,
    ):
        assert b"".join(piece[:0] for piece in cut(frame)) == b""
        assert wire_size(frame)[1] >= 1
        assert len(corrupted(frame, place)) == len(frame)
        assert kind_of(frame) in (0, 1)
        with_tag(frame, 0x8100, 7)


@settings(deadline=None)
@given(cases, st.integers(0, 2**64 - 1))
def test_corruption_is_one_bit_that_the_receiver_sees(
    case: tuple[int, int, bytes, int, bytes, bytes], place: int
) -> None:
    version, protocol, payload, _, options, _ = case
    data = super_frame(version, protocol, payload, 0, options)
    whole = bytearray(data)
    _, _, _, _, start, offset = VNET.unpack_from(data)
    at = 10 + start + offset
    value = checksum(data[10 + start :])
    whole[at : at + 2] = struct.pack("!H", value or 0xFFFF)
    broken = corrupted(data, place)
    assert broken[:10] == NO_VNET, "nobody takes the checksum for verified or still to be done"
    difference = int.from_bytes(broken[10:], "big") ^ int.from_bytes(whole[10:], "big")
    assert difference.bit_count() == 1
    assert broken[10:24] == data[10:24], "the Ethernet header stays"


def test_a_tag_comes_back_where_it_was() -> None:
    data = super_frame(4, 6, bytes(3000), 1000)
    tagged = with_tag(data, 0x8100, 0x2007)
    assert tagged[10:] == data[10:22] + bytes.fromhex("81002007") + data[22:]
    flags, kind, header, size, start, offset = VNET.unpack_from(tagged)
    assert (flags, kind, header, size, start, offset) == (1, GSO_TCP4 | GSO_ECN, 58, 1000, 38, 16)
    assert network_header(tagged) == (0x0800, 28)


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        ("0806" + "00" * 28, 1),
        ("88b5" + "00" * 46, 1),
        ("0800" + "45000014000000004011" + "00" * 30, 0),
        ("0800" + "45000014000000004002" + "00" * 30, 1),
        ("8100000708004500001400000000" + "4011" + "00" * 30, 0),
        ("86dd" + "600000000008" + "11ff" + "00" * 40, 0),
        ("86dd" + "600000000008" + "3aff" + "00" * 32 + "87" + "00" * 20, 1),
        ("86dd" + "600000000008" + "3aff" + "00" * 32 + "80" + "00" * 20, 0),
        ("86dd" + "600000000008" + "00ff" + "00" * 32 + "3a00050200000100" + "8f" + "00" * 20, 1),
    ],
    ids=["arp", "not-ip", "udp", "igmp", "tagged-udp", "udp6", "neighbour", "echo6", "mld2"],
)
def test_kinds(frame: str, kind: int) -> None:
    assert kind_of(NO_VNET + MACS + bytes.fromhex(frame)) == kind
