"""IPv6 beside IPv4, static addresses, offloads off: on real containers and links."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing
from ipaddress import IPv6Address, ip_interface

import pytest

from pytest_sonemu.descriptors.model import ConnectionPoint, NetworkFunction, NetworkService
from pytest_sonemu.emulation.image_choice import BASE_IMAGE
from pytest_sonemu.errors import ProbeError
from pytest_sonemu.handles.endpoint import Endpoint
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.targets import Family
from pytest_sonemu.handles.testbed import TestBed
from pytest_sonemu.planning.dual_stack import bed_prefix
from pytest_sonemu.topology.model import PoP, PopLink, Topology
from tests.support.frames import Ear
from tests.support.traffic import bulk

TOPOLOGY = Topology((PoP("pop1"), PoP("pop2")), (PopLink("pop1", "pop2"),))


def chain() -> NetworkService:
    """input - v1 - v2 - output, and a management LAN."""
    points = ("mgmt", "input", "output")
    vnfs = [NetworkFunction(name, image=BASE_IMAGE, interfaces=points) for name in ("v1", "v2")]
    links = {"in": ["input", "v1:input"], "mid": ["v1:output", "v2:input"], "out": ["v2:output", "output"]}
    return NetworkService.of("dual", vnfs, links, lans={"mgmt": ["v1:mgmt", "v2:mgmt", "admin"]})


@pytest.fixture(scope="module")
def bed() -> Iterator[TestBed]:
    with TestBed(TOPOLOGY) as bed:
        yield bed


@pytest.fixture(scope="module")
def dual(bed: TestBed) -> Service:
    return bed.start(chain(), ipv6=True, vnfs={"*": {"ready": "exec:true"}})


@pytest.fixture(scope="module")
def single(bed: TestBed) -> Service:
    return bed.start(chain(), vnfs={"*": {"ready": "exec:true"}, "v2": {"offload": "off"}})


def ipv6_of(service: Service, endpoint_id: str, point: str) -> IPv6Address:
    plan = service.plan.endpoint(endpoint_id)
    assert plan is not None
    (address,) = (
        own.ip
        for i in plan.interfaces
        if i.connection_point == point
        for own in i.addresses
        if own.version == 6
    )
    assert isinstance(address, IPv6Address)
    return address


# Dual stack


def test_the_way_carries_ipv6_at_once_and_in_both_directions(dual: Service) -> None:
    for source, target, point in (("input", "output", "output"), ("output", "input", "input")):
        address = ipv6_of(dual, target, point)
        assert address in bed_prefix(dual.plan.bed)
        assert dual.ping(source, address).loss == 0
        assert dual.ping(source, target).loss == 0  # IPv4 as ever
    result = dual.connect("input", ipv6_of(dual, "output", "output"), tcp=80, listen=True)
    assert result.outcome == "open"
    assert result.path.there == ("v1:input", "v1:output", "v2:input", "v2:output", "output")


def test_addresses_are_usable_without_waiting_for_duplicates(dual: Service) -> None:
    shown = dual.vnf("v1").exec("ip -6 addr show dev input", check=True).stdout
    assert "tentative" not in shown
    assert str(ipv6_of(dual, "v1", "input")) in shown


def test_names_have_both_families_inside_a_vnf(dual: Service) -> None:
    shown = dual.vnf("v1").exec("getent ahosts v2", check=True).stdout
    assert {str(ipv6_of(dual, "v2", "input")), str(dual.vnf("v2").ip("input"))} <= set(shown.split())
    text = dual.vnf("v1").exec("ping -6 -c 1 -W 2 output", check=True).stdout
    assert str(ipv6_of(dual, "output", "output")) in text


DROP_80_BY_IPV4 = (
    "nft add table ip half && nft add chain ip half c '{ type filter hook forward priority 0; }'"
    " && nft add rule ip half c tcp dport 80 drop && nft add rule ip half c icmp type echo-request drop"
)


@pytest.fixture
def half_open(dual: Service) -> Iterator[Service]:
    """v1 drops TCP to port 80, and echo requests, in its table of IPv4; what came by IPv6 it lets pass."""
    dual.vnf("v1").exec(DROP_80_BY_IPV4, check=True)
    yield dual
    dual.vnf("v1").exec("nft delete table ip half", check=True)


def test_an_address_of_each_ip_version(dual: Service, single: Service) -> None:
    v1 = dual.vnf("v1")
    assert v1.ip("input", version=6) == ipv6_of(dual, "v1", "input")
    assert v1.ip("input") == v1.ip("input", version=4)
    assert v1.ip("input", version=4).version == 4
    with pytest.raises(ProbeError, match=r"v1:input has no IPv6 address; .*ipv6=True"):
        single.vnf("v1").ip("input", version=6)
    with pytest.raises(ProbeError, match="version=5: IP has the versions 4 and 6"):
        v1.ip("input", version=5)  # type: ignore[arg-type]
    with pytest.raises(ProbeError, match="is no IPv6 address"):
        dual.ping("input", v1.ip("input"), version=6)


def test_probes_by_ip_version_see_a_firewall_of_one(half_open: Service) -> None:
    timeout = 0.3
    cases: tuple[tuple[Family | None, str, str | None], ...]
    cases = ((None, "dropped", "v1"), (4, "dropped", "v1"), (6, "open", None))
    for version, outcome, lost_at in cases:
        result = half_open.connect("input", "output", tcp=80, listen=True, timeout=timeout, version=version)
        assert (result.outcome, result.lost_at) == (outcome, lost_at)
        trace = half_open.trace("input", "output", tcp=80, timeout=timeout, version=version)
        assert trace.lost_at == lost_at
        echo = half_open.ping("input", "output", count=1, timeout=timeout, version=version)
        assert echo.received == (outcome == "open")
    sap, target = half_open.sap("input"), half_open.sap("output").ip(version=6)
    assert sap.ping("output", count=1, version=6).address == target
    assert sap.connect("output", tcp=80, listen=True, version=6).outcome == "open"


def test_a_policy_asks_in_both_ip_versions_or_in_one(half_open: Service, single: Service) -> None:
    table = """
        input output tcp   80 allow
        input output tcp6  80 allow
        input output udp4  80 allow
        input output icmp  -  deny
        input output icmp4 -  drop
    """
    result = half_open.policy(table, timeout=0.3)
    assert [(str(row.rule), row.ok) for row in result.rows] == [
        ("input output tcp4 80 allow", False),
        ("input output tcp6 80 allow", True),
        ("input output tcp6 80 allow", True),
        ("input output udp4 80 allow", True),
        ("input output icmp4 - deny", True),
        ("input output icmp6 - deny", False),
        ("input output icmp4 - drop", True),
    ]
    assert "tcp4   80    dropped, lost at v1" in str(result)
    assert [str(row.rule) for row in single.policy("input output tcp 80 allow\n").rows] == [
        "input output tcp 80 allow"
    ]
    with pytest.raises(ProbeError, match=r"line 1: output has no IPv6 address"):
        single.policy("input output tcp6 80 allow\n")


def test_measures_by_ip_version_see_a_firewall_of_one(half_open: Service) -> None:
    sap = half_open.sap("input")
    assert sap.path_mtu("output", version=6) == 1500
    assert half_open.throughput("input", "output", duration=0.1, port=80, version=6).rate > 0
    with half_open.flow("input", "output", tcp=80, version=6) as flow:
        flow.wait_until_flowing()
    version: Family | None
    for version in (None, 4):
        with pytest.raises(ProbeError):
            half_open.path_mtu("input", "output", version=version)
    with half_open.flow("input", "output", tcp=80, version=4) as flow:
        pass
    assert flow.received == 0


def test_management_is_not_reached_through_a_forwarding_vnf(dual: Service) -> None:
    assert dual.ping("admin", ipv6_of(dual, "v1", "mgmt")).loss == 0
    assert dual.ping("input", ipv6_of(dual, "admin", "admin"), count=1).received == 0


def test_ipv6_is_there_again_after_a_restart(dual: Service) -> None:
    dual.vnf("v1").restart()
    assert dual.ping("input", ipv6_of(dual, "output", "output")).loss == 0


def test_it_is_off_where_nobody_asked(single: Service) -> None:
    for vnf in single.vnfs.values():
        shown = vnf.exec("ip -6 -o addr", check=True).stdout
        assert [line.split()[1] for line in shown.splitlines()] == ["lo"]
        assert vnf.sysctl("net/ipv6/conf/input/disable_ipv6") == "1"
    sock = single.sap("input").socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with closing(sock), pytest.raises(OSError, match="unreachable"):
        sock.connect(("fd00::1", 9))


def test_one_vnf_may_ask_for_its_own_links(bed: TestBed) -> None:
    service = bed.start(chain(), vnfs={"*": {"ready": "exec:true"}, "v2": {"ipv6": True}})
    assert service.ping("output", ipv6_of(service, "v2", "output")).loss == 0
    assert service.vnf("v1").sysctl("net/ipv6/conf/output/disable_ipv6") == "0"
    assert service.vnf("v1").sysctl("net/ipv6/conf/input/disable_ipv6") == "1"
    service.stop()


def test_static_addresses_and_macs_are_the_descriptors(bed: TestBed) -> None:
    points = (
        ConnectionPoint(
            "data",
            addresses=tuple(map(ip_interface, ("192.0.2.7/28", "2001:db8::7/64"))),
            mac="0a:00:00:00:00:07",
        ),
    )
    vnf = NetworkFunction("fixed", image=BASE_IMAGE, connection_points=points)
    service = bed.start(
        NetworkService.of("fixed", [vnf], {"l": ["user", "fixed:data"]}), vnfs={"*": {"ready": "exec:true"}}
    )
    (interface,) = service.vnf("fixed").interfaces
    assert interface.mac == "0a:00:00:00:00:07"
    assert {str(own) for own in interface.addresses} >= {"192.0.2.7/28", "2001:db8::7/64"}
    assert str(service.sap("user").ip()) == "192.0.2.1"
    for address in ("192.0.2.7", "2001:db8::7"):
        assert service.ping("user", address).loss == 0
    service.stop()


# Offloads


def frames_of_a_transfer(service: Service, source: str, target: Endpoint, point: str) -> list[bytes]:
    """The TCP frames that come in at `target` while another endpoint sends it a megabyte."""
    ear = Ear(target, point)
    stop, frames = threading.Event(), list[bytes]()

    def listen() -> None:
        while not stop.wait(0.001):
            frames.extend(data for _, data in ear.heard())

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        assert bulk(service.endpoint(source), target, target.ip(point), 1_000_000) == 1_000_000
    finally:
        stop.set()
        listener.join(5)
        frames.extend(data for _, data in ear.heard())
        ear.close()
    return [data for data in frames if data[12:14] == b"\x08\x00" and data[23] == socket.IPPROTO_TCP]


def is_sound(data: bytes) -> bool:
    """Whether a TCP frame's checksum is right, as on a wire."""
    header = (data[14] & 15) * 4
    length = int.from_bytes(data[16:18], "big")
    segment = data[14 + header : 14 + length]
    text = data[26:34] + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(segment)) + segment
    total: int = sum(struct.unpack(f"!{len(text + bytes(len(text) % 2)) // 2}H", text + bytes(len(text) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total == 0xFFFF


def test_with_offload_off_every_frame_is_as_on_a_wire(single: Service) -> None:
    """What v2 gets: its peer's stack knows nothing of it, the outer end cuts and sums."""
    frames = frames_of_a_transfer(single, "v1", single.vnf("v2"), "input")
    assert sum(map(len, frames)) > 100_000  # as much as the ear's buffer holds
    assert max(map(len, frames)) <= 1514
    assert all(map(is_sound, frames))


def test_with_offload_off_it_sends_frames_as_on_a_wire(single: Service) -> None:
    frames = frames_of_a_transfer(single, "v2", single.vnf("v1"), "output")
    assert max(map(len, frames)) <= 1514
    assert all(map(is_sound, frames))


def test_without_it_the_kernel_passes_frames_on_whole(single: Service) -> None:
    """What makes the two tests above mean something."""
    frames = frames_of_a_transfer(single, "input", single.vnf("v1"), "input")
    assert max(map(len, frames)) > 1514
    assert not all(map(is_sound, frames))


def test_offloads_are_off_again_after_a_restart(single: Service) -> None:
    single.vnf("v2").restart()
    frames = frames_of_a_transfer(single, "v1", single.vnf("v2"), "input")
    assert max(map(len, frames)) <= 1514
