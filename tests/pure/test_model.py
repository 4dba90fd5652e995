from __future__ import annotations

import pytest

from pytest_sonemu.descriptors.model import ConnectionPoint, NetworkFunction, NetworkService, Reference


def test_a_chain_enters_at_the_first_interface_and_leaves_at_the_last() -> None:
    middle = NetworkFunction("b", image="b", interfaces=["left", "mirror", "right"])
    service = NetworkService.chain("input", NetworkFunction("a", image="a"), middle, "output")
    assert [(link.connectivity, *map(str, link.references)) for link in service.links] == [
        ("E-Line", "input", "a:input"),
        ("E-Line", "a:output", "b:left"),
        ("E-Line", "b:right", "output"),
    ]
    (path,) = service.paths
    assert " ".join(map(str, path.references)) == "input a:input a:output b:left b:right output"
    assert [sap.id for sap in service.saps] == ["input", "output"]
    assert [vnf.id for vnf in service.functions] == ["a", "b"]


def test_a_chain_may_end_in_a_vnf_of_one_interface() -> None:
    service = NetworkService.chain("input", NetworkFunction("web", image="web", interfaces=["data"]))
    assert service.links[0].references == (Reference(None, "input"), Reference("web", "data"))
    with pytest.raises(ValueError, match="at least two members"):
        NetworkService.chain("input")


def test_a_chain_keeps_off_interfaces_of_management() -> None:
    named = NetworkFunction("a", image="a", interfaces=["mgmt", "input", "output"])
    typed = NetworkFunction(
        "b", connection_points=(ConnectionPoint("data"), ConnectionPoint("ctrl", type="management"))
    )
    service = NetworkService.chain("in", named, typed)
    assert [str(end) for link in service.links for end in link.references] == [
        "in", "a:input", "a:output", "b:data",
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"no interface for data to pass in a chain \(there are: mgmt\)"):
        NetworkService.chain("in", NetworkFunction("a", interfaces=["mgmt"]))


def test_short_notation_declares_saps_by_using_them() -> None:
    vnfs = [NetworkFunction("lb", image="lb", interfaces=["front", "back"]), NetworkFunction("w", image="w")]
    service = NetworkService.of(
        "balanced", vnfs, {"in": ["client", "lb:front"]}, lans={"servers": ["lb:back", "w:input", "client"]}
    )
    assert [(link.id, link.connectivity) for link in service.links] == [
        ("in", "E-Line"),
        ("servers", "E-LAN"),
    ]
    assert [sap.id for sap in service.saps] == ["client"]
    assert not any(link.management for link in service.links)


def test_a_function_of_one_container_is_one_unit() -> None:
    vnf = NetworkFunction("fw", image="fw:dev", environment={"A": "1"}, command=["run", "it"])
    (unit,) = vnf.units
    assert (unit.image, unit.environment, unit.command) == ("fw:dev", {"A": "1"}, ("run", "it"))
    assert vnf.interfaces == ("input", "output")
    assert [point.id for point in unit.connection_points] == ["input", "output"]
    assert NetworkFunction("x", image="x", interfaces=()).connection_points == ()
    assert NetworkFunction("x", connection_points=(ConnectionPoint("a"),)).interfaces == ("a",)
