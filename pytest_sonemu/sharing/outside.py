"""The ways out of this room: beds are opened, images prepared and needs looked up by others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pytest_sonemu.errors import SonemuError
from pytest_sonemu.sharing.contracts import BedLike, FindMissing, ImageWish, OpenBed, PrepareImages

if TYPE_CHECKING:
    from pytest_sonemu.topology.model import Topology


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
