"""The fixture `gatekeeper`: HTTP and handles on one bed, and the next test finds it as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_sonemu import Service, TestBed
from pytest_sonemu.errors import GatekeeperError
from pytest_sonemu.gatekeeper.client import GatekeeperClient
from tests.support.small_packages import small

FIREWALL = Path(__file__).parents[2] / "example_packages" / "firewall"

pytestmark = pytest.mark.sonemu(topology=FIREWALL / "two-pops.yml", package=FIREWALL)


def test_a_tests_service_is_listed(gatekeeper: GatekeeperClient, service: Service) -> None:
    assert gatekeeper.instances() == ((service.uuid,),)
    assert [vnf.id for vnf in gatekeeper.instance(service.uuid).vnfs] == list(service.vnfs)


def test_what_is_started_over_http_has_handles(gatekeeper: GatekeeperClient, testbed: TestBed) -> None:
    gatekeeper.onboard_bytes(small())
    uuid = gatekeeper.start()
    assert testbed.service(uuid).ping("input", "fw:input").loss == 0
    assert len(testbed.services) == 2


def test_it_ended_with_the_test(
    sonemu_gatekeeper: GatekeeperClient, testbed: TestBed, service: Service
) -> None:
    assert [one.id for one in testbed.services] == [service.id]
    assert sonemu_gatekeeper.packages() == ()
    with pytest.raises(GatekeeperError, match="belongs to a test"):
        sonemu_gatekeeper.exit()
