"""What joins a service while it runs: hosts and containers on its links, and what listens to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pytest_sonemu.descriptors.model import NetworkFunction, Unit
from pytest_sonemu.errors import SettingsError
from pytest_sonemu.handles.amending import Change, amend_until_undone, chosen_image, container_options
from pytest_sonemu.handles.core import BedCore, InstanceCore
from pytest_sonemu.handles.link import Link
from pytest_sonemu.handles.sap import Host
from pytest_sonemu.handles.undo import UndoStack
from pytest_sonemu.handles.vnf import Vnf
from pytest_sonemu.planning import names
from pytest_sonemu.planning.containers import plan_container
from pytest_sonemu.planning.growing import with_endpoint, with_host, with_tap, without
from pytest_sonemu.planning.plan import Allocations, DeploymentPlan, EndpointPlan
from pytest_sonemu.planning.room import Demand, Room


def check_link(bed: BedCore, link: object, where: str, argument: str) -> None:
    """Raise SettingsError for what is no link of a service on this bed."""
    if not isinstance(link, Link):
        raise SettingsError(
            f"{where}: {argument}={link!r} is no link of a service; write {argument}=service.link(…)"
        )
    other = link._core.bed.client.name
    if other != bed.client.name:
        raise SettingsError(
            f"{where}: link '{link.id}' is on bed {other}, not on {bed.client.name};"
            " ask the test bed that it is on"
        )


def add_host(on: Link, undo: UndoStack, name: str, pop: str | None, address: str | None) -> Host:
    """See `TestBed.host`."""
    core, link_id = on._core, on.id
    topology = core.bed.client.topology

    def change(plan: DeploymentPlan, allocations: Allocations) -> DeploymentPlan:
        return with_host(plan, topology, name, link_id, pop=pop, address=address)

    amend_until_undone(core, undo, change, _gone(core, name), f"host {name} on {link_id}", lambda: ())
    return Host(core, _endpoint(core, name), undo)


def add_container(
    undo: UndoStack,
    name: str,
    given: Mapping[str, Any],
    *,
    on: Link | None,
    tap: Link | None,
    interface: str,
    pop: str | None,
    address: str | None,
) -> Vnf:
    """See `TestBed.container`."""
    where = f"container '{name}'"
    link = on if on is not None else tap
    if link is None or (on is not None and tap is not None):
        raise SettingsError(f"{where} needs one link: on=service.link(…) to join it, tap=… to listen to it")
    if tap is not None and address is not None:
        raise SettingsError(f"{where} only listens to '{tap.id}': it has no address there")
    options = container_options(name, given, where)
    if not {"image", "build"} & options.given:
        raise SettingsError(f"{where} needs an image: image=… or build=…")
    core = link._core
    topology = core.bed.client.topology
    image = chosen_image(core, name, options)

    def change(plan: DeploymentPlan, allocations: Allocations) -> DeploymentPlan:
        container_name = names.container_name(plan.bed, name, set(allocations.container_names))
        made = plan_container(container_name, NetworkFunction(name), Unit(name), image, options)
        if on is not None:
            grown = with_host(
                plan,
                topology,
                name,
                on.id,
                pop=pop,
                address=address,
                interface=interface,
                container=made,
            )
        else:
            grown = with_tap(plan, topology, name, link.id, made, interface=interface, pop=pop)
        endpoint = grown.endpoint(name)
        if endpoint is None:
            return grown
        room = Room(topology, allocations.used, core.options.overprovision)
        room.take(endpoint.pop, Demand(made.cpu or 0.0, made.memory or 0), where)
        sysctls = {**dict(endpoint.sysctls), **options.sysctls}
        return with_endpoint(grown, replace(endpoint, sysctls=tuple(sysctls.items())))

    how = "on" if on is not None else "with a tap of"
    amend_until_undone(
        core,
        undo,
        change,
        _gone(core, name),
        f"container {name} {how} {link.id}",
        lambda: [name],
        options={name: options},
    )
    return Vnf(core, _endpoint(core, name), undo)


def _gone(core: InstanceCore, name: str) -> Change:
    topology = core.bed.client.topology
    return lambda plan, allocations: without(plan, topology, {name})


def _endpoint(core: InstanceCore, name: str) -> EndpointPlan:
    found = core.plan.endpoint(name)
    if found is None:
        raise SettingsError(f"'{name}' is no longer there")
    return found
