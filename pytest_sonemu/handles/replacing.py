"""A VNF's container replaced while the service runs, and more or fewer of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pytest_sonemu.errors import NotFoundError, SettingsError
from pytest_sonemu.handles.amending import amend_until_undone, chosen_image, container_options
from pytest_sonemu.handles.arguments import whole_number
from pytest_sonemu.handles.changes import Watched
from pytest_sonemu.handles.core import InstanceCore
from pytest_sonemu.handles.undo import UndoStack
from pytest_sonemu.planning.containers import other_container
from pytest_sonemu.planning.growing import with_endpoint
from pytest_sonemu.planning.option_models import merge_vnf_options
from pytest_sonemu.planning.plan import Allocations, DeploymentPlan, EndpointPlan
from pytest_sonemu.planning.scaling import replicas, scaled


def update(core: InstanceCore, undo: UndoStack, name: str, given: Mapping[str, Any]) -> None:
    """See `Life.update`."""
    if not given:
        raise SettingsError(f"update of '{name}': say what is to be another: image=…, env=…, …")
    options = container_options(name, given, f"update of '{name}'")
    named = {"image", "build"} & options.given
    image = chosen_image(core, name, options) if named else None
    before = _endpoint(core.plan, name)
    if before.container is None:
        raise NotFoundError("container", name, [e.id for e in core.plan.endpoints if e.container is not None])
    container = other_container(name, before.container, image, options)
    sysctls = {**dict(before.sysctls), **options.sysctls}

    def change(plan: DeploymentPlan, allocations: Allocations) -> DeploymentPlan:
        now = replace(_endpoint(plan, name), container=container, sysctls=tuple(sysctls.items()))
        return with_endpoint(plan, now)

    def back(plan: DeploymentPlan, allocations: Allocations) -> DeploymentPlan:
        now = replace(_endpoint(plan, name), container=before.container, sysctls=before.sysctls)
        return with_endpoint(plan, now)

    own = merge_vnf_options(core.options.vnf(name), options)
    # What a test does to the other container goes away with it.
    watched = core.changes.set_aside(name)
    try:
        amend_until_undone(
            core,
            undo,
            change,
            back,
            f"update {name} ({', '.join(sorted(options.given))})",
            lambda: [name],
            fresh_again=lambda: _again(core, name, watched),
            options={name: own},
        )
    except BaseException:
        core.changes.put_back(name, watched)
        raise


def _again(core: InstanceCore, name: str, watched: Watched | None) -> list[str]:
    core.changes.put_back(name, watched)
    return [name]


def scale(core: InstanceCore, undo: UndoStack, vnf_id: str, count: int) -> list[EndpointPlan]:
    """See `Service.scale`; the plans of all replicas."""
    whole_number(count, least=0)  # who has none is told by the plan
    topology, overprovision = core.bed.client.topology, core.options.overprovision
    before = replicas(core.plan, vnf_id)
    fresh: list[str] = []

    def to(number: int, plan: DeploymentPlan, allocations: Allocations) -> DeploymentPlan:
        there = set(replicas(plan, vnf_id))
        grown = scaled(plan, topology, vnf_id, number, allocations, overprovision)
        fresh[:] = [name for name in replicas(grown, vnf_id) if name not in there]
        return grown

    if count != len(before):
        own = core.options.vnf(vnf_id)
        most = max(count, len(before))
        amend_until_undone(
            core,
            undo,
            lambda plan, allocations: to(count, plan, allocations),
            lambda plan, allocations: to(len(before), plan, allocations),
            f"scale {vnf_id} to {count}",
            lambda: fresh,
            fresh_again=lambda: fresh,
            options={f"{vnf_id}.{number}": own for number in range(2, most + 1)},
        )
    else:
        # That it cannot be scaled is said all the same.
        scaled(core.plan, topology, vnf_id, count, core.bed.client.describe().allocations)
    return [_endpoint(core.plan, name) for name in replicas(core.plan, vnf_id)]


def _endpoint(plan: DeploymentPlan, name: str) -> EndpointPlan:
    found = plan.endpoint(name)
    if found is None:
        raise NotFoundError("endpoint", name, [endpoint.id for endpoint in plan.endpoints])
    return found
