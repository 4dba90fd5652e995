"""The gatekeeper over HTTP in a test: what is started there has handles here, on the same bed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_sonemu import TestBed
from pytest_sonemu.gatekeeper.client import GatekeeperClient

FIREWALL = Path(__file__).parents[1] / "example_packages/firewall"

pytestmark = pytest.mark.sonemu(topology=FIREWALL / "two-pops.yml")


def test_a_package_over_http(gatekeeper: GatekeeperClient, testbed: TestBed) -> None:
    package = gatekeeper.onboard(FIREWALL).service_uuid
    instance = gatekeeper.start(package, placement={"fw": "pop2"})
    assert {vnf.id: vnf.pop for vnf in gatekeeper.instance(instance).vnfs}["fw"] == "pop2"

    firewall = testbed.service(instance)
    assert firewall.connect("input", "server", tcp=80).outcome == "open"
    assert firewall.connect("input", "server", tcp=23).lost_at == "fw"

    gatekeeper.stop(instance)
    assert testbed.services == ()
