"""A plan as text for people: what runs where, from which image and why, who reaches whom over what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from pytest_sonemu.planning.plan import DeploymentPlan, EndpointPlan, InterfacePlan, LinkPlan
from pytest_sonemu.planning.uplinks import shown
from pytest_sonemu.relay.model import Impairment


def describe(plan: DeploymentPlan) -> str:
    """Some lines per endpoint and one per link; no secret's value is in it."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: DeploymentPlan) -> Iterator[str]:
    yield f"{plan.service} as '{plan.instance}' in bed '{plan.bed}', addresses by plan '{plan.address_plan}'"
    yield from (f"  warning: {warning}" for warning in plan.warnings)
    if plan.endpoints:
        yield "endpoints"
    for endpoint in plan.endpoints:
        yield from _endpoint(endpoint)
    if plan.links:
        yield "links"
    yield from (f"  {_link(link)}" for link in plan.links)
    if plan.paths:
        yield "forwarding paths"
    yield from (f"  {path.id}: {' → '.join(path.stations)}" for path in plan.paths)


def _endpoint(endpoint: EndpointPlan) -> Iterator[str]:
    forwards = dict(endpoint.sysctls).get("net.ipv4.ip_forward") == "1"
    notes = ", transparent" if endpoint.transparent else ", forwards" if forwards else ""
    yield f"  {endpoint.id} ({endpoint.kind}) in {endpoint.pop}{notes}"
    container = endpoint.container
    if container is not None:
        image = container.image
        yield f"      image {image.reference} ({image.reason}), container {container.name}"
        limits = [
            f"{container.cpu:g} CPU" if container.cpu is not None else "",
            f"CPU ids {', '.join(map(str, container.cpu_ids))}" if container.cpu_ids else "",
            f"{container.memory / 2**20:g} MiB" if container.memory is not None else "",
        ]
        if any(limits):
            yield f"      limits {', '.join(limit for limit in limits if limit)}"
        if container.entry_script is not None:
            yield f"      entry script {container.entry_script}"
    yield from (f"      {_interface(interface)}" for interface in endpoint.interfaces)
    if endpoint.uplink is not None:
        yield f"      uplink: {shown(endpoint.uplink)}"
    for route in endpoint.routes:
        destination = "default" if route.destination.prefixlen == 0 else str(route.destination)
        yield f"      route {destination} via {route.gateway} out of {route.interface}"


def _interface(interface: InterfacePlan) -> str:
    addresses = ", ".join(map(str, interface.addresses)) or "no address"
    name = interface.name
    if interface.name != interface.connection_point:
        name += f" ({interface.connection_point})"
    where = f"on {interface.link}" if interface.link is not None else "not connected"
    mtu = f", MTU {interface.mtu}" if interface.mtu != 1500 else ""
    return f"{name}: {addresses} {where}, {interface.mac}{mtu}"


def _link(link: LinkPlan) -> str:
    shown = [end.endpoint if end.endpoint == end.interface else str(end) for end in link.ends]
    ends = (" — " if link.kind == "E-Line" else ", ").join(shown)
    way = f" over {', '.join(link.pop_links)}" if link.pop_links else " within one PoP"
    subnets = f", {', '.join(map(str, link.subnets))}" if link.subnets else ""
    management = ", management" if link.management else ""
    impaired = f", impaired: {impairments(*link.impaired)}" if link.impaired is not None else ""
    return f"{link.id} ({link.kind}): {ends};{way}, {link.realisation}{impaired}{subnets}{management}"


def impairments(there: Impairment, back: Impairment) -> str:
    """What a link does to frames, for both directions at once where they are alike."""
    shown = [", ".join(_told(way)) or "nothing" for way in (there, back)]
    return shown[0] if shown[0] == shown[1] else f"{shown[0]}; back {shown[1]}"


def _told(way: Impairment) -> Iterator[str]:
    for entry in fields(way):
        value = getattr(way, entry.name)
        if value != entry.default and entry.name != "seed":
            yield f"{entry.name} {value:g}" if isinstance(value, float) else f"{entry.name} {value}"
