"""SAPs of two services made one link while both run."""

from __future__ import annotations

from contextlib import suppress

from pytest_sonemu.errors import BedGoneError, NotFoundError, SettingsError
from pytest_sonemu.handles.amending import amend
from pytest_sonemu.handles.core import InstanceCore
from pytest_sonemu.handles.link import Link
from pytest_sonemu.handles.sap import Sap
from pytest_sonemu.handles.undo import UndoStack
from pytest_sonemu.planning.plan import Allocations, DeploymentPlan
from pytest_sonemu.planning.splicing import parted, side, spliced


class Splice:
    """One joining of two services. `before` and `after` are their plans, the first service's first."""

    def __init__(self, one: Sap, other: Sap) -> None:
        self._cores = (one._core, other._core)
        self._saps = (one.id, other.id)
        self._before: list[DeploymentPlan] = []
        self._after: list[DeploymentPlan] = []
        self._ends = ("", "")
        self.label = f"join {one._core.plan.instance}/{one.id} and {other._core.plan.instance}/{other.id}"

    def make(self) -> None:
        """Raises PlanningError, EmulationError, with both as before."""
        first, second = self._cores
        amend(first, self._change_first)
        try:
            amend(second, self._change_second)
        except BaseException:
            self._part(0)
            raise

    def _change_first(self, plan: DeploymentPlan, _allocations: Allocations) -> DeploymentPlan:
        mine, theirs = side(plan, self._saps[0]), side(_now(self._cores[1]), self._saps[1])
        joined, _far = spliced(mine, theirs, self._cores[0].bed.client.topology)
        patch = joined.patches[-1]
        self._ends = (patch.near, patch.far)
        self._before, self._after = [plan, theirs.plan], [joined]
        return joined

    def _change_second(self, plan: DeploymentPlan, _allocations: Allocations) -> DeploymentPlan:
        mine, theirs = side(plan, self._saps[1]), side(self._before[0], self._saps[0])
        joined, _near = spliced(mine, theirs, self._cores[1].bed.client.topology, self._ends)
        self._before[1:], self._after[1:] = [plan], [joined]
        return joined

    def _part(self, which: int) -> None:
        before, joined = self._before[which], self._after[which]
        amend(self._cores[which], lambda now, _allocations: parted(now, before, joined))

    def undo(self) -> None:
        """Both as before; a service that has ended meanwhile needs nothing."""
        # The pair is the first one's: it goes last.
        for which in (1, 0):
            if not self._cores[which].stopped:
                with suppress(BedGoneError, NotFoundError):
                    self._part(which)


def join(one: Sap, other: Sap, undo: UndoStack) -> Link:
    """See `TestBed.join`."""
    for sap in (one, other):
        if not isinstance(sap, Sap):
            raise SettingsError(f"join takes two SAPs, service.sap(…), not {sap!r}")
    first, second = one._core, other._core
    if first.bed is not second.bed and first.bed.client.name != second.bed.client.name:
        raise SettingsError(
            f"{first.plan.instance} is on bed {first.bed.client.name}, {second.plan.instance} on"
            f" {second.bed.client.name}: start both on one bed, by testbed.start(…)"
        )
    plan = next(interface.link for interface in side(first.plan, one.id).sap.interfaces if interface.link)
    splice = Splice(one, other)
    with first.bed.journal.noting("did", splice.label):
        splice.make()
    try:
        undo.push(splice.undo, splice.label)
    except BaseException:
        splice.undo()
        raise
    link = first.plan.link(plan)
    if link is None:
        raise NotFoundError("virtual link", plan, [link.id for link in first.plan.links])
    return Link(first, link, undo)


def _now(core: InstanceCore) -> DeploymentPlan:
    """An instance's plan as the keeper has it."""
    plans = {state.plan.instance: state.plan for state in core.bed.client.describe().instances}
    if core.plan.instance not in plans:
        raise NotFoundError("instance", core.plan.instance, plans)
    return plans[core.plan.instance]
