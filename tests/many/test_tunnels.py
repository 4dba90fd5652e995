"""TCP within tunnels between endpoints, over links that are direct, relayed, and relayed frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address

import pytest

from pytest_sonemu.descriptors.model import NetworkService
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.testbed import TestBed
from tests.support.traffic import bulk

SAPS = NetworkService.of("saps", [], {"link": ["a", "b"]})
KINDS = {
    "vxlan": "type vxlan id 5 dstport 4789 dev {dev}",
    "vxlan-summed": "type vxlan id 6 dstport 4790 udpcsum dev {dev}",
    "gre": "type gre",
    "ipip": "type ipip",
}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with TestBed() as bed:
        yield bed.start(SAPS)


@pytest.fixture(params=KINDS)
def far_end(service: Service, request: pytest.FixtureRequest) -> Iterator[IPv4Address]:
    """The address of `b` within a tunnel; skips where the kernel has none of the kind."""
    kind: str = request.param
    saps = service.sap("a"), service.sap("b")
    with ExitStack() as stack:
        for number, (own, other) in enumerate((saps, saps[::-1]), 1):
            interface = own.interfaces[0]
            words = KINDS[kind].format(dev=interface.name)
            made = own.run(f"ip link add tunnel {words} local {own.ip()} remote {other.ip()}")
            if not made.ok:
                pytest.skip(f"this kernel makes no {kind}: {made.stderr.strip()}")
            stack.callback(own.run, "ip link del tunnel")
            for words in (f"addr add 10.99.0.{number}/24 dev tunnel", "link set tunnel up"):
                own.run(f"ip {words}").check()
        yield IPv4Address("10.99.0.2")


def test_a_tunnel_carries_tcp_over_every_kind_of_link(service: Service, far_end: IPv4Address) -> None:
    a, b, link = service.sap("a"), service.sap("b"), service.link("link")
    assert bulk(a, b, far_end, 3_000_000) == 3_000_000
    for values in ({"delay": "1ms"}, {"rate": "100Mbit"}):
        with link.impair(**values):
            assert bulk(a, b, far_end, 3_000_000) == 3_000_000, values
    assert bulk(a, b, far_end, 3_000_000) == 3_000_000
