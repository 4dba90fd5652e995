"""What this room needs of the others, as protocols: beds, instances, and what a start is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pytest_sonemu.errors import SonemuError
from pytest_sonemu.handles.undo import UndoFailure

if TYPE_CHECKING:
    from pytest_sonemu.handles.flow_task import Generator
    from pytest_sonemu.handles.own_files import OwnFiles


class ServiceLike(Protocol):
    """A running instance, or a test's view of one."""

    @property
    def id(self) -> str: ...
    @property
    def dirty(self) -> str | None:
        """Why the instance is no longer as it was started and must not be shared on; None: it is."""

    def view(self, test: str = "") -> ServiceLike:
        """A copy that shares the instance and has an undo stack of its own, for a test or none."""

    def close_view(self) -> Sequence[UndoFailure]:
        """Undo what this view changed; the steps that failed."""

    def stop(self) -> None: ...


class BedLike(Protocol):
    """A test bed that is up, or a test's view of one."""

    @property
    def name(self) -> str: ...
    @property
    def run_dir(self) -> Path: ...
    @property
    def gone(self) -> bool: ...

    def start(self, package: object, **options: object) -> ServiceLike: ...

    def use_generators(self, find: Callable[[str], Generator | None]) -> None:
        """Let flows of this bed find generators of traffic by their names."""

    def record(self) -> None:
        """Record what is put on the links, for the report of a failure."""

    def use_files(self, files: OwnFiles) -> None:
        """Let relative paths mean the files of the test that runs."""

    def view(self, test: str = "") -> BedLike:
        """As a service's: instances started and links changed through it are undone by `close_view`."""

    def close_view(self) -> Sequence[UndoFailure]: ...

    def keep(self, seconds: float | str) -> None:
        """Let go of the bed; it lives for `seconds` more."""

    def end(self) -> None: ...


class ImageWish(Protocol):
    """What the preparation of images is told of one collected service."""

    @property
    def package(self) -> object: ...
    @property
    def topology(self) -> object: ...
    @property
    def options(self) -> Mapping[str, object]: ...


OpenBed = Callable[[object, Mapping[str, str], "int | None"], BedLike]
PrepareImages = Callable[[Sequence[ImageWish], Callable[[str], None], str], Mapping[int, SonemuError]]
FindMissing = Callable[[Iterable[str]], Sequence[str]]
