"""What is on the wire, frame by frame, and whether it is still what it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_sonemu import NetworkFunction, NetworkService, Service

ROUTER = NetworkFunction("router", image="sonemu/vnf-base")
SERVER = NetworkFunction(
    "server", image="sonemu/vnf-base", interfaces=["data"], command=["python3", "-m", "http.server", "80"]
)

pytestmark = pytest.mark.sonemu(
    package=NetworkService.chain("input", ROUTER, SERVER, name="wire"), vnfs={"server": {"ready": 80}}
)


def test_a_request_goes_through_the_router(service: Service, tmp_path: Path) -> None:
    with service.vnf("router").capture(filter="tcp port 80") as capture:
        service.sap("input").http("http://server/")
    assert capture.count("src host input and syn") == 2  # into the router, and out of it
    request = next(packet for packet in capture if packet.payload)
    assert request.at == "router:input"
    assert request.payload.startswith(b"GET / HTTP/1.1")
    capture.save(tmp_path / "web.pcap")  # for Wireshark


def test_the_ttl_is_one_less_behind_the_router(service: Service) -> None:
    with service.vnf("router").capture(filter="udp port 53") as capture:
        service.connect("input", "server", udp=53)
    before, after = (packet.ip.ttl for packet in capture if packet.ip)
    assert after == before - 1


def test_an_answer_is_waited_for(service: Service) -> None:
    with service.link("link-2").capture("icmp and src host server") as capture:
        service.ping("input", "server", count=1)
        answers = capture.wait_for("icmp", timeout=2)
    assert {answer.at for answer in answers} == {"server:data"}


def test_a_refusal_looks_as_ever(service: Service) -> None:
    with service.sap("input").capture(filter="tcp port 81") as capture:
        service.connect("input", "server", tcp=81)
    assert capture.equals("refusal.pcap")
