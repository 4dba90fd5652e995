"""Packets go the whole chain and back, by the data links alone; every link keeps to itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address, IPv4Network
from select import select
from socket import AF_PACKET, SOCK_RAW, htons, socket
from time import monotonic

import pytest

from pytest_sonemu import Service

pytestmark = pytest.mark.sonemu(topology="three-pops.yml", package=".")

HOPS = ("hop1", "hop2", "hop3")
PRIVATE = 0x88B5  # an EtherType left free for experiments: no kernel sends or answers it


def test_the_addresses_are_those_of_the_plan(service: Service) -> None:
    assert service.link("link-12").subnets == (IPv4Network("10.30.0.0/30"),)
    assert service.vnf("hop1").ip("output") == IPv4Address("10.30.0.1")
    assert service.vnf("hop2").ip("input") == IPv4Address("10.30.0.2")
    management = [service.vnf(hop).ip("mgmt") for hop in HOPS]
    assert management == [IPv4Address(f"10.20.0.{number}") for number in (1, 2, 3)]
    # And they are what the kernels in there have, not only what was planned.
    for hop in HOPS:
        for interface in service.vnf(hop).interfaces:
            planned = service.vnf(hop).ip(interface.connection_point)
            assert [address.ip for address in interface.addresses] == [planned]
            assert interface.up


def test_the_chain_is_crossed_both_ways(service: Service) -> None:
    probe = service.connect("input", "output", tcp=80, listen=True)
    assert probe.outcome == "open"
    assert probe.path.there == (
        "hop1:input", "hop1:output", "hop2:input", "hop2:output", "hop3:input", "hop3:output", "output",
    )  # fmt: skip
    assert service.ping("input", "output").loss == 0
    assert service.ping("output", "input").loss == 0


@pytest.mark.parametrize("hop", HOPS)
def test_every_hop_is_needed(service: Service, hop: str) -> None:
    service.vnf(hop).sysctl("net.ipv4.ip_forward", 0)  # undone after this test
    probe = service.connect("input", "output", tcp=80, listen=True, timeout=0.3)
    assert (probe.outcome, probe.lost_at) == ("dropped", hop)


@pytest.mark.parametrize("hop", HOPS)
def test_management_reaches_every_hop(service: Service, hop: str) -> None:
    url = f"http://{service.vnf(hop).ip('mgmt')}:9000/"
    assert service.sap("mgmt").http(url).text == f"{hop} is up\n"


def test_management_and_data_are_apart(service: Service) -> None:
    size, count = 1000, 200
    before = service.link("mgmt").stats()
    assert service.sap("input").ping("output", count, interval=0.002, size=size).loss == 0
    after = service.link("mgmt").stats()
    crossed = sum(d.bytes for d in after.directions) - sum(d.bytes for d in before.directions)
    assert crossed < size  # of 400 kB not one packet; hosts may ask for each other's MAC now and then
    assert service.connect("mgmt", "output", tcp=80).outcome == "no_route"


def test_a_frame_of_one_link_is_seen_on_no_other(service: Service) -> None:
    interfaces = {end: link.id for link in service.links.values() for end in link.endpoints}
    with listening(service, sorted({end.partition(":")[0] for end in interfaces})) as ears:
        expected = {
            (token(end), other)
            for end, link in interfaces.items()
            for other in interfaces
            if interfaces[other] == link and other != end
        }
        seen: set[tuple[bytes, str]] = set()
        # Twice: what a first frame had set astray would be here before the second round is over.
        for _ in range(2):
            heard: set[tuple[bytes, str]] = set()
            for end in interfaces:
                send(service, end, ears)
            deadline = monotonic() + 3
            while not heard >= expected and monotonic() < deadline:
                heard |= hear(ears)
            seen |= heard
        assert seen == expected


def token(end: str) -> bytes:
    return f"from {end}".encode().ljust(46, b".")


@contextmanager
def listening(service: Service, endpoints: list[str]) -> Iterator[dict[str, socket]]:
    """A packet socket for the private EtherType in each endpoint, on all of its interfaces."""
    with ExitStack() as stack:
        ears = {}
        for endpoint in endpoints:
            made = service.endpoint(endpoint).socket(AF_PACKET, SOCK_RAW, htons(PRIVATE))
            ears[endpoint] = stack.enter_context(made)
        yield ears


def send(service: Service, end: str, ears: dict[str, socket]) -> None:
    """A broadcast frame out of one connection point."""
    endpoint, _, point = end.partition(":")
    interface = service.endpoint(endpoint).interface(point or endpoint)
    mac = bytes.fromhex(interface.mac.replace(":", ""))
    frame = b"\xff" * 6 + mac + PRIVATE.to_bytes(2, "big") + token(end)
    ears[endpoint].sendto(frame, (interface.name, PRIVATE))


def hear(ears: dict[str, socket]) -> set[tuple[bytes, str]]:
    """(content, connection point) of every frame that has come in; waits for one at most 0.2 s."""
    heard = set()
    for ready in select(list(ears.values()), [], [], 0.2)[0]:
        endpoint = next(name for name, ear in ears.items() if ear is ready)
        frame, (interface, _, kind, *_) = ready.recvfrom(2048)
        if kind != 4:  # PACKET_OUTGOING: our own frame on its way out
            heard.add((frame[14:], endpoint if interface == endpoint else f"{endpoint}:{interface}"))
    return heard
