"""A bed without an emulation, which writes down what is done to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pytest

import pytest_sonemu.descriptors.read
import pytest_sonemu.sharing.factories
import pytest_sonemu.sharing.starting  # noqa: F401 - inner runs drop what only they have imported
from pytest_sonemu.errors import ImageError, MachineError, NotReadyError, SonemuError
from pytest_sonemu.handles.undo import UndoFailure, UndoStack
from pytest_sonemu.sharing.contracts import ImageWish
from pytest_sonemu.sharing.outside import Outside
from pytest_sonemu.sharing.requests import shown
from pytest_sonemu.sharing.session import OUTSIDE


class Instance:
    """What all views of a service share."""

    def __init__(self, name: str, package: object, options: Mapping[str, object]) -> None:
        self.name, self.package, self.options = name, package, options
        self.dirty: str | None = None


class FakeService:
    def __init__(self, instance: Instance, log: list[str]) -> None:
        self.instance, self._log, self._undo = instance, log, UndoStack()

    @property
    def id(self) -> str:
        return self.instance.name

    @property
    def dirty(self) -> str | None:
        return self.instance.dirty

    @property
    def options(self) -> Mapping[str, object]:
        return self.instance.options

    def make_dirty(self, reason: str) -> None:
        self.instance.dirty = reason

    def view(self, test: str = "") -> FakeService:
        return FakeService(self.instance, self._log)

    def undo(self, step: Callable[[], object], label: str = "") -> None:
        self._undo.push(step, label)

    def close_view(self) -> Sequence[UndoFailure]:
        return self._undo.close()

    def stop(self) -> None:
        self._log.append(f"stop {self.id}")


class FakeBed:
    def __init__(self, world: World, name: str, topology: object, undo: UndoStack | None = None) -> None:
        self._world, self.name, self.topology = world, name, topology
        self._undo = undo or UndoStack()
        self.run_dir = Path("/run/sonemu/0", name)

    @property
    def gone(self) -> bool:
        return self.name in self._world.gone

    def vanish(self) -> None:
        self._world.gone.add(self.name)

    def use_generators(self, find: object) -> None: ...

    def record(self) -> None: ...

    def use_files(self, files: object) -> None: ...

    def start(self, package: object, **options: object) -> FakeService:
        name = shown(package).removesuffix(".son")
        if name.startswith("broken"):
            self._world.log.append(f"fail {name}")
            raise NotReadyError(f"{name}: fw did not become ready in 60 s\nlast log line: no rules")
        instance = Instance(f"{name}-{next(self._world.numbers)}", package, options)
        self._world.log.append(f"start {instance.name} on {self.name}")
        return FakeService(instance, self._world.log)

    def view(self, test: str = "") -> FakeBed:
        return FakeBed(self._world, self.name, self.topology)

    def undo(self, step: Callable[[], object], label: str = "") -> None:
        self._undo.push(step, label)

    def close_view(self) -> Sequence[UndoFailure]:
        return self._undo.close()

    def keep(self, seconds: float | str) -> None:
        self._world.log.append(f"keep {self.name} {seconds:.0f}")

    def end(self) -> None:
        if self._world.cannot_end:
            raise RuntimeError("Docker does not let go")
        self._world.log.append(f"end {self.name}")


class World:
    """A plugin for an inner pytest run: every effect of the sharing goes to `log`."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.gone: set[str] = set()
        self.numbers = itertools.count(1)
        self.missing: dict[str, str] = {}
        self.wishes: list[ImageWish] = []
        self.no_docker = self.cannot_end = False
        self._beds = itertools.count(1)

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[OUTSIDE] = Outside(self.open_bed, self.prepare_images, self.find_missing)

    def open_bed(self, topology: object, images: Mapping[str, str], seed: int | None = None) -> FakeBed:
        if self.no_docker:
            self.log.append("refused")
            raise MachineError("Docker does not answer; run `sonemu doctor`")
        bed = FakeBed(self, f"bed{next(self._beds)}", topology)
        self.log.append(f"boot {bed.name} {shown(topology)}")
        return bed

    def prepare_images(
        self, wishes: Sequence[ImageWish], progress: Callable[[str], None], session: str
    ) -> Mapping[int, SonemuError]:
        self.log.append("images " + " ".join(sorted(shown(wish.package) for wish in wishes)))
        progress("images: all there")
        no_image = ImageError("VNF 'fw': image 'fw:none' cannot be had")
        return {n: no_image for n, wish in enumerate(wishes) if shown(wish.package) == "no-image.son"}

    def find_missing(self, needs: Iterable[str]) -> Sequence[str]:
        return [self.missing[need] for need in needs if need in self.missing]

    def of(self, verb: str) -> list[str]:
        return [line for line in self.log if line.startswith(verb)]
