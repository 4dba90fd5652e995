"""Two services at once in one test: on one bed they run side by side and do not see each other."""

from __future__ import annotations

from pathlib import Path

from pytest_sonemu import Service, TestBed, bed_fixture, service_fixture

EXAMPLES = Path(__file__).parents[2] / "example_packages"

wan = bed_fixture(EXAMPLES / "firewall/two-pops.yml", scope="module")
firewall = service_fixture(EXAMPLES / "firewall", bed="wan", scope="module")
chain = service_fixture(EXAMPLES / "chain", bed="wan", scope="module")


def test_both_carry_traffic(wan: TestBed, firewall: Service, chain: Service) -> None:
    assert {service.id for service in wan.services} == {firewall.id, chain.id}
    assert firewall.sap("input").http("http://server/").ok
    assert chain.ping("input", "output").loss == 0


def test_neither_sees_the_other(firewall: Service, chain: Service) -> None:
    mine = {subnet for link in firewall.links.values() for subnet in link.subnets}
    theirs = {subnet for link in chain.links.values() for subnet in link.subnets}
    assert mine.isdisjoint(theirs)
    before = [link.stats() for link in chain.links.values()]
    assert firewall.ping("input", "server", count=20).loss == 0
    after = [link.stats() for link in chain.links.values()]
    # Neighbours are asked for now and then, by one frame each; twenty pings would be forty.
    assert sum(one.packets for one in after) - sum(one.packets for one in before) < 20
    assert chain.sap("input").ping(firewall.vnf("server").ip(), count=1, timeout=0.3).received == 0


def test_the_same_package_twice(wan: TestBed, firewall: Service) -> None:
    second = wan.start(EXAMPLES / "firewall")  # ended after this test
    assert second.id != firewall.id
    assert second.sap("input").ip() != firewall.sap("input").ip()
    second.vnf("server").kill()
    assert firewall.sap("input").http("http://server/").ok
