"""A bed drawn: with characters, as a picture, for Graphviz; every link once, what failed in red."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_sonemu.handles.foreseeing import foresee
from pytest_sonemu.handles.starting import wanted
from pytest_sonemu.planning.draw import as_dot, as_mermaid
from pytest_sonemu.planning.plan import DeploymentPlan
from pytest_sonemu.planning.sketch import sketch
from pytest_sonemu.reports.picture import picture, pictures
from pytest_sonemu.topology.model import PoP, PopLink, Topology

EXAMPLES = Path(__file__).parents[2] / "example_packages"
TOPOLOGY = Topology((PoP("left"), PoP("right")), (PopLink("left", "right", delay=0.005, rate=100_000_000),))

FIREWALL = """\
bed lab
  left ── right  (5 ms, 100 Mbit/s)

firewall
  ┌─────────────┐                             ┌─────────────┐                            ┌──────────────┐
  │ input       ├─ input ── outside ── input ─┤ fw          ├─ output ── inside ── data ─┤ server       │
  │ SAP in left │ 10.30.1.1         10.30.1.2 │ VNF in left │ 10.30.0.1        10.30.0.2 │ VNF in right │
  └─────────────┘                             └─────────────┘                            └──────────────┘
"""


def plan_of(example: str) -> DeploymentPlan:
    topology = TOPOLOGY
    if example == "load-balancer":  # it says itself where its VNFs stand
        links = (*TOPOLOGY.links, PopLink("edge", "left"))
        topology = replace(TOPOLOGY, pops=(*TOPOLOGY.pops, PoP("edge")), links=links)
    return foresee(wanted(EXAMPLES / example, {}), topology)


def test_a_chain_is_boxes_in_a_row() -> None:
    assert sketch("lab", TOPOLOGY, [plan_of("firewall")], 110) == FIREWALL


@pytest.mark.parametrize("example", ["firewall", "chain", "load-balancer"])
def test_every_link_is_drawn_once_and_within_the_width(example: str) -> None:
    plan = plan_of(example)
    drawn = sketch("lab", TOPOLOGY, [plan], 90)
    assert max(map(len, drawn.splitlines())) <= 90
    for link in plan.links:
        assert len(re.findall(rf"(──+ {link.id} ──+|^  {link.id} \()", drawn, re.M)) == 1, drawn
    for endpoint in plan.endpoints:
        for interface in endpoint.interfaces:
            assert all(str(address.ip) in drawn for address in interface.addresses)


def test_a_lan_lists_its_members() -> None:
    drawn = sketch("lab", TOPOLOGY, [plan_of("load-balancer")])
    assert "  back (E-LAN, 10.20.0.0/24)\n  ├─ lb:back    10.20.0.1" in drawn


def test_the_picture_has_everything_and_marks_what_failed() -> None:
    root = ET.fromstring(picture(plan_of("firewall"), TOPOLOGY, ["fw:input", "inside"]))
    boxes = {each.get("id"): each.get("class") for each in root.iter() if each.get("id")}
    assert boxes == {"input": None, "fw": "failed", "server": None}
    reds = [each.text for each in root.iter() if each.get("fill") == "#c62828" and each.text]
    assert set(reds) == {"input", "10.30.1.2", "inside", "fw"}
    lines = [each for each in root.iter() if each.tag.endswith("path") and each.get("stroke") == "#c62828"]
    assert len(lines) == 1
    words = {each.text for each in root.iter() if each.text}
    assert {
        "left",
        "right",
        "left ── right  (5 ms, 100 Mbit/s)",
        "outside",
        "10.30.0.2",
        "SAP in left",
    } <= words


def test_nothing_is_drawn_over_another() -> None:
    for example in ("firewall", "chain", "load-balancer"):
        root = ET.fromstring(pictures([plan_of(example)], TOPOLOGY))
        groups = [each for each in root.iter() if each.get("id")]
        boxes = [next(each for each in group if each.tag.endswith("rect")) for group in groups]
        corners = {(box.get("x"), box.get("y")) for box in boxes}
        assert len(corners) == len(boxes)


def test_several_instances_are_one_drawing() -> None:
    plans = [plan_of("firewall"), plan_of("chain")]
    ids = {each.id for plan in plans for each in plan.endpoints}
    root = ET.fromstring(pictures(plans, TOPOLOGY))
    assert {each.get("id") for each in root.iter() if each.get("id")} == ids
    dot = as_dot(plans, TOPOLOGY)
    assert dot.count(" -- ") == sum(
        1 if link.kind == "E-Line" else len(link.ends) for p in plans for link in p.links
    )
    assert '"firewall/fw" -- "firewall/server" [label="inside", taillabel="output 10.30.0.1"' in dot
    chart = as_mermaid(*plans)
    assert len(set(re.findall(r"^ +(n\d+)[\[(]", chart, re.M))) == sum(len(plan.endpoints) for plan in plans)


def test_names_are_escaped() -> None:
    plan = plan_of("firewall")
    text = pictures([plan], Topology((PoP("left"), PoP('<a> & "b"'))))
    assert '<a> & "b"' in {each.text for each in ET.fromstring(text).iter()}
    assert r'label="<a> & \"b\""' in as_dot([plan], Topology((PoP("left"), PoP('<a> & "b"'))))
