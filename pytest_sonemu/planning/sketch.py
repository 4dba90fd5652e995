"""What runs on a bed drawn with characters: chains of E-Lines as boxes, other links as trees. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_sonemu.planning.chains import Hop, addresses, chains, data_lines, described, pop_link, what
from pytest_sonemu.planning.plan import DeploymentPlan, LinkPlan
from pytest_sonemu.topology.model import Topology


def sketch(bed: str, topology: Topology, plans: Sequence[DeploymentPlan], width: int = 100) -> str:
    """The PoPs and their links, then each instance; lines are at most `width` wide where that can be."""
    lines = [f"bed {bed}", *_infrastructure(topology)]
    for plan in plans:
        lines += ["", f"{plan.instance}: {plan.service}" if plan.service != plan.instance else plan.instance]
        lines += [f"  {line}".rstrip() for line in _instance(plan, width - 2)]
    return "\n".join(lines) + "\n"


def _infrastructure(topology: Topology) -> Iterator[str]:
    linked = {end for link in topology.links for end in (link.a, link.b)}
    yield from (f"  {pop_link(link)}" for link in topology.links)
    yield from (f"  {pop.name}" for pop in topology.pops if pop.name not in linked)


def _instance(plan: DeploymentPlan, width: int) -> Iterator[str]:
    lines = data_lines(plan)
    for chain in chains(plan):
        yield from _drawn(plan, chain, width)
    for link in plan.links:
        if link not in lines:
            yield from _tree(plan, link)
    linked = {end.endpoint for link in plan.links for end in link.ends}
    yield from (f"{each.id} ({what(each)}), in no link" for each in plan.endpoints if each.id not in linked)


def _drawn(plan: DeploymentPlan, chain: Sequence[Hop], width: int) -> Iterator[str]:
    """Boxes and the lines between them; what does not fit goes on below, with the last box again."""
    block = _box(plan, chain[0].near.endpoint, left=False, right=True)
    fresh = True
    for number, hop in enumerate(chain):
        last = number == len(chain) - 1
        line = _line(plan, hop)
        box = _box(plan, hop.far.endpoint, left=True, right=not last)
        if not fresh and len(block[1]) + len(line[1]) + len(box[1]) > width:
            yield from block
            block, fresh = _box(plan, hop.near.endpoint, left=False, right=True), True
        block = [one + two + three for one, two, three in zip(block, line, box, strict=True)]
        fresh = False
    yield from block


def _box(plan: DeploymentPlan, endpoint: str, *, left: bool, right: bool) -> list[str]:
    found = plan.endpoint(endpoint)
    kind = what(found) if found is not None else ""
    room = max(len(endpoint), len(kind))
    return [
        f"┌─{'─' * room}─┐",
        f"{'┤' if left else '│'} {endpoint:<{room}} {'├' if right else '│'}",
        f"│ {kind:<{room}} │",
        f"└─{'─' * room}─┘",
    ]


def _line(plan: DeploymentPlan, hop: Hop) -> list[str]:
    near, far = (", ".join(addresses(plan, end)) for end in (hop.near, hop.far))
    names = f"─ {hop.near.interface} ── {hop.link.id} ── {hop.far.interface} ─"
    length = max(len(names), len(near) + len(far) + 4)
    spare = length - len(names)
    before, after = "─" * (2 + spare // 2), "─" * (2 + spare - spare // 2)
    names = f"─ {hop.near.interface} {before} {hop.link.id} {after} {hop.far.interface} ─"
    return [" " * length, names, f" {near}{far:>{length - len(near) - 2}} ", " " * length]


def _tree(plan: DeploymentPlan, link: LinkPlan) -> Iterator[str]:
    yield described(link)
    rows = []
    for end in link.ends:
        endpoint = plan.endpoint(end.endpoint)
        root = ", root" if end == link.root else ""
        kind = f"{what(endpoint)}{root}" if endpoint is not None else ""
        name = str(end) if end.endpoint != end.interface else end.endpoint
        rows.append((name, ", ".join(addresses(plan, end)), kind))
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    for number, (name, numbers, kind) in enumerate(rows):
        branch = "└─" if number == len(rows) - 1 else "├─"
        yield f"{branch} {name:<{widths[0]}}  {numbers:<{widths[1]}}  {kind}"
