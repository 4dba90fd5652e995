"""A bed's topology as an SVG picture: PoPs with their endpoints, links between them, in red what failed."""

from __future__ import annotations

from collections.abc import Collection
from html import escape

from pytest_sonemu.planning.plan import DeploymentPlan, EndpointPlan, LinkPlan
from pytest_sonemu.topology.model import Topology

_BOX, _GAP, _POP, _TOP = (170, 46), 34, 250, 60
_RED, _GREY, _BLUE = "#c62828", "#546e7a", "#1565c0"
_FILLS = {"vnf": "#e3f2fd", "sap": "#f1f8e9", "host": "#fff8e1"}

Point = tuple[float, float]


def picture(plan: DeploymentPlan, topology: Topology, failed: Collection[str] = ()) -> str:
    """The picture of one instance. `failed`: endpoints ("fw"), points ("fw:input"), links ("link-1")."""
    places = _places(plan, topology)
    rows = max((len(column) for column in _columns(plan, topology).values()), default=1)
    width, height = _POP * max(1, len(topology.pops)) + _GAP, _TOP + rows * (_BOX[1] + _GAP) + 90
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
            f' viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
        ),
        f"<title>{escape(plan.instance)} on {escape(plan.bed)}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, pop in enumerate(topology.pops):
        left = _GAP / 2 + number * _POP
        parts.append(
            f'<rect x="{left:.0f}" y="24" width="{_POP - _GAP / 2:.0f}" height="{height - 40}" rx="8"'
            f' fill="#fafafa" stroke="#cfd8dc"/>'
        )
        parts.append(f'<text x="{left + 10:.0f}" y="44" fill="{_GREY}">{escape(pop.name)}</text>')
    for number, link in enumerate(plan.links):
        parts += _link(link, number, places, height, _link_failed(link, failed))
    for endpoint in plan.endpoints:
        parts += _endpoint(endpoint, places[endpoint.id], _endpoint_failed(endpoint, failed))
    return "\n".join([*parts, "</svg>", ""])


def _columns(plan: DeploymentPlan, topology: Topology) -> dict[str, list[str]]:
    columns: dict[str, list[str]] = {pop.name: [] for pop in topology.pops}
    for endpoint in plan.endpoints:
        columns.setdefault(endpoint.pop, []).append(endpoint.id)
    return columns


def _places(plan: DeploymentPlan, topology: Topology) -> dict[str, Point]:
    """The middle of each endpoint's box."""
    return {
        endpoint: (_GAP + column * _POP + _BOX[0] / 2, _TOP + row * (_BOX[1] + _GAP) + _BOX[1] / 2)
        for column, endpoints in enumerate(_columns(plan, topology).values())
        for row, endpoint in enumerate(endpoints)
    }


def _link(link: LinkPlan, number: int, places: dict[str, Point], height: int, failed: bool) -> list[str]:
    colour = _RED if failed else _GREY if link.management else _BLUE
    style = f'stroke="{colour}" stroke-width="{3 if failed else 1.5}" fill="none"'
    dashes = ' stroke-dasharray="4 3"' if link.management else ""
    ends = [places[end.endpoint] for end in link.ends]
    if link.kind == "E-Line" and len(ends) == 2:
        (x1, y1), (x2, y2) = ends
        # Bent, so that two links between the same endpoints can be told apart.
        bend = 26 + 9 * (number % 3) if abs(x1 - x2) < 1 else 0
        middle = ((x1 + x2) / 2 + _BOX[0] / 2 * (bend > 0) + bend, (y1 + y2) / 2)
        path = f"M {x1:.0f} {y1:.0f} Q {middle[0]:.0f} {middle[1]:.0f} {x2:.0f} {y2:.0f}"
        label = ((x1 + 2 * middle[0] + x2) / 4, (y1 + 2 * middle[1] + y2) / 4)
        lines = [f'<path d="{path}" {style}{dashes}/>']
    else:
        hub = (sum(x for x, _ in ends) / max(1, len(ends)) + 20 * (number % 3), float(height - 34))
        lines = [
            f'<path d="M {x:.0f} {y:.0f} L {hub[0]:.0f} {hub[1]:.0f}" {style}{dashes}/>' for x, y in ends
        ]
        lines.append(f'<circle cx="{hub[0]:.0f}" cy="{hub[1]:.0f}" r="5" fill="{colour}"/>')
        label = (hub[0], hub[1] + 14)
    lines.append(
        f'<text x="{label[0]:.0f}" y="{label[1]:.0f}" fill="{colour}" font-size="10"'
        f' text-anchor="middle">{escape(link.id)}</text>'
    )
    return lines


def _endpoint(endpoint: EndpointPlan, middle: Point, failed: bool) -> list[str]:
    left, top = middle[0] - _BOX[0] / 2, middle[1] - _BOX[1] / 2
    stroke = f'stroke="{_RED}" stroke-width="3"' if failed else f'stroke="{_GREY}"'
    mark = ' class="failed"' if failed else ""
    addresses = ", ".join(str(a.ip) for i in endpoint.interfaces for a in i.addresses)
    shown = addresses if len(addresses) <= 30 else f"{addresses[:29]}…"
    return [
        f'<g id="{escape(endpoint.id)}"{mark}>',
        (
            f'<rect x="{left:.0f}" y="{top:.0f}" width="{_BOX[0]}" height="{_BOX[1]}" rx="5"'
            f' fill="{_FILLS[endpoint.kind]}" {stroke}/>'
        ),
        (
            f'<text x="{middle[0]:.0f}" y="{middle[1] - 3:.0f}" text-anchor="middle"'
            f' font-weight="bold">{escape(endpoint.id)}</text>'
        ),
        (
            f'<text x="{middle[0]:.0f}" y="{middle[1] + 13:.0f}" text-anchor="middle" font-size="9"'
            f' fill="{_GREY}">{escape(shown)}</text>'
        ),
        "</g>",
    ]


def _endpoint_failed(endpoint: EndpointPlan, failed: Collection[str]) -> bool:
    return any(place == endpoint.id or place.startswith(f"{endpoint.id}:") for place in failed)


def _link_failed(link: LinkPlan, failed: Collection[str]) -> bool:
    return link.id in failed
