"""A VNF's lives: stopped, started, paused; what it was before, it is after the test."""

from __future__ import annotations

from typing import Any

from pytest_sonemu.emulation.protocol import VnfVerb
from pytest_sonemu.errors import BedGoneError, EmulationError
from pytest_sonemu.handles.arguments import seconds
from pytest_sonemu.handles.waits import Waits

_PAST = {
    "stop": "stopped",
    "start": "started",
    "restart": "restarted",
    "kill": "killed",
    "pause": "paused",
    "unpause": "goes on",
}


class Life(Waits):
    """`stop`, `start`, `restart`, `kill`, `pause`, `unpause` and `update`."""

    def stop(self, *, grace: float | str | None = None) -> None:
        """Stop it: its stop script, its stop signal, `grace` seconds (its option's), SIGKILL."""
        self._change("stop", seconds(grace, "grace"))

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._change("kill", None)

    def start(self) -> None:
        """Start it after a stop; returns when it is wired as before and ready."""
        self._change("start", None)
        self._ready_again()

    def restart(self, *, grace: float | str | None = None) -> None:
        """Stop it and start it; returns when it is wired as before and ready."""
        self._change("restart", seconds(grace, "grace"))
        self._ready_again()

    def pause(self) -> None:
        """Freeze all its processes: its kernel still answers pings, and nothing else goes on."""
        self._change("pause", None)

    def unpause(self) -> None:
        """Let its processes go on after `pause`."""
        self._change("unpause", None)

    def update(self, **options: Any) -> None:
        """Put another container in its place; returns when that is ready.

            service.vnf("fw").update(image="fw:dev", env={"MODE": "strict"})

        Options are those of the marker that are a container's: image, build, command, env, secrets,
        mounts, cpu, memory, cap_add, sysctls, grace, no_new_privileges, ready, ready_timeout, settle,
        dirty_ignore; what is not named stays. It keeps its interfaces, MACs, addresses, routes and links.
        When the view ends the container from before is there again, with its files. Raises SettingsError,
        ImageError, and with everything as before NotReadyError, EmulationError.
        """
        from pytest_sonemu.handles.replacing import update

        update(self._core, self._undo, self.id, options)

    # -- behind it --------------------------------------------------------------------------------

    def _change(self, verb: VnfVerb, grace: float | None) -> None:
        if verb in ("stop", "kill", "restart") and self.id not in self._core.absences:
            # Until it is ready again: what it has written, and its network, are compared over the gap.
            self._core.absences[self.id] = self._begin_change()
        with self._journal.noting("did", verb, self.id):
            state = self._core.bed.client.change_vnf(self._core.plan.instance, self.id, verb, grace)
        self._journal.note("state", f"{self.id} {_PAST[verb]} ({state.phase}, life {state.lives})", self.id)
        if state.phase == "exited":
            self._undo.push(self._bring_back, f"{self.id} started again")
        elif state.phase == "paused":
            self._undo.push(self._let_go_on, f"{self.id} goes on")

    def _ready_again(self) -> None:
        self.wait_ready()
        end = self._core.absences.pop(self.id, None)
        if end is not None:
            end()

    def _bring_back(self) -> None:
        try:
            if self.state.phase == "exited":
                self.start()
        except BedGoneError:
            return
        except EmulationError as error:
            self._core.dirty = f"{self.id} could not be started again: {error}"
            raise

    def _let_go_on(self) -> None:
        try:
            if self.state.phase == "paused":
                self.unpause()
        except BedGoneError:
            return
