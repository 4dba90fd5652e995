"""A VNF's handle as something that can be waited for, and which conditions count for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_sonemu.emulation.protocol import ContainerState
from pytest_sonemu.handles.core import InstanceCore
from pytest_sonemu.handles.results import CommandResult
from pytest_sonemu.handles.waiting import (
    Condition,
    Readiness,
    default_conditions,
    parse_conditions,
    wait_ready,
)
from pytest_sonemu.planning.plan import ContainerPlan

if TYPE_CHECKING:
    from pytest_sonemu.handles.vnf import Vnf

SHELLS = {"sh", "bash", "ash", "dash", "zsh"}


class WaitableVnf:
    """What conditions look at. Callables of a test get the VNF's handle itself."""

    def __init__(self, vnf: Vnf, core: InstanceCore) -> None:
        self.handle, self._core = vnf, core

    @property
    def id(self) -> str:
        return self.handle.id

    def state(self) -> ContainerState:
        return self.handle.state

    def log_lines(self) -> list[str]:
        return self.handle.logs.splitlines()

    def run(self, command: str | Sequence[str], timeout: float) -> CommandResult:
        return self.handle.exec(command, timeout=timeout)

    def exists(self, path: str) -> bool:
        """Asked of Docker, which needs no tool in the image."""
        from docker.errors import NotFound

        try:
            stream, _stat = self._core.bed.docker.get_archive(self.state().id, path)
        except NotFound:
            return False
        close = getattr(stream, "close", None)
        if close is not None:
            close()
        return True


def wait_for(
    vnf: Vnf, core: InstanceCore, plan: ContainerPlan, ready: Sequence[object], timeout: float
) -> Readiness:
    """Wait until a VNF's conditions hold: those of `ready`, or without any what its image says.

    Raises NotReadyError.
    """
    conditions: tuple[Condition, ...] = parse_conditions(tuple(ready), f"ready of '{vnf.id}'")
    if not conditions:
        conditions = default_conditions(
            plan.image,
            entry_script=plan.entry_script is not None,
            idle_shell=bool(plan.argv) and is_idle_shell(plan.argv or ()),
            settle=core.options.vnf(vnf.id).settle,
            slots=core.bed.health_slots,
        )
    return wait_ready(WaitableVnf(vnf, core), conditions, timeout)


def is_idle_shell(argv: tuple[str, ...]) -> bool:
    """Whether a command is a shell that only waits for input."""
    return len(argv) == 1 and argv[0].rsplit("/", 1)[-1] in SHELLS
