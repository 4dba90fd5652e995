"""`sonemu up` as a process of its own, for as long as a test needs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
SONEMU = [sys.executable, "-c", "from pytest_sonemu.cli import main; main()"]
UP = re.compile(r"bed (\S+) is up: (http://\S+)")


class Up:
    """`lines` are what it has said on standard output, `errors` on standard error."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((process.stdout, self.lines), (process.stderr, self.errors))
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream: IO[str] | None, lines: list[str]) -> None:
        assert stream is not None
        with stream:
            for line in stream:
                lines.append(line.rstrip("\n"))

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def until(self, condition: Callable[[], object], seconds: float = 30.0) -> None:
        """Wait for something to come true while it runs."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"it ended: {self.output} {self.errors}"
            assert time.monotonic() < deadline, f"it did not come to that: {self.output} {self.errors}"
            time.sleep(0.02)

    @property
    def bed(self) -> str:
        return self._first[0]

    @property
    def url(self) -> str:
        return self._first[1]

    @property
    def _first(self) -> tuple[str, str]:
        self.until(lambda: self.lines)
        found = UP.match(self.lines[0])
        assert found is not None, self.lines
        return found[1], found[2]

    def ended(self, seconds: float = 30.0) -> int:
        """Its exit status, once all it has said was read."""
        status = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(seconds)
        return status


@contextmanager
def sonemu_up(*arguments: str) -> Iterator[Up]:
    """`sonemu up` with these arguments, on any free port unless they say otherwise."""
    ports = () if "--port" in arguments else ("--port", "0")
    process = subprocess.Popen(
        [*SONEMU, "up", *ports, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    up = Up(process)
    try:
        yield up
    finally:
        if process.poll() is None:
            process.kill()
        up.ended()


def sonemu(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Another verb, to its end."""
    return subprocess.run(
        [*SONEMU, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
