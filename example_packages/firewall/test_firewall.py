"""The firewall lets the web through and nothing else, and everything goes through the firewall."""

from __future__ import annotations

import pytest

from pytest_sonemu import Service, TestBed

pytestmark = pytest.mark.sonemu(topology="two-pops.yml", package=".")


def test_the_web_is_reachable(service: Service) -> None:
    answer = service.sap("input").http("http://server/")
    assert answer.status_code == 200
    # The firewall routes; it does not hide who asks.
    assert answer.text == f"hello from server to {service.sap('input').ip()}\n"


def test_telnet_is_blocked(service: Service) -> None:
    probe = service.connect("input", "server", tcp=23, listen=True)
    assert probe.outcome == "dropped"
    assert probe.lost_at == "fw"  # seen into the firewall, and not out of it


def test_the_admin_page_is_refused_by_the_firewall(service: Service) -> None:
    assert service.connect("server", "server", tcp=8080).outcome == "open"
    probe = service.connect("input", "server", tcp=8080)
    assert (probe.outcome, probe.by) == ("rejected", "fw")


@pytest.mark.parametrize("port", [22, 443, 3306])
def test_no_other_port_is_open(service: Service, port: int) -> None:
    probe = service.connect("input", "server", tcp=port, listen=True, timeout=0.3)
    assert probe.outcome == "dropped"


def test_no_other_datagram_passes(service: Service) -> None:
    assert service.connect("input", "server", udp=53, listen=True, timeout=0.3).lost_at == "fw"


def test_the_server_answers_but_never_calls(service: Service) -> None:
    assert service.ping("input", "server").loss == 0
    assert service.vnf("server").ping("input", count=1, timeout=0.3).loss == 1
    probe = service.connect("server", "input", tcp=80, listen=True, timeout=0.3)
    assert (probe.outcome, probe.lost_at) == ("dropped", "fw")


def test_all_traffic_crosses_the_firewall(service: Service) -> None:
    assert service.connect("input", "server", tcp=80).outcome == "open"
    service.vnf("fw").sysctl("net.ipv4.ip_forward", 0)  # undone after this test
    probe = service.connect("input", "server", tcp=80)
    assert (probe.outcome, probe.lost_at) == ("dropped", "fw")


def test_the_link_between_the_pops_carries_it(service: Service, testbed: TestBed) -> None:
    assert (service.vnf("fw").pop, service.vnf("server").pop) == ("pop1", "pop2")
    before = testbed.link("pop1", "pop2").stats()
    service.ping("input", "server", count=10)
    after = testbed.link("pop1", "pop2").stats()
    assert after.packets - before.packets >= 20


def test_the_rules_survive_a_restart(service: Service) -> None:
    service.vnf("fw").restart()
    assert service.connect("input", "server", tcp=80).outcome == "open"
    assert service.connect("input", "server", tcp=23, timeout=0.3).outcome == "dropped"
