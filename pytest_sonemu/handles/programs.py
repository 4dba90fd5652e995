"""Programs of this machine, run in an endpoint's network namespace."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_sonemu.emulation import protocol
from pytest_sonemu.emulation.client import BedClient
from pytest_sonemu.errors import BedGoneError, NotFoundError, ProbeError, SonemuError
from pytest_sonemu.handles.arguments import command_words, input_bytes, variables
from pytest_sonemu.handles.results import CommandResult

# How long the output of a program that has ended is waited for.
_LAST_WORDS = 1.0


@dataclass(frozen=True)
class Surroundings:
    """What a program gets besides its arguments: more variables than ours, and what it reads."""

    env: Mapping[str, str]
    stdin: bytes | None = None

    @classmethod
    def of(cls, env: Mapping[str, str] | None, stdin: str | bytes | None) -> Surroundings:
        """Raises ProbeError for what is neither."""
        return cls(variables(env), input_bytes(stdin))

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.env}

    @contextlib.contextmanager
    def input(self) -> Iterator[int]:
        """A descriptor to read from, to the end of what there is."""
        if self.stdin is None:
            with open(os.devnull, "rb") as nothing:
                yield nothing.fileno()
            return
        with tempfile.TemporaryFile() as file:
            file.write(self.stdin)
            file.seek(0)
            yield file.fileno()


def run_program(
    client: BedClient,
    instance: str,
    endpoint: str,
    argv: Sequence[str],
    timeout: float,
    surroundings: Surroundings,
) -> CommandResult:
    """Run a program to its end and return what it wrote. Raises ProbeError if it takes longer."""
    if not argv:
        raise ProbeError("there is no program to run; e.g. run('ip', 'route')")
    began = time.monotonic()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        with surroundings.input() as given:
            streams = given, output.fileno(), errors.fileno()
            pid = client.spawn(instance, endpoint, argv, streams, environment=surroundings.environment)
        reply = client.request(protocol.Wait(pid, timeout))
        if not isinstance(reply, protocol.Exited):
            client.request(protocol.Signal(pid, signal.SIGKILL))
            client.wait(pid)
            raise ProbeError(f"`{' '.join(argv)}` in {endpoint} did not end within {timeout:g} s")
        output.seek(0)
        errors.seek(0)
        return CommandResult(
            argv=tuple(argv),
            exit_status=reply.exit_status,
            stdout=output.read().decode(errors="replace"),
            stderr=errors.read().decode(errors="replace"),
            duration=time.monotonic() - began,
            where=endpoint,
        )


class SpawnedProgram:
    """A program of this machine that runs beside the test, behind a `BackgroundProcess`."""

    def __init__(
        self,
        client: BedClient,
        instance: str,
        endpoint: str,
        argv: Sequence[str],
        surroundings: Surroundings,
    ) -> None:
        """Start it. Raises ProbeError if there is no such program."""
        _check_there(argv)
        self._client = client
        self._output = {1: bytearray(), 2: bytearray()}
        self._status: int | None = None
        self._over = threading.Event()
        pipes = {stream: os.pipe2(os.O_CLOEXEC) for stream in self._output}
        try:
            with surroundings.input() as given:
                streams = given, pipes[1][1], pipes[2][1]
                self._pid = client.spawn(
                    instance, endpoint, argv, streams, environment=surroundings.environment
                )
        except BaseException:
            for reading, _ in pipes.values():
                os.close(reading)
            raise
        finally:
            for descriptor in (pipes[1][1], pipes[2][1]):
                os.close(descriptor)
        readers = [
            threading.Thread(target=self._read, args=(stream, reading), daemon=True)
            for stream, (reading, _) in pipes.items()
        ]
        for thread in (*readers, threading.Thread(target=self._follow, args=(readers,), daemon=True)):
            thread.start()

    def output(self, stream: int) -> bytes:
        return bytes(self._output[stream])

    def signal(self, number: int) -> None:
        with contextlib.suppress(NotFoundError, BedGoneError):  # it has ended, or all has
            self._client.request(protocol.Signal(self._pid, number))

    def status(self) -> int | None:
        return self._status if self._over.is_set() else None

    def _read(self, stream: int, reading: int) -> None:
        with open(reading, "rb", buffering=0) as file:
            while part := file.read(1 << 16):
                self._output[stream] += part

    def _follow(self, readers: Sequence[threading.Thread]) -> None:
        try:
            self._status = self._client.wait(self._pid)
        except SonemuError:
            self._status = -1  # the bed ended under it
        deadline = time.monotonic() + _LAST_WORDS
        for reader in readers:  # what it has started may hold its output open
            reader.join(max(0.0, deadline - time.monotonic()))
        self._over.set()


def split(command: str | Sequence[str]) -> list[str]:
    """`"dig server +short"` -> its words, quoted as for a shell; nothing is expanded. Raises ProbeError."""
    try:
        words = shlex.split(command) if isinstance(command, str) else command_words(command)
    except ValueError as error:
        raise ProbeError(f"{command!r} cannot be read as a command: {error}") from error
    _check_there(words)
    return words


def _check_there(argv: Sequence[str]) -> None:
    if not argv:
        raise ProbeError("there is no program to run; e.g. spawn(['tcpdump', '-n'])")
    if shutil.which(argv[0]) is None:
        raise ProbeError(f"this machine has no program '{argv[0]}' (it need not be in any image); install it")
