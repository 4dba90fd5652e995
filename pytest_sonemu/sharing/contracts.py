"""What this room needs of the others, as protocols: beds, instances, and three ways out of here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from pytest_sonemu.errors import SonemuError
from pytest_sonemu.handles.undo import UndoFailure

if TYPE_CHECKING:
    from pytest_sonemu.handles.flow_task import Generator
    from pytest_sonemu.handles.own_files import OwnFiles
    from pytest_sonemu.topology.model import Topology


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


def open_bed(topology: object, images: Mapping[str, str], seed: int | None) -> BedLike:
    """Boot a bed. `topology` and `seed` as `TestBed` takes them."""
    from pytest_sonemu.handles.testbed import TestBed

    given = cast("str | Path | Topology | None", topology)
    return cast(BedLike, TestBed(given, images=images or None, seed=seed))


def attach(name: str) -> OpenBed:
    """What opens, in place of beds, the one of that name which is up already."""
    from pytest_sonemu.sharing.attaching import AttachedBed

    def open_attached(_topology: object, images: Mapping[str, str], _seed: int | None) -> BedLike:
        return cast(BedLike, AttachedBed.to(name, images))

    return open_attached


def prepare_images(
    wishes: Sequence[ImageWish], progress: Callable[[str], None], session: str
) -> Mapping[int, SonemuError]:
    """Build and pull what the services need, in parallel; `progress` gets lines for a person."""
    from pytest_sonemu.sharing import preparing

    return preparing.prepare_images(wishes, progress, session)


def find_missing(needs: Iterable[str]) -> Sequence[str]:
    """A sentence for each need that this machine does not meet: what is missing, how to mend it."""
    from pytest_sonemu.sharing import needs as machine

    return machine.find_missing(needs)


@dataclass(frozen=True)
class Outside:
    """The effects that this room asks others for; tests of the room put their own here."""

    open_bed: OpenBed = open_bed
    prepare_images: PrepareImages = prepare_images
    find_missing: FindMissing = find_missing
    attach: Callable[[str], OpenBed] = attach
