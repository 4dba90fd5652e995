"""An attack that was recorded elsewhere runs past an intrusion detection system."""

from __future__ import annotations

import pytest

from pytest_sonemu import NetworkFunction, NetworkService, Service, TestBed

SIDES = {"192.0.2.1": "attacker", "192.0.2.80": "victim"}
# Stands for a real one: whoever asks for /etc/passwd is written into a log of JSON lines.
SENSOR = """
import json, socket

sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
sniffer.bind(("input", 3))
with open("/var/log/eve.json", "w", buffering=1) as log:
    while True:
        packet = sniffer.recv(65535)
        if b"/etc/passwd" in packet:
            print(json.dumps({"alert": "password file", "bytes": len(packet)}), file=log)
"""


@pytest.fixture
def service(testbed: TestBed) -> Service:
    ids = NetworkFunction("ids", image="sonemu/vnf-base")
    service = testbed.start(NetworkService.chain("attacker", ids, "victim", name="watched"))
    service.vnf("ids").put(SENSOR.encode(), "/sensor.py")
    service.vnf("ids").spawn(["python3", "/sensor.py"])
    service.vnf("ids").wait_for_file("/var/log/eve.json")
    return service


def test_the_attack_is_noticed(service: Service) -> None:
    alerts = service.vnf("ids").watch("/var/log/eve.json", format="json")
    result = service.replay("attack.pcap", SIDES)
    assert result.lost == ()
    alerts.wait(lambda alert: alert["alert"] == "password file", timeout=2)


def test_harmless_traffic_is_not(service: Service) -> None:
    alerts = service.vnf("ids").watch("/var/log/eve.json", format="json")
    assert service.replay("harmless.pcap", SIDES, speed="max").lost == ()
    alerts.none(during=0.2)


def test_an_attack_that_is_cut_off(service: Service) -> None:
    service.vnf("ids").exec("nft add table ip ips", check=True)
    service.vnf("ids").exec(
        ["nft", "-f", "-"],
        stdin="table ip ips { chain f { type filter hook forward priority 0; tcp flags psh drop; }; }",
        check=True,
    )
    result = service.replay("attack.pcap", SIDES, speed="max", timeout="100ms")
    assert result.lost[0].number == 4  # the request
    assert result.lost[0].last_seen == "seen into ids:input, not out of ids"
