"""Ways out of the bed in a plan: addresses, routes, what is kept apart, who is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_sonemu.descriptors.model import NetworkFunction, NetworkService
from pytest_sonemu.emulation import uplinks as ways
from pytest_sonemu.emulation.transcript import Transcript
from pytest_sonemu.errors import CapabilityError, PlanningError, SettingsError
from pytest_sonemu.gatekeeper.on_bed import check_options
from pytest_sonemu.planning.describe import describe
from pytest_sonemu.planning.make import make_plan
from pytest_sonemu.planning.option_models import SapOptions, ServiceOptions
from pytest_sonemu.planning.plan import Allocations, DeploymentPlan, EndpointPlan, ImageChoice
from pytest_sonemu.topology.model import SapSite, Topology

CHAIN = NetworkService.of(
    "ways",
    [NetworkFunction("app", interfaces=["data"]), NetworkFunction("fw")],
    {"inner": ["app:data", "fw:input"], "outer": ["fw:output", "out"], "side": ["out", "aside"]},
)


def plan(
    allocations: Allocations | None = None, topology: Topology | None = None, **uplinks: str
) -> DeploymentPlan:
    images = {name: ImageChoice("x", "sha256:x", "test", ("/x",)) for name in ("app", "fw", "out")}
    return make_plan(
        CHAIN,
        topology or Topology(),
        bed="b",
        options=ServiceOptions(saps={sap: SapOptions(uplink=uplink) for sap, uplink in uplinks.items()}),
        images=images,
        allocations=allocations or Allocations(),
    )


def endpoint(made: DeploymentPlan, name: str) -> EndpointPlan:
    found = made.endpoint(name)
    assert found is not None
    return found


def default_of(made: DeploymentPlan, name: str) -> list[str]:
    return [str(r.gateway) for r in endpoint(made, name).routes if r.destination.prefixlen == 0]


def subnet(made: DeploymentPlan, link_id: str) -> str:
    link = made.link(link_id)
    assert link is not None
    return str(link.subnets[0])


def test_nat_has_a_subnet_of_its_own_and_the_next_instance_the_next() -> None:
    first = plan(out="nat")
    uplink = endpoint(first, "out").uplink
    assert uplink is not None
    assert (uplink.interface, str(uplink.address), str(uplink.gateway)) == (
        "uplink",
        "10.10.0.1/30",
        "10.10.0.2",
    )
    second = endpoint(plan(Allocations(networks=first.networks()), out="nat"), "out").uplink
    assert str(second and second.address) == "10.10.1.1/30"
    assert "uplink: nat, 10.10.0.1/30 behind 10.10.0.2" in describe(first)


def test_who_can_reach_it_has_its_default_route_there() -> None:
    made = plan(out="nat")
    out, fw = endpoint(made, "out"), endpoint(made, "fw")
    assert default_of(made, "fw") == [str(out.interfaces[0].addresses[0].ip)]
    assert default_of(made, "app") == [str(fw.interfaces[0].addresses[0].ip)]
    assert default_of(made, "aside") == [str(out.interfaces[1].addresses[0].ip)]
    assert default_of(made, "out") == []  # its own comes with the tap
    assert dict(out.sysctls)["net.ipv4.ip_forward"] == "1"
    assert default_of(plan(), "app") == []
    assert dict(endpoint(plan(), "out").sysctls)["net.ipv4.ip_forward"] == "0"


def test_it_passes_on_what_goes_out_not_what_goes_from_link_to_link() -> None:
    made = plan(out="nat")
    barriers = {(one.interface, str(one.destination)) for one in endpoint(made, "out").barriers}
    inner, outer, side = (subnet(made, link) for link in ("inner", "outer", "side"))
    assert barriers == {("out", side), ("out.2", outer), ("out.2", inner)}


def test_a_topology_may_give_it() -> None:
    made = plan(topology=Topology(saps=(SapSite("out", uplink="eth1"),)))
    assert "uplink: this machine's interface eth1" in describe(made)
    with pytest.raises(PlanningError, match="both to have interface 'eth1'"):
        plan(out="eth1", aside="eth1")
    with pytest.raises(PlanningError, match="an image and an uplink"):
        plan(topology=Topology(saps=(SapSite("out", image="x", uplink="nat"),)))


def test_over_http_nobody_asks_for_it() -> None:
    with pytest.raises(SettingsError, match=r"saps\.out\.uplink cannot be set over HTTP"):
        check_options({"saps": {"out": {"uplink": "nat"}}})


def test_a_program_that_lacks_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "_program", lambda name: None if name == "slirp4netns" else f"/usr/bin/{name}")
    made = plan(out="nat")
    with pytest.raises(CapabilityError, match=r"SAP 'out'.*needs slirp4netns; apt install slirp4netns"):
        ways.Uplinks(0, Transcript(tmp_path / "log")).check(made)
    plain = replace(made, endpoints=tuple(replace(one, uplink=None) for one in made.endpoints))
    ways.Uplinks(0, Transcript(tmp_path / "log")).check(plain)
