"""A plan as JSON for programs, and as a Mermaid diagram for pages that draw it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from pytest_sonemu.planning.plan import DeploymentPlan, EndpointPlan, LinkPlan


def as_json(plan: DeploymentPlan) -> str:
    """The whole plan as indented JSON: addresses and networks as texts, no secret's value in it."""
    return json.dumps(_plain(plan), indent=2, ensure_ascii=False) + "\n"


def as_mermaid(plan: DeploymentPlan) -> str:
    """A flow chart: PoPs as frames, VNFs and SAPs in them, an edge for each end of a virtual link."""
    return "\n".join(_chart(plan)) + "\n"


def _chart(plan: DeploymentPlan) -> Iterator[str]:
    yield "flowchart LR"
    names = {endpoint.id: f"n{number}" for number, endpoint in enumerate(plan.endpoints, start=1)}
    pops: dict[str, list[EndpointPlan]] = {}
    for endpoint in plan.endpoints:
        pops.setdefault(endpoint.pop, []).append(endpoint)
    for number, (pop, members) in enumerate(pops.items(), start=1):
        yield f'    subgraph pop{number}["{_quoted(pop)}"]'
        for endpoint in members:
            left, right = ("([", "])") if endpoint.kind != "vnf" else ("[", "]")
            yield f'        {names[endpoint.id]}{left}"{_label(endpoint)}"{right}'
        yield "    end"
    for number, link in enumerate(plan.links, start=1):
        yield from _edges(number, link, names)


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
