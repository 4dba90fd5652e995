"""The fabric's namespace, which is the keeper's own: batches run in it, interfaces looked for in it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable

from pytest_sonemu.emulation import namespaces
from pytest_sonemu.emulation.transcript import Transcript
from pytest_sonemu.planning.batches import Batch


class Fabric:
    """Carries out batches in the fabric, each written to the transcript first."""

    def __init__(self, transcript: Transcript) -> None:
        self.transcript = transcript
        self._place = f"/proc/{os.getpid()}/ns/net"

    def run(self, batches: Iterable[Batch]) -> None:
        """Raises EmulationError with the line that failed."""
        self.run_in(None, self._place, batches)

    def run_in(self, namespace: int | None, place: str, batches: Iterable[Batch]) -> None:
        """As `run`, in a namespace that the transcript calls `place`."""
        for batch in batches:
            self.transcript.batch(batch, place)
            namespaces.run_inside(namespace, batch.argv, batch.text, force=batch.force)


def indices(names: Iterable[str]) -> dict[str, int]:
    """The interfaces of these that exist in the fabric, with their indices."""
    wanted = set(names)
    return {name: index for index, name in socket.if_nameindex() if name in wanted}


def present(names: Iterable[str]) -> list[str]:
    """Those of the interfaces that exist in the fabric."""
    there = {name for _index, name in socket.if_nameindex()}
    return [name for name in names if name in there]
