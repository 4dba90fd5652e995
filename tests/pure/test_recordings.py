"""Recordings read from any file, packets between other ends, and packets known again."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sonemu.errors import ProbeError
from pytest_sonemu.handles.packets import CapturedPacket
from pytest_sonemu.handles.pcap import Record, read_pcap, write_pcap
from pytest_sonemu.handles.recordings import Ends, between, read_packet, read_recording
from pytest_sonemu.handles.replay_results import Replay, ReplayedPacket
from pytest_sonemu.handles.replay_tracking import Matcher, Piece
from pytest_sonemu.handles.wire import framed
from tests.support.tapes import Tape
from tests.support.verifying import verify

FOUR = Ends(ip_address("10.30.0.1"), ip_address("10.30.1.2"))
SIX = Ends(ip_address("fd00:1::1"), ip_address("fd00:2::2"))
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")


def tape(six: bool = False) -> Tape:
    made = Tape("2001:db8::1", "2001:db8::2") if six else Tape()
    return (
        made.web(b"GET / HTTP/1.1\r\n\r\n", b"odd")
        .udp(b"query")
        .udp(b"reply!", back=True)
        .echo(1)
        .echo(1, back=True)
    )


@pytest.mark.parametrize("six", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("how", ["micro", "nano", "pcapng"])
def test_packets_between_other_ends_have_right_checksums(
    tmp_path: Path, six: bool, order: str, how: str
) -> None:
    path = tmp_path / "x.pcap"
    if how == "pcapng":
        tape(six).save_ng(path, order)
    else:
        tape(six).save(path, order, nanoseconds=how == "nano")
    recording = read_recording(path)
    assert len(recording.packets) == 12
    assert [packet.number for packet in recording.packets] == list(range(1, 13))
    steps = {after.time - before.time for before, after in pairwise(recording.packets)}
    assert steps == {1_000_000}
    ends = SIX if six else FOUR
    back = Ends(ends.target, ends.source)
    made = [
        framed(*MACS, (), between(packet, ends if packet.source == recording.packets[0].source else back, {}))
        for packet in recording.packets
    ]
    saved = write_pcap(tmp_path / "y.pcap", [Record(0, data, len(data)) for data in made])
    assert verify(saved) == ({"tcp6": 8, "udp6": 2, "icmp6": 2} if six else {"tcp": 8, "udp": 2, "icmp": 2})
    shown = [CapturedPacket(0, "", "in", data) for data in made]
    assert {(each.ip.source, each.ip.target) for each in shown if each.ip} == {
        (ends.source, ends.target),
        (ends.target, ends.source),
    }
    assert shown[3].payload == b"GET / HTTP/1.1\r\n\r\n"


def test_ports_of_a_translation() -> None:
    frame = Tape().udp(b"query").frames[0][1]
    packet = read_packet(1, 0, frame)
    assert packet is not None
    data = framed(*MACS, (), between(packet, Ends(FOUR.source, FOUR.target, 1024, 5353), {}))
    udp = CapturedPacket(0, "", "in", data).udp
    assert udp is not None
    assert (udp.source_port, udp.target_port) == (1024, 5353)


def test_the_packet_that_an_icmp_error_speaks_of(tmp_path: Path) -> None:
    made = Tape().udp(b"query")
    subject = made.frames[0][1][14:]
    made.ip(struct.pack("!BBHI", 3, 3, 0, 0) + subject, 1, back=True)
    error = read_packet(2, 0, made.frames[1][1])
    assert error is not None
    others = {ip_address("192.0.2.1"): FOUR.source, ip_address("192.0.2.80"): FOUR.target}
    data = between(error, Ends(FOUR.target, FOUR.source), others)
    about = data[28:]
    assert about[12:20] == FOUR.source.packed + FOUR.target.packed
    saved = write_pcap(tmp_path / "x.pcap", [Record(0, bytes(12) + b"\x08\0" + data, 0)])
    assert len(read_pcap(saved)) == 1
    # The embedded header adds up.
    inner = write_pcap(tmp_path / "y.pcap", [Record(0, bytes(12) + b"\x08\0" + about[:20] + bytes(8), 42)])
    total = sum(struct.unpack("!10H", about[:20]))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
    assert inner.exists()


def test_fragments_keep_a_right_checksum(tmp_path: Path) -> None:
    whole = Tape()
    whole.udp(b"x" * 40)
    packet = read_packet(1, 0, whole.frames[0][1])
    assert packet is not None
    right = between(packet, Ends(packet.source, packet.target), {})  # with its checksum
    body = right[20:]
    pieces = Tape()
    pieces.ip(body[:24], 17, ident=9, fragment=0x2000).ip(body[24:], 17, ident=9, fragment=3)
    made = []
    for _, frame in pieces.frames:
        part = read_packet(1, 0, frame)
        assert part is not None
        assert part.fragment
        made.append(between(part, FOUR, {}))
    joined = made[0][20:] + made[1][20:]
    head = bytearray(made[0][:20])
    struct.pack_into("!HHH", head, 2, 20 + len(joined), 9, 0)
    head[10:12] = b"\0\0"
    total = sum(struct.unpack("!10H", bytes(head)))
    total = (total & 0xFFFF) + (total >> 16)
    struct.pack_into("!H", head, 10, ~total & 0xFFFF)
    data = framed(*MACS, (), bytes(head) + joined)
    assert verify(write_pcap(tmp_path / "z.pcap", [Record(0, data, len(data))])) == {"udp": 1}


@pytest.mark.parametrize(
    ("link", "head"),
    [
        (113, bytes(14) + b"\x08\x00"),  # cooked Linux
        (276, b"\x08\x00" + bytes(18)),  # cooked Linux, second version
        (101, b""),  # raw IP
        (0, b"\x02\0\0\0"),  # BSD loopback
    ],
)
def test_recordings_of_other_links_are_read(tmp_path: Path, link: int, head: bytes) -> None:
    packet = Tape().udp(b"query").frames[0][1][14:]
    data = head + packet
    path = tmp_path / "x.pcap"
    path.write_bytes(
        struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
        + struct.pack("<IIII", 1, 2, len(data), len(data))
        + data
    )
    (found,) = read_recording(path).packets
    assert found.packet == packet
    assert not found.cut
    with pytest.raises(ProbeError, match=f"not of Ethernet frames .link type {link}."):
        read_pcap(path)


def test_what_is_no_ip_and_what_was_cut(tmp_path: Path) -> None:
    made = Tape().udp(b"q" * 200).raw(bytes(46), kind=0x0806).raw(b"\x45\x00", kind=0x0800)
    recording = read_recording(made.save(tmp_path / "x.pcap", snap=96))
    (packet,) = recording.packets
    assert packet.cut
    assert recording.others == 2


def _files() -> list[bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x")
        six = tape(six=True)
        return [each.read_bytes() for each in (tape().save(path),)] + [
            tape().save(path, ">", nanoseconds=True).read_bytes(),
            six.save_ng(path).read_bytes(),
            six.save_ng(path, ">").read_bytes(),
        ]


@settings(deadline=None)
@given(st.data())
def test_hostile_files_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Cut anywhere, any bytes changed: packets or a ProbeError, and whatever was read can be readdressed."""
    content = bytearray(data.draw(st.sampled_from(_FILES)))
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "hostile"
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        recording = read_recording(path)
    except ProbeError:
        return
    for packet in recording.packets:
        ends = FOUR if packet.source.version == 4 else SIX
        made = between(packet, ends, {packet.source: ends.source})
        assert len(made) == len(packet.packet)


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([0x0800, 0x86DD, 0x8100]))
def test_hostile_packets_are_read_or_not(body: bytes, kind: int) -> None:
    packet = read_packet(1, 0, bytes(12) + struct.pack("!H", kind) + body)
    if packet is not None:
        ends = FOUR if packet.source.version == 4 else SIX
        assert len(between(packet, ends, {})) == len(packet.packet)


_FILES = _files()


# -- known again ----------------------------------------------------------------------------------


def piece(frame: bytes, number: int = 1) -> Piece:
    packet = read_packet(number, 0, frame)
    assert packet is not None
    return Piece(packet, frame, "a", "b", 0.0)


def seen(frame: bytes) -> CapturedPacket:
    return CapturedPacket(1.0, "b", "in", frame)


def test_each_of_several_alike_is_met_once() -> None:
    first, second = (piece(Tape().udp(b"again").frames[0][1], number) for number in (1, 2))
    matcher = Matcher()
    matcher.expect(first)
    matcher.expect(second)
    assert [matcher.match(seen(first.frame)) for _ in range(3)] == [first, second, None]


def test_a_packet_is_known_behind_translation_and_a_change() -> None:
    made = Tape().tcp(0x18, b"secret", seq=7, ack=9)
    sent = piece(made.frames[0][1])
    behind = Tape(client="203.0.113.9").tcp(0x18, b"secret", seq=7, ack=9, ports=(1025, 80))
    changed = Tape().tcp(0x18, b"******", seq=7, ack=9)
    stranger = Tape(client="203.0.113.9", server="203.0.113.1").tcp(
        0x18, b"secret", seq=7, ack=9, ports=(1, 2)
    )
    for other, wanted in ((behind, sent), (changed, sent), (stranger, None)):
        matcher = Matcher()
        matcher.expect(sent)
        assert matcher.match(seen(other.frames[0][1])) is wanted


def test_an_echo_of_the_other_side_is_another_packet() -> None:
    made = Tape().udp(b"hello", ports=(7, 7)).udp(b"hello", back=True, ports=(7, 7))
    there, back = (piece(frame, number) for number, (_, frame) in enumerate(made.frames, start=1))
    matcher = Matcher()
    matcher.expect(there)
    matcher.expect(back)
    assert matcher.match(seen(back.frame)) is back
    assert matcher.match(seen(there.frame)) is there


def test_a_result_says_what_was_lost_and_where() -> None:
    def packet(number: int, *, lost: bool = False, changes: str = "") -> ReplayedPacket:
        return ReplayedPacket(
            number, "10.30.0.1:4 > 10.30.1.2:80 TCP SYN, 60 bytes", "input", "server", 1.0,
            None if lost else 1.5, ("input", "fw:input"),
            "seen into fw:input, not out of fw" if lost else "arrived at server:data",
            "fw" if lost else None, changes,
        )  # fmt: skip

    result = Replay(
        Path("a.pcap"), (packet(3), packet(7, lost=True), packet(8, changes="ip.tos 0 -> 4")), 2, 1, 0.5
    )
    assert [each.number for each in result.lost] == [7]
    assert [each.number for each in result.changed] == [8]
    assert result.packet(3).latency == 0.5
    assert len(repr(result)) < 200
    assert "packet 7 10.30.0.1:4 > 10.30.1.2:80 TCP SYN, 60 bytes: seen into fw:input, not out of fw" in repr(
        result
    )
    assert str(result).splitlines() == [
        "replay a.pcap: 2 of 3 packets arrived, 1 changed (0.50 s)",
        f"packet 7 {packet(7).summary}: seen into fw:input, not out of fw",
        f"packet 8 {packet(8).summary}: ip.tos 0 -> 4",
    ]
    with pytest.raises(KeyError, match="packet 9"):
        result.packet(9)
