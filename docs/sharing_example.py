"""Beds and services as fixtures of your own: any scope, several services, no marks."""

from __future__ import annotations

from pytest_sonemu import Service, TestBed, bed_fixture, service_fixture

wan = bed_fixture("../example_packages/firewall/two-pops.yml", scope="module")
firewall = service_fixture("../example_packages/firewall", bed="wan", scope="module")
chain = service_fixture("../example_packages/chain", bed="wan", scope="module")


def test_two_services_on_one_bed(wan: TestBed, firewall: Service, chain: Service) -> None:
    assert firewall.sap("input").http("http://server/").ok
    assert chain.ping("input", "output").loss == 0
    assert len(wan.services) == 2
