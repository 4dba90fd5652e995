"""A plan's E-Lines as chains that can be drawn from left to right. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_sonemu.planning.plan import DeploymentPlan, EndpointPlan, LinkEnd, LinkPlan
from pytest_sonemu.relay.model import DIRECTIONS, Impairment
from pytest_sonemu.topology.model import PopLink


@dataclass(frozen=True, slots=True)
class Hop:
    """A link of a chain, from the end where the chain comes from to the other one."""

    link: LinkPlan
    near: LinkEnd
    far: LinkEnd


def data_lines(plan: DeploymentPlan) -> list[LinkPlan]:
    """The links that chains are made of."""
    return [
        link for link in plan.links if link.kind == "E-Line" and not link.management and len(link.ends) == 2
    ]


def chains(plan: DeploymentPlan) -> Iterator[list[Hop]]:
    """All data links, each once, in as few chains as the endpoints' order gives: from SAPs and ends first."""
    left = data_lines(plan)

    def at(endpoint: str) -> list[LinkPlan]:
        return [link for link in left if any(end.endpoint == endpoint for end in link.ends)]

    for start in sorted(plan.endpoints, key=lambda each: (len(at(each.id)) != 1, each.kind != "sap")):
        while at(start.id):
            here, walk = start.id, list[Hop]()
            while found := at(here):
                link = found[0]
                left.remove(link)
                near, far = link.ends if link.ends[0].endpoint == here else reversed(link.ends)
                walk.append(Hop(link, near, far))
                here = far.endpoint
            yield walk


def what(endpoint: EndpointPlan) -> str:
    """`"VNF in pop1"`"""
    return f"{'host' if endpoint.kind == 'host' else endpoint.kind.upper()} in {endpoint.pop}"


def addresses(plan: DeploymentPlan, end: LinkEnd) -> list[str]:
    """The addresses of the interface at this end, without their prefixes."""
    endpoint = plan.endpoint(end.endpoint)
    interfaces = endpoint.interfaces if endpoint is not None else ()
    return [str(each.ip) for one in interfaces if one.name == end.interface for each in one.addresses]


def pop_link(link: PopLink) -> str:
    """`"pop1 ── pop2  (5 ms, 100 Mbit/s)"`"""
    there, back = (_shaping(link.towards(direction)) for direction in DIRECTIONS)
    shaping = there if there == back else f"{there or 'unimpaired'}, back {back or 'unimpaired'}"
    notes = ", ".join(note for note in (shaping, f"MTU {link.mtu}" if link.mtu else "") if note)
    return f"{link.a} ── {link.b}{f'  ({notes})' if notes else ''}"


def _shaping(way: Impairment) -> str:
    notes = [
        f"{way.delay * 1e3:g} ms" if way.delay else "",
        f"{way.rate / 1e6:g} Mbit/s" if way.rate else "",
        f"{way.loss:.3g} of the packets lost" if way.loss else "",
    ]
    return ", ".join(note for note in notes if note)


def described(link: LinkPlan) -> str:
    """`"lan (E-LAN, management, 10.20.0.0/24)"`"""
    notes: Sequence[str] = [link.kind, "management" if link.management else "", *map(str, link.subnets)]
    return f"{link.id} ({', '.join(note for note in notes if note)})"
