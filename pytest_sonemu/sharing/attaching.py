"""Tests on a bed that is up (`--sonemu-attach`): its instances are used, and nothing that was there ends."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from pytest_sonemu.emulation.client import BedClient
from pytest_sonemu.handles.core import BedCore, InstanceCore
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.starting import Wanted, wanted
from pytest_sonemu.handles.testbed import TestBed
from pytest_sonemu.handles.undo import UndoStack
from pytest_sonemu.planning.plan import DeploymentPlan
from pytest_sonemu.planning.units import flatten

if TYPE_CHECKING:
    from pytest_sonemu.descriptors.model import NetworkService
    from pytest_sonemu.descriptors.read import Package

# In the bed's folder: a file for each instance that a test run has started, with the run's process.
_OF_RUNS = "test-runs"


class AttachedBed(TestBed):
    """A bed that somebody else has booted, as the pool holds it: it lets go where others end."""

    attached = True

    @classmethod
    def to(cls, name: str, images: Mapping[str, str]) -> AttachedBed:
        """Raises NotFoundError with the beds that are up."""
        bed = cls.__new__(cls)
        bed._adopt(BedCore(BedClient.attach(name)), UndoStack())
        bed._images, bed._started = dict(images), []
        return bed

    _images: dict[str, str]
    _started: list[Service]

    def start(self, package: str | Path | NetworkService | Package, **options: object) -> Service:
        """The instance of this package that runs here; where none does, one for as long as this run."""
        wish = wanted(package, options)
        found = self._running(wish)
        if found is not None:
            return found
        uuid = str(uuid4())
        with self._noted(uuid):
            service = self.instantiate(package, {"images": self._images, **options}, uuid=uuid)
        self._started.append(service)
        return service

    def was_here(self, service: Service) -> bool:
        """Whether an instance ran before this run came."""
        return all(service.id != started.id for started in self._started)

    def keep(self, seconds: float | str) -> None:
        """Let go of the bed with all that runs on it."""
        self.close()

    def end(self) -> None:
        """Stop what this run has started, and let go of the bed."""
        try:
            if not self.gone:
                for service in self._started:
                    service.stop()
                    (self.run_dir / _OF_RUNS / service.uuid).unlink(missing_ok=True)
        finally:
            self._started = []
            self.close()

    def _running(self, wish: Wanted) -> Service | None:
        for state in self._core.client.describe().instances:
            plan = state.plan
            if _same(plan, wish) and not self._of_a_run(plan):
                options = flatten(wish.service, wish.options).options
                core = InstanceCore(self._core, plan, options, wish.path, wish.service.origin, wish.digest)
                self._core.add(core)
                return Service(core)
        return None

    def _of_a_run(self, plan: DeploymentPlan) -> bool:
        """Whether a test run that still goes on has started it: it will end with that run."""
        try:
            pid = int((self.run_dir / _OF_RUNS / plan.uuid).read_text())
        except (FileNotFoundError, ValueError):
            return False
        return Path("/proc", str(pid)).exists()

    @contextmanager
    def _noted(self, uuid: str) -> Iterator[None]:
        # Written before the instance is there: another worker must not take it for one that stays.
        note = self.run_dir / _OF_RUNS / uuid
        note.parent.mkdir(mode=0o700, exist_ok=True)
        note.write_text(f"{os.getpid()}\n")
        try:
            yield
        except BaseException:
            note.unlink(missing_ok=True)
            raise


def _same(plan: DeploymentPlan, wish: Wanted) -> bool:
    if plan.digest or wish.digest:
        return plan.digest == wish.digest
    return plan.service == wish.service.name
