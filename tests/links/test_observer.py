"""The one packet socket: what it sees, what it leaves out, and that it says when it missed something."""

from __future__ import annotations

import socket
import struct
import time

import pytest

from pytest_sonemu.handles.bpf import Wanted
from pytest_sonemu.handles.frames import Frame, Neighbour, Packet
from pytest_sonemu.handles.observer import Observer, Watch
from tests.links.kernel_bed import KernelBed

TCP = Wanted(tcp=True)


def outer(bed: KernelBed, endpoint: str, interface: str) -> str:
    plan = bed.plan.endpoint(endpoint)
    assert plan is not None
    return next(found.outer for found in plan.interfaces if found.name == interface)


def syn(source: str = "10.30.0.1", target: str = "10.30.0.2", port: int = 80) -> bytes:
    tcp = struct.pack("!HHIIBBHHH", 1234, port, 77, 0, 5 << 4, 0x02, 1000, 0, 0)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0, 64, 6, 0)
    return head + socket.inet_aton(source) + socket.inet_aton(target) + tcp


def send(
    bed: KernelBed, endpoint: str, interface: str, tags: bytes, payload: bytes, kind: int = 0x0800
) -> None:
    with bed.spaces[endpoint].socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((interface, 0))
        sock.send(bytes.fromhex("020000000002 020000000001") + tags + struct.pack("!H", kind) + payload)


def frames(watch: Watch, count: int) -> list[Frame]:
    seen: list[Frame] = []
    deadline = time.monotonic() + 2
    while len(seen) < count and watch.wait(deadline):
        seen += watch.frames()
    return seen


@pytest.mark.parametrize(
    ("tags", "ids"),
    [("", ()), ("8100 0007", (7,)), ("88a8 0064 8100 0007", (100, 7))],
)
def test_tags_come_back_and_do_not_hide_a_packet(
    bed: KernelBed, observer: Observer, tags: str, ids: tuple[int, ...]
) -> None:
    with observer.watch(TCP) as watch:
        before = time.time()
        send(bed, "input", "input", bytes.fromhex(tags), syn())
        seen = frames(watch, 2)
        after = time.time()
    assert [(frame.outer, frame.inward) for frame in seen] == [
        (outer(bed, "input", "input"), False),
        (outer(bed, "fw", "input"), True),
    ]
    for frame in seen:
        assert frame.tags == ids
        assert isinstance(frame.content, Packet)
        assert (str(frame.content.target), frame.content.target_port, frame.content.seq) == (
            "10.30.0.2",
            80,
            77,
        )
        assert before <= frame.time <= after
        assert frame.destination_mac == "02:00:00:00:00:02"


def test_what_is_not_wanted_is_not_handed_over(bed: KernelBed, observer: Observer) -> None:
    with observer.watch(Wanted(udp_ports=frozenset({53}))) as watch:
        send(bed, "input", "input", b"", syn())
        send(bed, "input", "input", b"", b"x" * 60, 0x88B5)
        with bed.spaces["input"].socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"no", ("10.30.0.2", 54))
            sock.sendto(b"yes", ("10.30.0.2", 53))
        contents = [frame.content for frame in frames(watch, 5)]
    assert {type(content) for content in contents} == {Packet, Neighbour}
    payloads = {content.payload for content in contents if isinstance(content, Packet) and not content.about}
    assert payloads == {b"yes"}


def test_a_watch_sees_nothing_from_before_it(bed: KernelBed, observer: Observer) -> None:
    with observer.watch(TCP):
        send(bed, "input", "input", b"", syn(port=1))
    send(bed, "input", "input", b"", syn(port=2))
    with observer.watch(TCP) as watch:
        send(bed, "input", "input", b"", syn(port=3))
        seen = frames(watch, 2)
    assert {frame.content.target_port for frame in seen if isinstance(frame.content, Packet)} == {3}


def test_waiting_ends_at_its_deadline_or_with_a_descriptor(bed: KernelBed, observer: Observer) -> None:
    left, right = socket.socketpair()
    with left, right, observer.watch(TCP) as watch:
        began = time.monotonic()
        assert not watch.wait(began + 0.1)
        assert 0.09 < time.monotonic() - began < 0.3
        right.send(b"x")
        assert watch.wait(time.monotonic() + 5, readable=[left.fileno()])


def test_frames_that_found_no_room_are_counted(bed: KernelBed, observer: Observer) -> None:
    with observer.watch(TCP) as watch:
        assert observer._socket is not None
        observer._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(100):
            send(bed, "input", "input", b"", syn())
        seen = watch.frames()
        assert watch.missed == 200 - len(seen) > 0


def test_it_is_closed_once_and_opens_again(bed: KernelBed) -> None:
    observer = Observer(bed)
    with observer.watch(TCP) as watch:
        observer.close()
        assert watch.frames() == []
    observer.close()
    with observer.watch(TCP) as watch:
        send(bed, "input", "input", b"", syn())
        assert len(frames(watch, 2)) == 2
    observer.close()
