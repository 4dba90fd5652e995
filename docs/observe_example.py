"""What really goes over the wires: the way of a conversation, and every frame of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_sonemu import Service

FIREWALL = "example_packages/firewall"

pytestmark = pytest.mark.sonemu(package=FIREWALL, topology=f"{FIREWALL}/two-pops.yml")


def test_the_way_there_and_back(service: Service) -> None:
    trace = service.trace("input", "server", tcp=80)
    assert trace.hops == ["fw:input", "fw:output", "server:data"]
    assert trace.back_hops == ["server:data", "fw:output", "fw:input"]
    assert trace.rewritten == ()  # no address translation on the way
    assert service.path("web-in").is_followed(http=True)


def test_where_it_ends(service: Service) -> None:
    trace = service.trace("input", "server", tcp=23, timeout=0.3)
    assert trace.hops == ["fw:input"]
    assert (trace.lost_at, trace.lost_way) == ("fw", "there")


def test_what_is_on_the_wire(service: Service, tmp_path: Path) -> None:
    with service.vnf("fw").capture(filter="tcp") as capture:
        service.sap("input").http("http://server/")
        service.connect("input", "server", tcp=23, timeout=0.3)
    assert capture.count("port 80 and src host input and syn") == 2  # into fw, and out of it
    assert {packet.at for packet in capture.matching("port 23")} == {"fw:input"}
    request = next(packet for packet in capture if packet.payload)
    assert request.payload.startswith(b"GET / HTTP/1.1")
    capture.save(tmp_path / "web.pcap")  # for Wireshark


def test_an_answer_is_waited_for(service: Service) -> None:
    with service.link("inside").capture("icmp and src host server") as capture:
        service.ping("input", "server", count=1)
        (answer,) = capture.wait_for("icmp")[-1:]
    assert answer.at == "server:data"


def test_nothing_else_is_said(service: Service) -> None:
    with service.sap("input").capture(filter="udp") as capture:
        service.connect("input", "server", udp=53, listen=True)
    assert capture.equals("query.pcap", ignore=["ip.ident", "ports.ephemeral", "payload"])
