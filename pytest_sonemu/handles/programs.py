"""Programs of this machine, run in an endpoint's network namespace."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Sequence

from pytest_sonemu.emulation import protocol
from pytest_sonemu.emulation.client import BedClient
from pytest_sonemu.errors import ProbeError
from pytest_sonemu.handles.results import CommandResult


def run_program(
    client: BedClient, instance: str, endpoint: str, argv: Sequence[str], timeout: float
) -> CommandResult:
    """Run a program to its end and return what it wrote. Raises ProbeError if it takes longer."""
    if not argv:
        raise ProbeError("there is no program to run; e.g. run('ip', 'route')")
    began = time.monotonic()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            pid = client.spawn(instance, endpoint, argv, (null, output.fileno(), errors.fileno()))
        finally:
            os.close(null)
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
