"""What the gatekeeper needs of an emulation: services started and stopped, and a look at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pytest_sonemu.gatekeeper.model import Layout
from pytest_sonemu.topology.model import Topology


class RunningInstance(Protocol):
    """An instance that runs. `number` grows with each start on the bed."""

    @property
    def uuid(self) -> str: ...

    @property
    def service(self) -> str: ...

    @property
    def number(self) -> int: ...

    def describe(self) -> Layout:
        """Raises EmulationError when it has just ended."""

    def stop(self) -> None:
        """Nothing of it is left when this returns. Raises EmulationError; then it may be called again."""


class Emulation(Protocol):
    """A test bed as the gatekeeper sees it. Thread-safe."""

    @property
    def name(self) -> str: ...

    @property
    def topology(self) -> Topology: ...

    def check(self, options: Mapping[str, object]) -> None:
        """Raises SettingsError for options that are unknown, wrong, or not to be had over HTTP."""

    def start(
        self, package: Path, uuid: str, options: Mapping[str, object], progress: Callable[[str], None]
    ) -> RunningInstance:
        """Start a service and return when it is ready. Raises SonemuError with everything undone."""

    def instances(self) -> Sequence[RunningInstance]:
        """All that run on the bed, whoever started them. Raises BedGoneError."""

    def notes(self) -> Sequence[str]:
        """What a person should know of the bed. Raises BedGoneError."""
