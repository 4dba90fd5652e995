"""A chain of three VNFs: crossed in order, each once; and who it is that does not pass packets on."""

from __future__ import annotations

import pytest

from pytest_sonemu import NetworkFunction, NetworkService, Service

VNFS = [NetworkFunction(name, image="sonemu/vnf-base") for name in ("fw", "ids", "wan")]

pytestmark = pytest.mark.sonemu(package=NetworkService.chain("input", *VNFS, "output", name="three"))


def test_every_vnf_is_crossed_once_and_in_order(service: Service) -> None:
    trace = service.trace("input", "output", tcp=80)
    assert trace.hops == [
        "fw:input", "fw:output", "ids:input", "ids:output", "wan:input", "wan:output", "output",
    ]  # fmt: skip
    assert trace.back_hops == trace.hops[::-1]
    assert trace.rewritten == ()  # no address translation on the way


def test_the_forwarding_path_is_followed(service: Service) -> None:
    assert service.path("chain").is_followed(tcp=80)
    assert service.path("chain").is_followed(icmp=True)


@pytest.mark.parametrize("vnf", ["fw", "ids", "wan"])
def test_who_does_not_forward_is_named(service: Service, vnf: str) -> None:
    service.vnf(vnf).sysctl("net.ipv4.ip_forward", 0)  # undone after this test
    trace = service.trace("input", "output", udp=5000, timeout=0.3)
    assert (trace.lost_at, trace.lost_way) == (vnf, "there")
    check = service.path("chain").is_followed(timeout=0.3)
    assert not check
    assert check.skipped[0] == f"{vnf}:output"
