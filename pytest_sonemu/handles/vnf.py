"""A VNF: an endpoint with a container."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_sonemu.errors import NotFoundError, ProbeError
from pytest_sonemu.handles.commands import Commands
from pytest_sonemu.handles.core import InstanceCore
from pytest_sonemu.handles.files import Files
from pytest_sonemu.handles.life import Life
from pytest_sonemu.handles.undo import UndoStack
from pytest_sonemu.handles.usage import Groups, Limits, Usage
from pytest_sonemu.handles.waiting import Readiness
from pytest_sonemu.planning.plan import EndpointPlan


class Vnf(Life, Commands, Files):
    """A VNF as one view sees it; what is changed through it is changed back when the view ends.

    fw = service.vnf("fw")
    assert "drop" in fw.exec("nft list ruleset").stdout
    """

    @property
    def units(self) -> dict[str, Vnf]:
        """The VNF's units by their ids; one that is a single container is its own only unit."""
        return {self.id: self}

    def unit(self, unit_id: str) -> Vnf:
        """One unit, "vdu01" or "fw.vdu01". Raises NotFoundError."""
        units = self.units
        found = units.get(unit_id) or units.get(unit_id.removeprefix(f"{self.id}."))
        if found is None:
            raise NotFoundError(f"unit of {self.id}", unit_id, units)
        return found

    def stats(self) -> Usage:
        """What it has used since it was started: seconds of CPU, bytes of memory, processes, OOM kills."""
        return Groups(self._awake(paused=True).pid).usage()

    @property
    def limits(self) -> Limits:
        """What it may use, as the kernel holds it: cores, bytes of memory, CPU ids."""
        return Groups(self._awake(paused=True).pid).limits()

    def sysctl(self, name: str, value: str | int | None = None) -> str:
        """The value of a `net.*` key in the VNF's namespace; with `value` it is set first, until undone.

        `/proc/sys` is read-only inside a container; this sets it from outside. Returns the present value.
        """
        from pytest_sonemu.emulation import namespaces

        client, instance = self._core.bed.client, self._core.plan.instance
        namespaces.sysctl_path(name)
        if value is None:
            return client.read_sysctl(instance, self.id, name)

        # As a command's: a restart sets it to what the plan says, which is no change of the restart's.
        def put(wanted: str) -> str:
            with self._changing():
                return client.set_sysctl(instance, self.id, name, wanted)

        before = put(str(value))
        self._journal.note("did", f"{name}={value} (was {before})", self.id)

        def put_back() -> None:
            put(before)

        self._undo.push(put_back, f"{self.id}: {name}={before}")
        return client.read_sysctl(instance, self.id, name)

    def _wait(self, conditions: Sequence[object], timeout: float, hint: str = "") -> Readiness:
        from pytest_sonemu.handles.readiness import wait_for

        return wait_for(self, self._core, self._container_plan, conditions, timeout, hint)


class VnfOfUnits(Vnf):
    """A VNF of several units. What is done is done to a unit:

    service.vnf("fw").unit("vdu01").exec("ip route")
    """

    def __init__(self, core: InstanceCore, vnf_id: str, undo: UndoStack) -> None:
        self._unit_plans = core.plan.units(vnf_id)
        pops = ", ".join(dict.fromkeys(plan.pop for plan in self._unit_plans))
        super().__init__(core, EndpointPlan(vnf_id, "vnf", pops), undo)

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name not in _WITHOUT_A_UNIT:
            known = ", ".join(f"'{self.id}.{unit}'" for unit in self.units)
            raise ProbeError(f"VNF '{self.id}' has several units; name one of: {known}")
        return super().__getattribute__(name)

    def __repr__(self) -> str:
        return f"<Vnf {self.id} in {self.pop}: units {', '.join(self.units)}>"

    @property
    def units(self) -> dict[str, Vnf]:
        return {
            plan.id.removeprefix(f"{self.id}."): Vnf(self._core, plan, self._undo)
            for plan in self._unit_plans
        }


_WITHOUT_A_UNIT = frozenset({"id", "pop", "units", "unit", "instance"})
