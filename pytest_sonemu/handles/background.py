"""Processes that run beside a test: their output while they run, and their end with the view."""

from __future__ import annotations

import re
import shlex
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pytest_sonemu.emulation.docker_api import DockerClient, calling
from pytest_sonemu.errors import NotReadyError, ProbeError, SonemuError
from pytest_sonemu.handles.arguments import pattern, seconds, signal_number
from pytest_sonemu.handles.execution import (
    NOT_STARTED,
    ExecStream,
    attach,
    cannot_run,
    inspect_exec,
    outcome,
    says_why,
)
from pytest_sonemu.handles.results import CommandResult, one_line
from pytest_sonemu.handles.waiting import State, wait_until

START_SECONDS = 10.0
STOP_SECONDS = 1.0
OUTPUT, ERRORS = 1, 2
LAST_LINES = 5


class Running(Protocol):
    """What stands behind a background process: how it is signalled, waited for, and what it wrote."""

    def output(self, stream: int) -> bytes: ...

    def signal(self, number: int) -> None: ...

    def status(self) -> int | None:
        """The exit status once it has ended and all its output is here; None while it runs."""


class BackgroundProcess:
    """A process that a test started and that runs while the test goes on; it ends with the view.

    server = web.spawn(["python3", "-m", "http.server", "8080"])
    server.wait_for("Serving")
    """

    def __init__(self, argv: Sequence[str], where: str, running: Running) -> None:
        self.argv, self.where = tuple(argv), where
        self._running = running
        self._began = time.monotonic()

    def __repr__(self) -> str:
        status = self.exit_status
        state = "running" if status is None else f"ended with {status}"
        last = (self.stdout + self.stderr).strip().splitlines()[-1:]
        return one_line(f"<{self.where}: `{self._shown}` {state}{f': {last[0]}' if last else ''}>")

    @property
    def stdout(self) -> str:
        """What it has written so far; unreadable bytes are replaced."""
        return self._running.output(OUTPUT).decode(errors="replace")

    @property
    def stderr(self) -> str:
        """What it has written to its standard error so far."""
        return self._running.output(ERRORS).decode(errors="replace")

    @property
    def exit_status(self) -> int | None:
        """Its exit status, or None while it runs."""
        return self._running.status()

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self.exit_status is None

    def wait(self, timeout: float | str = 30.0) -> CommandResult:
        """Wait for its end. Raises NotReadyError with what it wrote if it still runs then."""
        wait_until(
            lambda: State(not self.running, self._last_words()),
            seconds(timeout),
            f"the end of {self._named()}",
        )
        status = self.exit_status
        return CommandResult(
            argv=self.argv,
            exit_status=-1 if status is None else status,
            stdout=self.stdout,
            stderr=self.stderr,
            duration=time.monotonic() - self._began,
            where=self.where,
        )

    def wait_for(self, text: str | re.Pattern[str], timeout: float | str = 10.0) -> str:
        """The first line it writes, to either stream, that contains `text` (or matches a pattern).

        Raises NotReadyError with its last lines after `timeout` seconds, and at once when it has ended
        without such a line.
        """
        wanted, shown = pattern(text), text if isinstance(text, str) else text.pattern
        found: list[str] = []

        def look() -> State:
            over = not self.running  # before the output: a process writes its last words and ends
            lines = [*self.stdout.splitlines(), *self.stderr.splitlines()]
            found.extend(line for line in lines if wanted.search(line))
            if not found and over:
                raise NotReadyError(f"{self._named()} ended without '{shown}'; {self._last_words()}")
            return State(bool(found), self._last_words())

        wait_until(look, seconds(timeout), f"'{shown}' from {self._named()}")
        return found[0]

    def signal(self, number: int | str) -> None:
        """Send a signal (`signal.SIGHUP`, or "HUP") to it and to what it has started."""
        chosen = signal_number(number)
        if self.running:
            self._running.signal(chosen)

    def stop(self, grace: float | str = STOP_SECONDS) -> None:
        """End it: SIGTERM, `grace` seconds, SIGKILL. One that has ended already is fine."""
        patience = seconds(grace, "grace")
        if patience > 0 and self.running:
            self._running.signal(signal.SIGTERM)
            deadline = time.monotonic() + patience
            while self._running.status() is None and time.monotonic() < deadline:
                time.sleep(0.01)
        self.kill()

    def kill(self) -> None:
        """End it, and what it has started, at once."""
        if self.running:
            self._running.signal(signal.SIGKILL)
            wait_until(lambda: not self.running, START_SECONDS, f"the end of {self._named()} after SIGKILL")

    @property
    def _shown(self) -> str:
        return shlex.join(self.argv)

    def _named(self) -> str:
        return f"`{self._shown}` in {self.where}"

    def _last_words(self) -> str:
        lines = [*self.stdout.splitlines(), *self.stderr.splitlines()][-LAST_LINES:]
        return "it wrote " + (" | ".join(lines) if lines else "nothing")


class ExecInBackground:
    """A process that Docker started inside a container; `send` signals its session."""

    def __init__(
        self, api: DockerClient, exec_id: str, stream: ExecStream, who: str, send: SendSignal
    ) -> None:
        self._api, self._exec_id, self._stream, self._who, self._send = api, exec_id, stream, who, send
        self._status: int | None = None
        self._over = threading.Event()
        self.pid = 0

    @classmethod
    def start(
        cls,
        api: DockerClient,
        container: str,
        argv: Sequence[str],
        *,
        send: SendSignal,
        user: str = "",
        env: Mapping[str, str] | None = None,
        stdin: str | bytes | None = None,
        where: str = "",
    ) -> ExecInBackground:
        """Start it and return when it runs, or has run. Raises ProbeError if there is no such program."""
        with calling(f"exec in {where}"):
            created: dict[str, Any] = api.exec_create(
                container, list(argv), stdin=stdin is not None, user=user, environment=dict(env or {})
            )
        exec_id = str(created["Id"])
        running = cls(api, exec_id, attach(api, exec_id, where), where, send)
        data = stdin.encode() if isinstance(stdin, str) else stdin
        threading.Thread(target=running._follow, args=(data,), name=f"spawn {where}", daemon=True).start()
        running._await_start(argv)
        return running

    def output(self, stream: int) -> bytes:
        return bytes(self._stream.output[stream])

    def signal(self, number: int) -> None:
        self._send(self.pid, number)

    def status(self) -> int | None:
        return self._status if self._over.is_set() else None

    def _follow(self, data: bytes | None) -> None:
        try:
            self._stream.converse(data, None)
            while (found := inspect_exec(self._api, self._exec_id, self._who))["Running"]:
                time.sleep(0.01)
            self._status = -1 if found["ExitCode"] is None else int(found["ExitCode"])
        except (SonemuError, OSError, ValueError):
            self._status = -1  # the container, or the view's connection, ended under it
        finally:
            self._stream.close()
            self._over.set()

    def _await_start(self, argv: Sequence[str]) -> None:
        def begun() -> bool:
            found = inspect_exec(self._api, self._exec_id, self._who)
            self.pid = int(found.get("Pid") or 0)
            return bool(self.pid) or self._over.is_set()

        wait_until(begun, START_SECONDS, f"{self._who}: `{shlex.join(argv)}` to start")
        if self._over.is_set():
            status, pid = outcome(self._api, self._exec_id, self._who)
            said = self.output(OUTPUT).decode(errors="replace").strip()
            if pid == 0 and status in NOT_STARTED and says_why(said):
                raise ProbeError(cannot_run(self._who, argv, said))


class SendSignal(Protocol):
    """Sends a signal to the session of an exec's process."""

    def __call__(self, pid: int, number: int, /) -> None: ...
