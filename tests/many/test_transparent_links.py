"""Frames pass an E-Line and an E-LAN unchanged, within a PoP and across, whatever they are."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from pytest_sonemu.descriptors.model import NetworkService
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.testbed import TestBed
from pytest_sonemu.topology.model import PoP, PopLink, Topology
from tests.support.frames import BROADCAST, Ear, Mouth, frame, wait_for

SERVICE = NetworkService.of(
    "frames",
    [],
    {"near": ["a", "b"], "far": ["c", "d"]},
    lans={"lan": ["e", "f", "g"]},
)
WHERE = {sap: {"pop": "pop1"} for sap in "abcef"} | {sap: {"pop": "pop3"} for sap in "dg"}
WAYS = {"E-Line": "ab", "E-Line across": "cd", "E-LAN": "ef", "E-LAN across": "eg", "E-LAN back": "ge"}

SOURCE = "02:00:5e:00:00:01"
MARK = b"pytest-sonemu frame mark"


def filled(length: int) -> bytes:
    return MARK + bytes(length - len(MARK))


FRAMES = {
    "shortest": frame(BROADCAST, SOURCE, filled(46)),
    "longest": frame(BROADCAST, SOURCE, filled(1500)),
    "unicast to nobody": frame("02:00:5e:00:00:99", SOURCE, filled(60)),
    "multicast": frame("01:00:5e:01:02:03", SOURCE, filled(100), 0x0800),
    "VLAN": frame(BROADCAST, SOURCE, struct.pack("!HH", 7, 0x88B5) + filled(60), 0x8100),
    "VLAN of full size": frame(BROADCAST, SOURCE, struct.pack("!HH", 7, 0x88B5) + filled(1500), 0x8100),
    "QinQ": frame(BROADCAST, SOURCE, struct.pack("!HHHH", 7, 0x8100, 8, 0x88B5) + filled(60), 0x88A8),
    "MPLS": frame(BROADCAST, SOURCE, struct.pack("!I", 16 << 12 | 1 << 8 | 64) + filled(60), 0x8847),
    "LLDP": frame("01:80:c2:00:00:0e", SOURCE, filled(60), 0x88CC),
    "802.1X": frame("01:80:c2:00:00:03", SOURCE, filled(60), 0x888E),
    "LACP": frame("01:80:c2:00:00:02", SOURCE, filled(60), 0x8809),
    "STP": frame("01:80:c2:00:00:00", SOURCE, b"\x42\x42\x03" + filled(60), 63),
}
LARGE_FRAMES = {
    "QinQ of full size": frame(
        BROADCAST, SOURCE, struct.pack("!HHHH", 7, 0x8100, 8, 0x88B5) + filled(1500), 0x88A8
    ),
    "jumbo": frame(BROADCAST, SOURCE, filled(9000)),
}


@pytest.fixture(scope="module")
def bed() -> Iterator[TestBed]:
    pops = (PoP("pop1"), PoP("pop2"), PoP("pop3"))
    links = (PopLink("pop1", "pop2"), PopLink("pop2", "pop3"))
    with TestBed(Topology(pops, links)) as bed:
        yield bed


@pytest.fixture(scope="module")
def service(bed: TestBed) -> Service:
    return bed.start(SERVICE, saps=WHERE)


@pytest.fixture(scope="module")
def wide_service(bed: TestBed) -> Service:
    return bed.start(SERVICE, saps=WHERE, mtu=9000)


def assert_passes(service: Service, way: str, sent: bytes) -> None:
    source, target = (service.sap(sap) for sap in WAYS[way])
    ear, mouth = Ear(target), Mouth(source, source.id)
    mouth.send(sent)
    heard = wait_for([ear], MARK)
    mouth.close()
    ear.close()
    assert heard == {f"{target.id}:{target.id}": [sent]}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_arrives_as_it_was_sent(service: Service, way: str, kind: str) -> None:
    assert_passes(service, way, FRAMES[kind])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", LARGE_FRAMES)
def test_a_large_frame_passes_where_the_mtu_allows_it(wide_service: Service, way: str, kind: str) -> None:
    assert_passes(wide_service, way, LARGE_FRAMES[kind])


def test_pause_passes_an_e_line_and_no_bridge(service: Service) -> None:
    """What the kernel's bridge never forwards (docs/architecture.md, "Quiet and transparent links")."""
    pause = frame("01:80:c2:00:00:01", SOURCE, filled(46), 0x8808)
    line = Ear(service.sap("b"))
    lan = Ear(service.sap("f"))
    for sap in "ae":
        Mouth(service.sap(sap), sap).send(pause)
    assert list(wait_for([line], MARK)) == ["b:b"]
    assert wait_for([lan], MARK, timeout=0.3) == {}


def test_interfaces_left_alone_hear_nothing(service: Service) -> None:
    ears = [Ear(sap) for sap in service.saps.values()]
    assert wait_for(ears, b"", timeout=5.0) == {}
