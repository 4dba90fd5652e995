"""A service changed while it runs: another image, more of a VNF, an attacker, an IDS, a second service."""

from __future__ import annotations

import pytest

from pytest_sonemu import NetworkFunction, NetworkService, Service, TestBed

BASE = "sonemu/vnf-base"
SERVER = ["python3", "-m", "http.server", "80", "--directory", "/etc"]

pytestmark = pytest.mark.sonemu(
    package=NetworkService.of(
        "shop",
        [
            NetworkFunction("fw", image=BASE, interfaces=["outside", "inside"]),
            NetworkFunction("gate", image=BASE, interfaces=["front", "lan"]),
            NetworkFunction("web", image=BASE, interfaces=["lan"]),
        ],
        {"link-1": ["user", "fw:outside"], "link-2": ["fw:inside", "gate:front"]},
        lans={"lan": ["gate:lan", "web:lan", "admin"]},
    ),
    vnfs={"web": {"command": SERVER, "ready": [80]}},
)


def test_a_new_version_of_a_vnf(service: Service) -> None:
    address = service.vnf("web").ip()
    service.vnf("web").update(env={"MODE": "strict"})  # or image="web:dev"
    assert service.vnf("web").exec("echo $MODE").stdout == "strict\n"
    assert service.vnf("web").ip() == address
    assert service.sap("admin").http("http://web/hostname").text == "web\n"


def test_three_servers(service: Service) -> None:
    for web in service.scale("web", 3):
        assert service.sap("admin").http(f"http://{web.id}/hostname").text == f"{web.id}\n"


def test_a_stranger_in_the_lan(service: Service, testbed: TestBed) -> None:
    attacker = testbed.host("attacker", on=service.link("lan"))
    assert attacker.connect("web", tcp=80).outcome == "open"
    assert attacker.connect("web", tcp=22).outcome == "refused"


def test_what_an_ids_sees(service: Service, testbed: TestBed) -> None:
    ids = testbed.container("ids", image=BASE, tap=service.link("link-2"))
    alarms = ids.spawn(["tcpdump", "-l", "-n", "-i", "eth0", "icmp"])
    alarms.wait_for("listening")
    service.ping("fw", "gate:front")
    alarms.wait_for("echo reply")


def test_two_services_in_a_row(service: Service, testbed: TestBed) -> None:
    shield = testbed.start(NetworkService.chain("outer", NetworkFunction("shield", image=BASE), "inner"))
    testbed.join(shield.sap("inner"), service.sap("user"))
    trace = shield.trace("outer", service.vnf("fw"), icmp=True)
    assert trace.hops == ["shield:input", "shield:output", f"{service.id}/fw:outside"]
