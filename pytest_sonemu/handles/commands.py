"""Commands in a VNF's container: one that is waited for, one that runs beside the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_sonemu.handles.arguments import command_words, input_bytes, seconds, variables
from pytest_sonemu.handles.background import BackgroundProcess
from pytest_sonemu.handles.container import ContainerEndpoint
from pytest_sonemu.handles.results import CommandResult


class Commands(ContainerEndpoint):
    """`exec`, `spawn`, and a testinfra host."""

    def exec(
        self,
        command: str | Sequence[str],
        *,
        check: bool = False,
        timeout: float | str | None = 60.0,
        user: str | int = "",
        env: Mapping[str, str] | None = None,
        stdin: str | bytes | None = None,
    ) -> CommandResult:
        """Run a command in the container and wait for it: a list as it stands, a text by its shell.

        With `check` a status other than 0 raises ProbeError with what the command wrote. `timeout` in
        seconds; a command that takes longer is ended, and ProbeError raised.
        """
        from pytest_sonemu.handles.execution import exec_in_container

        patience, surroundings, given = seconds(timeout), variables(env), input_bytes(stdin)

        def run() -> CommandResult:
            return exec_in_container(
                self._core.bed.docker,
                self._awake().id,
                command,
                user=str(user),
                env=surroundings,
                stdin=given,
                timeout=patience,
                where=self.id,
            )

        shown = " ".join(command_words(command))
        with self._changing():
            result = self._journal.command(f"exec `{shown}`", self.id, run)
        return result.check() if check else result

    def spawn(
        self,
        command: str | Sequence[str],
        *,
        user: str | int = "",
        env: Mapping[str, str] | None = None,
        stdin: str | bytes | None = None,
    ) -> BackgroundProcess:
        """Start a command in the container and go on: its output is live, it is ended with the view.

        A list is run as it stands, a text by the container's shell. Raises ProbeError if there is no
        such program.
        """
        from pytest_sonemu.handles.background import ExecInBackground

        client, instance = self._core.bed.client, self._core.plan.instance

        def send(pid: int, number: int) -> None:
            client.signal_inside(instance, self.id, pid, number)

        words, surroundings, given = command_words(command), variables(env), input_bytes(stdin)
        argv, shown = ["sh", "-c", command] if isinstance(command, str) else words, " ".join(words)
        undo_change = self._begin_change()
        with self._journal.noting("did", f"spawn `{shown}`", self.id):
            running = ExecInBackground.start(
                self._core.bed.docker,
                self._awake().id,
                argv,
                send=send,
                user=str(user),
                env=surroundings,
                stdin=given,
                where=self.id,
            )
        process = BackgroundProcess((command,) if isinstance(command, str) else argv, self.id, running)

        def end() -> None:
            process.stop()
            undo_change()

        self._undo.push(end, f"{self.id}: `{shown}` ended")
        return process

    @property
    def host(self) -> Any:
        """A pytest-testinfra host: `fw.host.package("nftables").is_installed` (extra `testinfra`)."""
        from pytest_sonemu.handles.testinfra import testinfra_host

        return testinfra_host(self.exec, self.id)
