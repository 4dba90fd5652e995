"""A VNF's handle as something that can be waited for, and which conditions count for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_sonemu.emulation.protocol import ContainerState
from pytest_sonemu.errors import NotReadyError
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
        return [line.text for line in self.handle.log_lines(since=0)]

    def run(self, command: str | Sequence[str], timeout: float) -> CommandResult:
        # Not the handle's exec: a health command is no change by the test, nor a step of its story.
        from pytest_sonemu.handles.execution import exec_in_container

        return exec_in_container(
            self._core.bed.docker, self.state().id, command, timeout=timeout, where=self.id
        )

    def exists(self, path: str) -> bool:
        """Seen from outside, which needs no tool in the image."""
        return self.handle.exists(path)


def wait_for(
    vnf: Vnf,
    core: InstanceCore,
    plan: ContainerPlan,
    ready: Sequence[object],
    timeout: float,
    hint: str = "",
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
    try:
        return wait_ready(WaitableVnf(vnf, core), conditions, timeout, hint)
    except NotReadyError as error:
        # Of a service that did not start nobody else knows the secrets that its log may tell.
        raise NotReadyError(plan.hide(str(error))) from None


def is_idle_shell(argv: tuple[str, ...]) -> bool:
    """Whether a command is a shell that only waits for input."""
    return len(argv) == 1 and argv[0].rsplit("/", 1)[-1] in SHELLS
