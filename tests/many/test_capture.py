"""Captures are complete, as on a wire, and need nothing of the image."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from pytest_sonemu.descriptors.model import NetworkFunction, NetworkService
from pytest_sonemu.errors import NotFoundError, ProbeError
from pytest_sonemu.handles.link import Link
from pytest_sonemu.handles.pcap import read_pcap
from pytest_sonemu.handles.sap import Sap
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.testbed import TestBed
from tests.support.frames import BROADCAST, Mouth, frame
from tests.support.machine import wait
from tests.support.static_image import static_image
from tests.support.traffic import bulk
from tests.support.verifying import verify


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """input - fw - server, of images with one static program, three SAPs on a LAN, and two on an E-Line."""
    with static_image() as image, TestBed() as bed:
        fw = NetworkFunction("fw", image=image, interfaces=["input", "output"])
        server = NetworkFunction("server", image=image, interfaces=["data"])
        links = {"outside": ["input", "fw:input"], "inside": ["fw:output", "server:data"], "line": ["a", "b"]}
        yield bed.start(NetworkService.of("captured", [fw, server], links, lans={"lan": ["x", "y", "z"]}))


def test_an_http_request_is_seen_whole_at_each_interface(service: Service) -> None:
    with service.vnf("fw").capture() as capture:
        assert service.sap("input").http("http://server/").text == "static"
    for at, here, there in (("fw:input", "in", "out"), ("fw:output", "out", "in")):
        seen = capture.matching("tcp", at=at)
        assert [packet.direction for packet in seen[:3]] == [here, there, here]
        assert [packet.tcp and packet.tcp.flag_names for packet in seen[:3]] == [
            ("SYN",),
            ("SYN", "ACK"),
            ("ACK",),
        ]
        assert len(seen.matching("fin")) == 2
        request = next(packet for packet in seen if packet.payload)
        assert request.payload.startswith(b"GET / HTTP/1.1")
        assert request.ip is not None
        assert request.tcp is not None
        assert (request.ip.source, request.ip.target) == (
            service.sap("input").ip(),
            service.vnf("server").ip(),
        )
        assert request.tcp.target_port == 80
        assert request.eth.source == (service.sap("input") if here == "in" else service.vnf("fw")).mac(
            None if here == "in" else "output"
        )
    hops = capture.matching("tcp src host input and syn")
    assert [packet.ip and packet.ip.ttl for packet in hops] == [64, 63]
    assert hops[0].time <= hops[1].time


def test_what_happens_before_and_after_is_not_in_it(service: Service) -> None:
    service.ping("input", "server", count=1)
    with service.sap("input").capture(filter="icmp") as capture:
        service.sap("input").ping("server", count=2, interval=0.001)
    service.ping("input", "server", count=1)
    # One echo finds the way, two are measured.
    assert len(capture) == 6
    assert len(capture.matching(direction="out")) == 3


# Two SAPs on an E-Line, on an E-LAN, and on an E-Line that a process carries.
ON: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "E-Line": ("line", "a", "b", {}),
    "E-LAN": ("lan", "x", "y", {}),
    "relayed": ("line", "a", "b", {"delay": "1ms"}),
}


@contextmanager
def on(service: Service, where: str) -> Iterator[tuple[Link, Sap, Sap]]:
    """A link of that kind for a block, and two SAPs on it that know each other's MAC."""
    name, one, other, impairment = ON[where]
    link = service.link(name)
    with link.impair(**impairment) if impairment else nullcontext():
        service.ping(one, other, count=1)
        yield link, service.sap(one), service.sap(other)


@pytest.mark.parametrize(("where", "size"), [("E-LAN", 12), *((where, 1472) for where in ON)])
def test_ten_thousand_packets_at_full_speed_miss_none(service: Service, where: str, size: int) -> None:
    with (
        on(service, where) as (link, source, target),
        source.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        target.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener,
    ):
        listener.bind((str(target.ip()), 6000))
        sender.connect((str(target.ip()), 6000))
        before = target.interface(target.id).state.stats.rx_packets
        with link.capture("udp port 6000", direction=None) as capture:
            for number in range(10_000):
                sender.send(struct.pack("!I", number).ljust(size, b"."))
            wait(lambda: target.interface(target.id).state.stats.rx_packets >= before + 10_000, 2)
        came = target.interface(target.id).state.stats.rx_packets - before
    numbers = {
        at: [int.from_bytes(packet.payload[:4], "big") for packet in capture.matching(at=at)]
        for at in (source.id, target.id)
    }
    assert numbers[source.id] == list(range(10_000))
    if where != "relayed":  # its process may have no room for a flood; what it passes on is seen
        assert numbers[target.id] == list(range(10_000))
    assert numbers[target.id] == sorted(set(numbers[target.id]))
    assert len(numbers[target.id]) <= came <= len(numbers[target.id]) + 10  # and ARP
    assert capture.missed == 0


@pytest.mark.parametrize("where", ON)
def test_a_saved_bulk_transfer_is_as_on_a_wire(service: Service, tmp_path: Path, where: str) -> None:
    """Every frame at most 1,514 bytes, every checksum right, every byte there."""
    with on(service, where) as (link, source, target), link.capture("tcp", direction="out") as capture:
        assert bulk(source, target, target.ip(), 3_000_000) == 3_000_000
    path = capture.save(tmp_path / "wire.pcap")
    assert verify(path) == {"tcp": len(capture)}
    sent = capture.matching(f"src host {source.ip()}")
    first = min(packet.tcp.seq for packet in sent if packet.tcp is not None and packet.tcp.syn)
    seen: set[int] = set()
    for packet in sent:
        assert packet.tcp is not None
        offset = (packet.tcp.seq - first - 1) % (1 << 32)
        seen.update(range(offset, offset + len(packet.payload)) if packet.payload else ())
    assert len(seen) == 3_000_000
    raw = read_pcap(capture.save(tmp_path / "raw.pcap", raw=True))
    if where != "relayed":
        assert max(len(record.data) for record in raw) > 1514
        assert len(raw) < len(capture)


def test_a_transfer_in_ipv6_is_as_on_a_wire(tmp_path: Path) -> None:
    with TestBed() as bed:
        service = bed.start(NetworkService.of("six", [], {"line": ["a", "b"]}), ipv6=True)
        a, b = service.sap("a"), service.sap("b")
        address = next(one.ip for one in b.interfaces[0].addresses if one.version == 6)
        with service.link("line").capture("ip6 and tcp", direction="out") as capture:
            assert bulk(a, b, address, 1_000_000) == 1_000_000
        assert a.ping(address, 2).loss == 0
        with a.capture(filter=f"icmp and host {address}") as echoes:
            a.ping(address, 2)
    assert verify(capture.save(tmp_path / "wire.pcap")) == {"tcp6": len(capture)}
    assert sum(len(packet.payload) for packet in capture) >= 1_000_000
    assert echoes.count("ip6 and icmp") == len(echoes) == 6


def test_a_hundred_captures_of_a_moment_have_all_of_it(service: Service) -> None:
    """No sleep before, none after: each has what was sent in its body, and nothing else."""
    source, target = service.sap("x"), service.sap("y")
    service.ping("x", "y", count=1)
    with source.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        to = (str(target.ip()), 6001)
        for number in range(100):
            sender.sendto(b"before", to)
            with service.link("lan").capture("udp port 6001", direction=None) as capture:
                sender.sendto(b"%d" % number, to)
            sender.sendto(b"after", to)
            assert [(packet.at, packet.payload) for packet in capture] == [
                ("x", b"%d" % number),
                ("y", b"%d" % number),
            ]


def test_captures_at_once_each_have_their_own(service: Service) -> None:
    found: dict[int, list[bytes]] = {}
    address = str(service.sap("y").ip())
    service.ping("x", "y", count=1)

    def record(port: int) -> None:
        with (
            service.sap("x").socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
            service.sap("y").capture(filter=f"udp port {port}") as capture,
        ):
            for number in range(200):
                sender.sendto(b"%d" % number, (address, port))
        found[port] = [packet.payload for packet in capture]

    threads = [threading.Thread(target=record, args=(port,)) for port in range(6100, 6104)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {port: [b"%d" % number for number in range(200)] for port in range(6100, 6104)}


def test_a_reader_of_others_accepts_the_file(service: Service, tmp_path: Path) -> None:
    tcpdump = "/usr/bin/tcpdump"
    if not os.access(tcpdump, os.X_OK):
        pytest.skip("tcpdump, which verifies checksums, is not installed")
    with service.sap("input").capture() as capture:
        bulk(service.sap("input"), service.vnf("server"), service.vnf("server").ip(), 500_000)
    path = capture.save(tmp_path / "x.pcap")
    said = subprocess.run([tcpdump, "-nvvr", path], capture_output=True, text=True, check=True).stdout
    assert "incorrect" not in said
    assert "bad cksum" not in said
    assert said.count("(correct)") == capture.count("tcp")


def test_tags_are_in_the_captured_frame(service: Service) -> None:
    mouth = Mouth(service.sap("x"), "x")
    body = b"in a tagged frame".ljust(46, b".")
    tagged = frame(BROADCAST, service.sap("x").mac(), struct.pack("!HH", 7, 0x88B5) + body, 0x8100)
    double = frame(
        BROADCAST, service.sap("x").mac(), struct.pack("!HHHH", 7, 0x8100, 9, 0x88B5) + body, 0x88A8
    )
    with service.sap("y").capture(filter="vlan 7") as capture:
        for data in (tagged, double, frame(BROADCAST, service.sap("x").mac(), body)):
            mouth.send(data)
    mouth.close()
    assert [packet.raw for packet in capture] == [tagged, double]
    assert [packet.eth.tags for packet in capture] == [(7,), (7, 9)]
    assert capture.count("ether proto 0x88b5") == 2


def test_an_e_lan_is_captured_where_frames_enter_it(service: Service) -> None:
    with service.link("lan").capture("icmp") as capture:
        service.ping("x", "y", count=1)
        service.ping("z", "x", count=1)
    echoes = capture.matching(lambda packet: packet.icmp is not None and packet.icmp.type == 8)
    assert [packet.at for packet in echoes] == ["x", "x", "z", "z"]
    assert {packet.direction for packet in capture} == {"out"}
    assert len(capture) == 8


def test_a_capture_is_read_while_it_runs(service: Service) -> None:
    input_ = service.sap("input")
    with service.sap("input").capture(filter="icmp") as capture:
        thread = threading.Thread(target=lambda: input_.ping("server", count=1))
        thread.start()
        found = capture.wait_for("icmp and src host server", count=2, timeout=5)
        assert len(found) == 2
        thread.join()
        with pytest.raises(ProbeError, match="0 of 1 packets that match 'tcp'"):
            capture.wait_for("tcp", timeout=0.05)


def test_two_captures_at_once_see_the_same(service: Service) -> None:
    with service.sap("x").capture(filter="icmp") as one, service.sap("x").capture(filter="icmp") as two:
        service.ping("x", "y")
    # Each has stamped the frames itself, some microseconds apart.
    seen = [[(packet.at, packet.direction, packet.raw) for packet in each] for each in (one, two)]
    assert seen[0] == seen[1]
    assert len(one) == 8


def test_packets_of_a_restarted_vnf_are_seen(service: Service) -> None:
    with service.vnf("server").capture(filter="icmp") as capture:
        service.ping("input", "server", count=1)
        before = len(capture)
        service.vnf("server").restart()
        service.ping("input", "server", count=1)
    assert before == 4
    assert len(capture) == 8


def test_a_golden_capture(service: Service, tmp_path: Path) -> None:
    address = str(service.vnf("server").interfaces[0].addresses[0].ip)

    def request(text: bytes) -> None:
        # Datagrams: the end of a connection takes another order each time.
        with service.sap("input").socket(type=socket.SOCK_DGRAM) as sender:
            for number in range(3):
                sender.sendto(b"%s %d" % (text, number), (address, 9000))

    golden = tmp_path / "datagrams.pcap"
    with service.sap("input").capture(filter="udp port 9000") as first:
        request(b"page")
    first.save(golden)
    assert len(first) == 3
    with service.sap("input").capture(filter="udp port 9000") as again:
        request(b"page")
    with service.sap("input").capture(filter="udp port 9000") as other:
        request(b"side")
    assert again.equals(golden), str(again.equals(golden))
    comparison = other.equals(golden)
    assert not comparison
    assert any("payload" in difference.text for difference in comparison.differences)
    assert len(repr(comparison)) < 200
    with pytest.raises(AssertionError, match="payload"):
        comparison.check()
    assert other.equals(golden, ignore=["payload", "ip.ident", "tcp", "ports.ephemeral"])


def test_a_capture_without_a_block_warns(service: Service) -> None:
    with pytest.warns(RuntimeWarning, match="capture at fw did nothing"):
        service.vnf("fw").capture()


def test_what_is_not_there_is_named(service: Service) -> None:
    with pytest.raises(NotFoundError, match="inputt"):
        service.vnf("fw").capture("inputt")
    with pytest.raises(ProbeError, match="did you mean 'port'"):
        service.vnf("fw").capture("input", "tcp prot 80")
    with pytest.raises(NotFoundError, match="servr"):
        service.link("lan").capture("host servr")
