"""A plan as JSON for programs, and as a Mermaid diagram or Graphviz's DOT for pages that draw it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from pytest_sonemu.planning.chains import addresses
from pytest_sonemu.planning.plan import DeploymentPlan, EndpointPlan, LinkEnd, LinkPlan
from pytest_sonemu.planning.splicing import with_neighbours
from pytest_sonemu.topology.model import Topology


def as_json(plan: DeploymentPlan) -> str:
    """The whole plan as indented JSON: addresses and networks as texts, no secret's value in it."""
    return json.dumps(_plain(plan), indent=2, ensure_ascii=False) + "\n"


def as_mermaid(*plans: DeploymentPlan) -> str:
    """A flow chart: PoPs as frames, VNFs and SAPs in them, an edge for each end of a virtual link."""
    return "\n".join(_chart([with_neighbours(plan) for plan in plans])) + "\n"


def as_dot(plans: Sequence[DeploymentPlan], topology: Topology) -> str:
    """For Graphviz: PoPs as clusters, edges for virtual links with interfaces and addresses at their ends."""
    return "\n".join(_graph([with_neighbours(plan) for plan in plans], topology)) + "\n"


def _graph(plans: Sequence[DeploymentPlan], topology: Topology) -> Iterator[str]:
    yield "graph bed {"
    yield "    rankdir=LR; node [shape=box, fontname=sans]; edge [fontname=sans, fontsize=9];"
    for number, pop in enumerate(topology.pops):
        yield f"    subgraph cluster_{number} {{"
        yield f"        label={_dot(pop.name)};"
        for plan in plans:
            for endpoint in plan.endpoints:
                if endpoint.pop == pop.name:
                    shape = "" if endpoint.kind == "vnf" else ", style=rounded"
                    yield f"        {_node(plan, endpoint.id)} [label={_dot(endpoint.id)}{shape}];"
        yield "    }"
    for plan in plans:
        for link in plan.links:
            yield from _dot_edges(plan, link)
    yield "}"


def _dot_edges(plan: DeploymentPlan, link: LinkPlan) -> Iterator[str]:
    style = ", style=dashed" if link.management else ""
    if link.kind == "E-Line" and len(link.ends) == 2:
        tail, head = link.ends
        labels = f"taillabel={_dot(_end(plan, tail))}, headlabel={_dot(_end(plan, head))}"
        nodes = f"{_node(plan, tail.endpoint)} -- {_node(plan, head.endpoint)}"
        yield f"    {nodes} [label={_dot(link.id)}, {labels}{style}];"
        return
    hub = _node(plan, f"link {link.id}")
    yield f"    {hub} [label={_dot(f'{link.id} ({link.kind})')}, shape=ellipse];"
    for end in link.ends:
        yield f"    {_node(plan, end.endpoint)} -- {hub} [taillabel={_dot(_end(plan, end))}{style}];"


def _end(plan: DeploymentPlan, end: LinkEnd) -> str:
    return " ".join([end.interface, *addresses(plan, end)])


def _node(plan: DeploymentPlan, name: str) -> str:
    return _dot(f"{plan.instance}/{name}")


def _dot(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _chart(plans: Sequence[DeploymentPlan]) -> Iterator[str]:
    yield "flowchart LR"
    pops: dict[str, list[tuple[str, EndpointPlan]]] = {}
    names: list[dict[str, str]] = []
    number = 0
    for plan in plans:
        names.append({})
        for endpoint in plan.endpoints:
            number += 1
            names[-1][endpoint.id] = f"n{number}"
            pops.setdefault(endpoint.pop, []).append((f"n{number}", endpoint))
    for number, (pop, members) in enumerate(pops.items(), start=1):
        yield f'    subgraph pop{number}["{_quoted(pop)}"]'
        for name, endpoint in members:
            left, right = ("([", "])") if endpoint.kind != "vnf" else ("[", "]")
            yield f'        {name}{left}"{_label(endpoint)}"{right}'
        yield "    end"
    links = [(link, known) for plan, known in zip(plans, names, strict=True) for link in plan.links]
    for number, (link, known) in enumerate(links, start=1):
        yield from _edges(number, link, known)


def _edges(number: int, link: LinkPlan, names: Mapping[str, str]) -> Iterator[str]:
    ends = [(names[end.endpoint], end.interface) for end in link.ends if end.endpoint in names]
    line = "-.-" if link.management else "---"
    if link.kind == "E-Line" and len(ends) == 2:
        (a, _), (b, _) = ends
        yield f'    {a} {line}|"{_quoted(link.id)}"| {b}'
        return
    yield f'    l{number}{{{{"{_quoted(link.id)} ({link.kind})"}}}}'
    for name, interface in ends:
        yield f'    {name} {line}|"{_quoted(interface)}"| l{number}'


def _label(endpoint: EndpointPlan) -> str:
    image = f"<br/>{_quoted(endpoint.container.image.reference)}" if endpoint.container is not None else ""
    return f"{_quoted(endpoint.id)}{image}"


def _quoted(text: str) -> str:
    return text.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(entry) for entry in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return value.as_posix() if isinstance(value, Path) else str(value)
