"""The recording of links for the report of a failure: everything once, bounded, also of what has gone."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from pytest_sonemu.handles import black_box as black_box_module
from pytest_sonemu.handles.black_box import BlackBox
from pytest_sonemu.handles.packets import Tcp, decode
from pytest_sonemu.handles.pcap import Record
from tests.links.kernel_bed import KernelBed


@pytest.fixture
def box(bed: KernelBed) -> Iterator[BlackBox]:
    box = BlackBox(bed)
    yield box
    box.close()


def server_of(bed: KernelBed) -> str:
    server = bed.plan.endpoint("server")
    assert server is not None
    return str(server.interfaces[0].addresses[0].ip)


def datagrams(bed: KernelBed, *payloads: bytes) -> None:
    with bed.spaces["input"].socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for payload in payloads:
            sock.sendto(payload, (server_of(bed), 5000))


def payloads(records: list[Record]) -> list[bytes]:
    return [payload for record in records if (payload := decode(record.data)[3]).startswith(b"number")]


def test_each_link_has_what_was_put_on_it_once(bed: KernelBed, box: BlackBox) -> None:
    datagrams(bed, b"number 0")
    first, second = (link.id for link in bed.plan.links)
    for _ in range(100):
        if payloads(box.frames(bed.plan.links, 0).links.get(second, [])):
            break
    began = time.time()
    datagrams(bed, b"number 1", b"number 2")
    time.sleep(0.05)  # more than the frames need; what the box holds back it gives out when asked
    recorded = box.frames(bed.plan.links, began)
    assert recorded.since is None
    for link in (first, second):
        assert payloads(recorded.links[link]) == [b"number 1", b"number 2"], link
    every = box.frames(bed.plan.links, 0)
    assert payloads(every.links[first]) == [b"number 0", b"number 1", b"number 2"]


def test_the_super_frames_of_tcp_are_cut_and_their_headers_kept(bed: KernelBed, box: BlackBox) -> None:
    size = 2_000_000
    with (
        bed.spaces["server"].socket(socket.AF_INET, socket.SOCK_STREAM) as server,
        bed.spaces["input"].socket(socket.AF_INET, socket.SOCK_STREAM) as client,
    ):
        server.bind((server_of(bed), 8000))
        server.listen()
        client.connect((server_of(bed), 8000))
        accepted, _ = server.accept()
        thread = threading.Thread(target=client.sendall, args=(bytes(size),))
        thread.start()
        with accepted:
            left = size
            while left:
                left -= len(accepted.recv(1 << 16))
        thread.join()
    for link in bed.plan.links:
        records = box.frames(bed.plan.links, 0).links[link.id]
        assert max(record.length for record in records) <= 1514
        assert sum(len(record.data) for record in records) < size / 2
        # With what is known of their lengths, the segments cover the stream without a gap.
        covered = set()
        for record in records:
            _, ip, tcp, _ = decode(record.data)
            if isinstance(tcp, Tcp) and tcp.target_port == 8000 and ip is not None:
                header = 20 + len(tcp.options)
                covered.add((tcp.seq, tcp.seq + ip.length - 20 - header))
        ends = sorted(each for each in covered if each[0] != each[1])
        gaps = [(a, b) for a, b in pairwise(ends) if a[1] < b[0]]
        assert gaps == []
        assert ends[-1][1] - ends[0][0] == size


def test_memory_is_bounded_and_what_is_missing_is_said(
    bed: KernelBed, box: BlackBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(black_box_module, "_KEPT", 200_000)
    began = time.time()
    for number in range(400):
        datagrams(bed, b"number %d " % number + bytes(1000))
        if number % 100 == 99:  # blocks are kept or dropped whole; looking ends one
            recorded = box.frames(bed.plan.links, began)
    assert recorded.since is not None
    assert began < recorded.since <= time.time()
    found = payloads(recorded.links[bed.plan.links[0].id])
    numbers = [int(payload.split()[1]) for payload in found]
    assert numbers == list(range(numbers[0], 400))
    assert numbers[0] > 0
    assert box.frames(bed.plan.links, time.time()).since is None


def test_an_interface_that_has_gone_is_still_known(bed: KernelBed, box: BlackBox) -> None:
    datagrams(bed, b"number 1")
    time.sleep(0.05)
    outer = bed.plan.links[0].ends[0].outer
    bed.fabric.run("ip", "link", "del", outer)
    recorded = box.frames(bed.plan.links, 0)
    assert payloads(recorded.links[bed.plan.links[0].id]) == [b"number 1"]


def test_a_box_that_is_closed_leaves_no_thread(bed: KernelBed) -> None:
    box = BlackBox(bed)
    assert "black box" in {thread.name for thread in threading.enumerate()}
    box.close()
    box.close()
    assert "black box" not in {thread.name for thread in threading.enumerate()}
