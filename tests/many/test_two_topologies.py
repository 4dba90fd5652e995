"""One test over two topologies: the marker's list makes two tests of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_sonemu import Service, TestBed
from pytest_sonemu.topology.model import PoP, Topology

EXAMPLES = Path(__file__).parents[2] / "example_packages"
ONE_POP = Topology(pops=(PoP("all"),), name="one-pop")


@pytest.mark.sonemu(package=EXAMPLES / "firewall", topology=[ONE_POP, EXAMPLES / "firewall/two-pops.yml"])
def test_the_web_is_reachable_wherever_the_vnfs_stand(
    service: Service, testbed: TestBed, request: pytest.FixtureRequest
) -> None:
    assert service.sap("input").http("http://server/").ok
    pops = {vnf.pop for vnf in service.vnfs.values()}
    assert pops == ({"all"} if "one-pop" in request.node.name else {"pop1", "pop2"})
    assert pops == {pop.name for pop in testbed.topology.pops}
