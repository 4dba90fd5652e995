"""A VNF: an endpoint with a container."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_sonemu.emulation.protocol import ContainerState, VnfVerb
from pytest_sonemu.errors import BedGoneError, EmulationError, NotFoundError, ProbeError
from pytest_sonemu.handles.core import InstanceCore
from pytest_sonemu.handles.endpoint import Endpoint
from pytest_sonemu.handles.results import CommandResult
from pytest_sonemu.handles.undo import UndoStack
from pytest_sonemu.planning.plan import ContainerPlan, EndpointPlan

if TYPE_CHECKING:
    from docker.models.containers import Container


class Vnf(Endpoint):
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

    @property
    def state(self) -> ContainerState:
        """What its container is doing now: phase, pid, how many lives it had, exit status."""
        return self._core.bed.client.describe_vnf(self._core.plan.instance, self.id)

    @property
    def container(self) -> Container:
        """The docker package's own object, for all that is not offered here."""
        return self._core.bed.docker_objects().containers.get(self.state.id)

    @property
    def image(self) -> str:
        """The image it runs, as it was named."""
        return self._container_plan.image.reference

    @property
    def stands_in(self) -> bool:
        """Whether that image stands in for the one that the descriptor names."""
        return self._container_plan.image.stand_in

    @property
    def share(self) -> Path:
        """The folder that the VNF sees as /mnt/share, where images put results; it ends with the instance."""
        return self._core.bed.client.run_dir / "instances" / self._core.plan.instance / self.id / "share"

    @property
    def logs(self) -> str:
        """All that its own command, and its entry script, have written so far."""
        text: bytes = self._core.bed.docker.logs(self.state.id)
        return text.decode(errors="replace") + self._entry_log()

    def exec(
        self,
        command: str | Sequence[str],
        *,
        check: bool = False,
        timeout: float | None = 60.0,
        user: str = "",
        env: Mapping[str, str] | None = None,
        stdin: str | bytes | None = None,
    ) -> CommandResult:
        """Run a command in the container and wait for it: a list as it stands, a text by its shell.

        With `check` a status other than 0 raises ProbeError with what the command wrote. `timeout` in
        seconds; a command that takes longer is ended, and ProbeError raised.
        """
        from pytest_sonemu.handles.execution import exec_in_container

        return exec_in_container(
            self._core.bed.docker,
            self.state.id,
            command,
            user=user,
            env=env,
            stdin=stdin,
            timeout=timeout,
            check=check,
            where=self.id,
        )

    def wait_for_port(self, port: int, *, timeout: float = 30.0) -> None:
        """Return when the VNF listens on a TCP port. Raises NotReadyError with what was seen instead."""
        self._wait((f"tcp:{port}",), timeout)

    def wait_ready(self, *, timeout: float | None = None) -> None:
        """Return when the VNF is ready, as its options or its image say. Raises NotReadyError."""
        options = self._core.options.vnf(self.id)
        self._wait(options.ready, options.ready_timeout if timeout is None else timeout)

    def stop(self, *, grace: float | None = None) -> None:
        """Stop it: its stop script, its stop signal, `grace` seconds (its option's), SIGKILL."""
        self._change("stop", grace)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._change("kill", None)

    def start(self) -> None:
        """Start it after a stop; returns when it is wired as before and ready."""
        self._change("start", None)
        self.wait_ready()

    def restart(self, *, grace: float | None = None) -> None:
        """Stop it and start it; returns when it is wired as before and ready."""
        self._change("restart", grace)
        self.wait_ready()

    def sysctl(self, name: str, value: str | int | None = None) -> str:
        """The value of a `net.*` key in the VNF's namespace; with `value` it is set first, until undone.

        `/proc/sys` is read-only inside a container; this sets it from outside. Returns the present value.
        """
        from pytest_sonemu.emulation import namespaces

        client, instance = self._core.bed.client, self._core.plan.instance
        namespaces.sysctl_path(name)
        if value is None:
            return client.read_sysctl(instance, self.id, name)
        before = client.set_sysctl(instance, self.id, name, str(value))

        def put_back() -> None:
            client.set_sysctl(instance, self.id, name, before)

        self._undo.push(put_back, f"{self.id}: {name}={before}")
        return client.read_sysctl(instance, self.id, name)

    # -- behind it --------------------------------------------------------------------------------

    def _change(self, verb: VnfVerb, grace: float | None) -> None:
        state = self._core.bed.client.change_vnf(self._core.plan.instance, self.id, verb, grace)
        if state.phase == "exited":
            self._undo.push(self._bring_back, f"{self.id} started again")

    def _bring_back(self) -> None:
        try:
            if self.state.phase == "exited":
                self.start()
        except BedGoneError:
            return
        except EmulationError as error:
            self._core.dirty = f"{self.id} could not be started again: {error}"
            raise

    def _wait(self, conditions: Sequence[object], timeout: float) -> None:
        from pytest_sonemu.handles.readiness import wait_for

        wait_for(self, self._core, self._container_plan, conditions, timeout)

    def _entry_log(self) -> str:
        log = self._core.bed.client.run_dir / "instances" / self._core.plan.instance / self.id / "entry.log"
        return log.read_text(errors="replace") if log.exists() else ""

    @property
    def _container_plan(self) -> ContainerPlan:
        if self._plan.container is None:
            raise EmulationError(f"{self.id} has no container")
        return self._plan.container


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


_WITHOUT_A_UNIT = frozenset({"id", "pop", "units", "unit"})
