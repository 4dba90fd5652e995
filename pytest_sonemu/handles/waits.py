"""Waiting for a VNF: its log, its ports, its files, or anything put together of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pytest_sonemu.handles.arguments import pattern, port_number, seconds
from pytest_sonemu.handles.container import ContainerEndpoint
from pytest_sonemu.handles.logs import LogLine, container_lines, entry_lines
from pytest_sonemu.handles.waiting import Condition, Readiness, State, wait_until


class Waits(ContainerEndpoint):
    """`logs` and all methods that wait for something."""

    @property
    def logs(self) -> str:
        """What its own command, and its entry script, have written since the test began; see `log_lines`."""
        return "".join(f"{line.text}\n" for line in self.log_lines())

    def log_lines(self, since: float | None = None) -> list[LogLine]:
        """The lines it has written, each with its time.

        Those since the test began (in library use: since the start of the service); `since=0` takes all,
        any other value is a time in seconds since the epoch.
        """
        start = self._undo.began if since is None else since
        own = container_lines(self._core.bed.docker, self.state.id, start)
        folder = self._core.bed.client.run_dir / "instances" / self._core.plan.instance / self.id
        script = entry_lines(folder / "entry.log", start)
        return sorted([*own, *script], key=lambda line: line.time) if script else own

    def wait_for_log(
        self, text: str | re.Pattern[str], *, timeout: float | str = 30.0, since: float | None = None
    ) -> str:
        """The first line of its output that contains `text` (or matches a pattern), as soon as it is there.

        Counted are lines since the test began (in library use: since the start of the service);
        `since=0` takes all, any other value is a time in seconds since the epoch. Raises NotReadyError
        with the last line.
        """
        start = self._undo.began if since is None else since
        wanted = pattern(text)
        found: list[str] = []

        def look() -> State:
            lines = [line.text for line in self.log_lines(start)]
            found.extend(line for line in lines if wanted.search(line))
            return State(bool(found), f"{len(lines)} lines since" + (f": {lines[-1]}" if lines else ""))

        shown = text if isinstance(text, str) else text.pattern
        hint = "lines written before this test do not count; `since=0` takes them all" if start else ""
        wait_until(look, seconds(timeout), f"{self.id}: a log line with '{shown}'", hint, (0.02, 0.05, 0.1))
        return found[0]

    def wait_for_port(
        self, port: int, *, udp: bool = False, timeout: float | str = 30.0, hint: str = ""
    ) -> None:
        """Return when the VNF listens on a port.

        Raises NotReadyError with what was seen instead, and `hint`.
        """
        self._wait((f"{'udp' if udp else 'tcp'}:{port_number(port)}",), seconds(timeout), hint)

    def wait_for_file(self, path: str, *, timeout: float | str = 30.0, hint: str = "") -> None:
        """Return when there is a file or folder, seen from outside. Raises NotReadyError, with `hint`."""
        self._wait((f"file:{path}",), seconds(timeout), hint)

    def wait_until(
        self,
        *conditions: str | int | Condition | Callable[..., object],
        timeout: float | str = 30.0,
        hint: str = "",
    ) -> None:
        """Return when all conditions hold, one after the other; they are written as `ready` is.

            web.wait_until(80, "file:/run/nginx.pid", any_of("log:ready", lambda vnf: vnf.stats().memory > 0))

        Raises NotReadyError with condition, last state, last log lines and `hint`; at once when the VNF
        has ended.
        """
        self._wait(conditions, seconds(timeout), hint)

    def wait_ready(self, *, timeout: float | str | None = None) -> None:
        """Return when the VNF is ready, as its options or its image say. Raises NotReadyError."""
        options, patience = self._core.options.vnf(self.id), seconds(timeout)
        readiness = self._wait(options.ready, options.ready_timeout if patience is None else patience)
        if readiness.guessed:
            self._core.guesses[self.id] = readiness.note(self.id)

    # -- behind it --------------------------------------------------------------------------------

    def _log_since(self, since: float) -> list[str]:
        return [line.text for line in self.log_lines(since)]

    def _wait(self, conditions: Sequence[object], timeout: float, hint: str = "") -> Readiness:
        raise NotImplementedError
