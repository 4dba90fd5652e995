"""A service for a module: its tests share one instance, and what one changes the next does not see."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_sonemu import Service, service_fixture

EXAMPLES = Path(__file__).parents[2] / "example_packages"

firewall = service_fixture(EXAMPLES / "firewall", topology=EXAMPLES / "firewall/two-pops.yml", scope="module")


@pytest.fixture(scope="module")
def containers() -> set[str]:
    """The containers that the tests of this module have met."""
    return set()


def test_one_closes_the_firewall(firewall: Service, containers: set[str]) -> None:
    containers.add(firewall.vnf("fw").state.id)
    with firewall.undo():
        firewall.vnf("fw").sysctl("net.ipv4.ip_forward", 0)
        assert firewall.connect("input", "server", tcp=80, timeout=0.3).outcome == "dropped"
    assert firewall.connect("input", "server", tcp=80).outcome == "open"


def test_the_next_has_the_same_instance(firewall: Service, containers: set[str]) -> None:
    containers.add(firewall.vnf("fw").state.id)
    assert len(containers) == 1
    assert firewall.vnf("fw").state.lives == 1
