"""Entry and stop scripts of images (`SON_EMU_CMD` and its kin), run inside a container through Docker.

They run apart from any control channel; what they print is kept in the bed's run directory.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sonemu.emulation.containers import docker_step
from pytest_sonemu.errors import EmulationError
from pytest_sonemu.planning.plan import ContainerPlan

if TYPE_CHECKING:
    from docker import APIClient


class EntryScript:
    """One run of an entry script, from after wiring to its end (which may be never)."""

    def __init__(
        self, api: APIClient, container: str, plan: ContainerPlan, log: Path, ended: Callable[[int], None]
    ) -> None:
        if plan.entry_script is None:
            raise ValueError(f"{plan.name} has no entry script")
        self._api, self._log, self._ended = api, log, ended
        with docker_step(f"run the entry script of {plan.name}"):
            self.exec_id = str(
                api.exec_create(container, shell_argv(plan, plan.entry_script), user=plan.image.user)["Id"]
            )
        self._thread = threading.Thread(target=self._follow, name=f"entry {plan.name}", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        try:
            times = self._log.with_suffix(".times")
            with (
                docker_step("follow an entry script"),
                self._log.open("ab", buffering=0) as log,
                times.open("a", buffering=1) as index,
            ):
                for part in self._api.exec_start(self.exec_id, stream=True):
                    # Which byte came when: the log itself stays as the script wrote it.
                    index.write(f"{log.seek(0, 2)} {time.time():.6f}\n")
                    log.write(part)
                status = self._api.exec_inspect(self.exec_id)["ExitCode"]
        except (EmulationError, FileNotFoundError):
            # The container, or the whole bed, ended under the script.
            status = None
        self._ended(status if status is not None else -1)


def run_stop_script(api: APIClient, container: str, plan: ContainerPlan, timeout: float) -> None:
    """Run the stop script of a container and wait for its end, at most `timeout` seconds."""
    if plan.stop_script is None:
        return
    script = plan.stop_script

    def run() -> None:
        with docker_step(f"run the stop script of {plan.name}"):
            api.exec_start(api.exec_create(container, shell_argv(plan, script), user=plan.image.user)["Id"])

    thread = threading.Thread(target=run, name=f"stop {plan.name}", daemon=True)
    thread.start()
    thread.join(timeout)


def shell_argv(plan: ContainerPlan, script: str) -> list[str]:
    """The shell that the image's author meant: bash where the image's command is bash, else sh."""
    command = (*plan.image.entrypoint, *plan.image.command)
    shell = "bash" if command and command[0].rsplit("/", 1)[-1] == "bash" else "sh"
    return [shell, "-c", script]
