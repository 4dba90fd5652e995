"""A bed as an SVG picture: chains from left to right, LANs as bars, PoPs as colours; in red what failed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from html import escape

from pytest_sonemu.planning.chains import Hop, addresses, chains, data_lines, described, pop_link, what
from pytest_sonemu.planning.plan import DeploymentPlan, EndpointPlan, LinkEnd, LinkPlan
from pytest_sonemu.planning.splicing import with_neighbours
from pytest_sonemu.topology.model import Topology

_RED, _GREY, _BLUE, _INK = "#c62828", "#78909c", "#1565c0", "#263238"
# A PoP each, in turn; red is for what failed.
_FILLS = ("#e3f2fd", "#fff3e0", "#e8f5e9", "#f3e5f5", "#e0f7fa", "#fffde7")
_BOX_HEIGHT, _ROW, _MARGIN, _LAN, _ALONE = 46, 104, 24, 46, 5
# Widths of a letter: bold 12, plain 10.
_BOLD, _PLAIN = 8.0, 6.2

Point = tuple[float, float]


def picture(plan: DeploymentPlan, topology: Topology, failed: Collection[str] = ()) -> str:
    """The picture of one instance. `failed`: endpoints ("fw"), points ("fw:input"), links ("link-1")."""
    return pictures([plan], topology, failed)


def pictures(plans: Sequence[DeploymentPlan], topology: Topology, failed: Collection[str] = ()) -> str:
    """The picture of a bed: its PoPs, then one instance below the other."""
    fills = {pop.name: _FILLS[number % len(_FILLS)] for number, pop in enumerate(topology.pops)}
    drawings = [_Drawing(with_neighbours(plan), fills, failed) for plan in plans]
    head, width = list(_legend(topology, fills)), max([360.0, *(drawing.width for drawing in drawings)])
    top = 38.0 + 16 * len(topology.links)
    body = []
    for drawing in drawings:
        body += [f'<g transform="translate(0 {top:.0f})">', *drawing.parts(), "</g>"]
        top += drawing.height
    name = escape(", ".join(f"{plan.instance} on {plan.bed}" for plan in plans))
    shape = f'viewBox="0 0 {width:.0f} {top:.0f}" font-family="DejaVu Sans, sans-serif" font-size="12"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{top:.0f}" {shape}>',
            f"<title>{name}</title>",
            '<rect width="100%" height="100%" fill="white"/>',
            *head,
            *body,
            "</svg>",
            "",
        ]
    )


def _legend(topology: Topology, fills: dict[str, str]) -> Iterator[str]:
    left = float(_MARGIN)
    for pop, fill in fills.items():
        yield f'<rect x="{left:.0f}" y="14" width="14" height="14" rx="3" fill="{fill}" stroke="{_GREY}"/>'
        yield _text(left + 20, 25, pop)
        left += 44 + _BOLD * len(pop)
    for number, link in enumerate(topology.links):
        yield _text(_MARGIN, 46 + 16 * number, pop_link(link), size=10, colour=_GREY)


class _Drawing:
    """One instance: where everything stands, then how it looks."""

    def __init__(self, plan: DeploymentPlan, fills: dict[str, str], failed: Collection[str]) -> None:
        self._plan, self._fills, self._failed = plan, fills, failed
        self._chains = list(chains(plan))
        self._lans = [link for link in plan.links if link not in data_lines(plan)]
        self._box = max([120.0, *(_BOLD * len(one.id) + 24 for one in plan.endpoints)])
        self._gap = max([90.0, *(_room(plan, hop) for chain in self._chains for hop in chain)])
        self._grid = self._placed()
        self._rows = 1 + max((row for _column, row in self._grid.values()), default=0)
        columns = 1 + max((column for column, _row in self._grid.values()), default=0)
        self.width = 2 * _MARGIN + columns * self._box + (columns - 1) * self._gap
        self.height = 34.0 + self._rows * _ROW + len(self._lans) * _LAN

    def parts(self) -> Iterator[str]:
        yield _text(_MARGIN, 18, self._plan.instance, bold=True)
        for number, lan in enumerate(self._lans):
            yield from self._lan(number, lan)
        for chain in self._chains:
            for hop in chain:
                yield from self._line(hop)
        for endpoint in self._plan.endpoints:
            yield from self._endpoint(endpoint)

    def _placed(self) -> dict[str, tuple[int, int]]:
        """Column and row of each endpoint: a chain is a row, what is in none comes below."""
        grid: dict[str, tuple[int, int]] = {}
        row = 0
        for chain in self._chains:
            column = 0
            if (first := chain[0].near.endpoint) not in grid:
                grid[first] = (0, row)
            else:
                column = grid[first][0]
            fresh = [hop.far.endpoint for hop in chain if hop.far.endpoint not in grid]
            for endpoint in dict.fromkeys(fresh):
                column += 1
                grid[endpoint] = (column, row)
            row += bool(fresh) or grid[first] == (0, row)
        alone = [one.id for one in self._plan.endpoints if one.id not in grid]
        for number, endpoint in enumerate(alone):
            grid[endpoint] = (number % _ALONE, row + number // _ALONE)
        return grid

    def _corner(self, endpoint: str) -> Point:
        column, row = self._grid[endpoint]
        return _MARGIN + column * (self._box + self._gap), 38.0 + row * _ROW

    def _line(self, hop: Hop) -> Iterator[str]:
        failed = hop.link.id in self._failed
        colour = _RED if failed else _BLUE
        (x1, y1), (x2, y2) = self._corner(hop.near.endpoint), self._corner(hop.far.endpoint)
        (near, near_row), (far, far_row) = self._grid[hop.near.endpoint], self._grid[hop.far.endpoint]
        style = f'stroke="{colour}" stroke-width="{3 if failed else 1.6}" fill="none"'
        if near_row == far_row and far == near + 1:
            left, right, y = x1 + self._box, x2, y1 + _BOX_HEIGHT / 2
            yield f'<path d="M {left:.0f} {y:.0f} H {right:.0f}" {style}/>'
            yield _text((left + right) / 2, y - 5, hop.link.id, size=10, colour=colour, anchor="middle")
            yield from self._end(hop.near, (left + 4, y), "start")
            yield from self._end(hop.far, (right - 4, y), "end")
            return
        # Between rows, or past other boxes: from the bottom of one to the other's.
        ax, ay, bx, by = x1 + self._box * 0.6, y1 + _BOX_HEIGHT, x2 + self._box * 0.4, y2 + _BOX_HEIGHT
        low = max(ay, by) + 34
        bend = f"C {ax:.0f} {low:.0f} {bx:.0f} {low:.0f} {bx:.0f} {by:.0f}"
        yield f'<path d="M {ax:.0f} {ay:.0f} {bend}" {style}/>'
        ends = f"{hop.near} {_shown(self._plan, hop.near)} — {hop.far} {_shown(self._plan, hop.far)}"
        middle = ((ax + bx) / 2, (ay + by) / 8 + low * 3 / 4 + 11)
        label = f"{hop.link.id}: {ends}"
        yield _text(middle[0], middle[1], label, size=10, colour=colour, anchor="middle")

    def _end(self, end: LinkEnd, place: Point, anchor: str) -> Iterator[str]:
        failed = str(end) in self._failed
        colour = _RED if failed else _INK
        if end.interface != end.endpoint:
            yield _text(
                place[0], place[1] - 5, end.interface, size=10, colour=colour, anchor=anchor, bold=failed
            )
        shown = _shown(self._plan, end)
        yield _text(place[0], place[1] + 14, shown, size=10, colour=_RED if failed else _GREY, anchor=anchor)

    def _lan(self, number: int, lan: LinkPlan) -> Iterator[str]:
        failed = lan.id in self._failed
        colour = _RED if failed else _GREY if lan.management else _BLUE
        style = f'stroke="{colour}" fill="none"' + (' stroke-dasharray="5 3"' if lan.management else "")
        y = 38.0 + self._rows * _ROW + number * _LAN
        feet = []
        for end in lan.ends:
            if end.endpoint not in self._grid:
                continue
            x, top = self._corner(end.endpoint)
            above = self._rows - 1 - self._grid[end.endpoint][1]
            x += 16 + 14 * (number % 4) + above * 48 % (self._box - 70)
            feet.append(x)
            yield f'<path d="M {x:.0f} {top + _BOX_HEIGHT:.0f} V {y:.0f}" {style} stroke-width="1.3"/>'
            words = end.interface if end.interface != end.endpoint else ""
            point = _RED if str(end) in self._failed else _INK
            yield _text(
                x + 4,
                y - 6 - 12 * (above % 3),
                f"{words} {_shown(self._plan, end)}".strip(),
                size=10,
                colour=point,
            )
        if feet:
            ends = f"M {min(feet) - 10:.0f} {y:.0f} H {max(feet) + 60:.0f}"
            yield f'<path d="{ends}" {style} stroke-width="{5 if failed else 3}"/>'
            yield _text(min(feet) - 10, y + 14, described(lan), size=10, colour=colour)

    def _endpoint(self, endpoint: EndpointPlan) -> Iterator[str]:
        failed = any(each == endpoint.id or each.startswith(f"{endpoint.id}:") for each in self._failed)
        left, top = self._corner(endpoint.id)
        stroke = f'stroke="{_RED}" stroke-width="3"' if failed else f'stroke="{_GREY}"'
        corner = 5 if endpoint.kind == "vnf" else _BOX_HEIGHT // 2
        fill = self._fills.get(endpoint.pop, "white")
        mark = ' class="failed"' if failed else ""
        yield f'<g id="{escape(endpoint.id)}"{mark}>'
        yield f"<title>{escape(_all_of(endpoint))}</title>"
        yield (
            f'<rect x="{left:.0f}" y="{top:.0f}" width="{self._box:.0f}" height="{_BOX_HEIGHT}" rx="{corner}"'
            f' fill="{fill}" {stroke}/>'
        )
        middle = left + self._box / 2
        yield _text(
            middle, top + 20, endpoint.id, bold=True, anchor="middle", colour=_RED if failed else _INK
        )
        yield _text(middle, top + 36, what(endpoint), size=10, colour=_GREY, anchor="middle")
        yield "</g>"


def _room(plan: DeploymentPlan, hop: Hop) -> float:
    """What the words along a line take."""
    names = len(hop.near.interface) + len(hop.link.id) + len(hop.far.interface)
    return max(_PLAIN * names + 40, _PLAIN * (len(_shown(plan, hop.near)) + len(_shown(plan, hop.far))) + 28)


def _shown(plan: DeploymentPlan, end: LinkEnd) -> str:
    """The first address; all of them are told where the pointer rests."""
    found = addresses(plan, end)
    return found[0] if found else ""


def _all_of(endpoint: EndpointPlan) -> str:
    rows = [f"{one.name} {' '.join(map(str, one.addresses))} {one.mac}" for one in endpoint.interfaces]
    image = [endpoint.container.image.reference] if endpoint.container is not None else []
    return "\n".join([f"{endpoint.id}: {what(endpoint)}", *image, *rows])


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 12,
    colour: str = _INK,
    anchor: str = "start",
    bold: bool = False,
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"{weight}>'
        f"{escape(text)}</text>"
    )
