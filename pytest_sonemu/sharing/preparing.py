"""Images are had before the first test: once a run, by one worker while the others wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pytest_sonemu.errors import MachineError, SonemuError
from pytest_sonemu.sharing.contracts import ImageWish, PrepareImages
from pytest_sonemu.sharing.pool import Pool
from pytest_sonemu.sharing.requests import Ask

if TYPE_CHECKING:
    from pytest_sonemu.descriptors.model import NetworkService
    from pytest_sonemu.emulation.image_choice import ImageRequest
    from pytest_sonemu.planning.plan import DeploymentPlan
    from pytest_sonemu.topology.model import Topology


def prepare(
    asks: Sequence[Ask],
    prepare_images: PrepareImages,
    progress: Callable[[str], None],
    session: str,
    pool: Pool,
) -> None:
    """Have the images of `asks` prepared; what cannot be had becomes the error of the tests that need it."""
    wishes = list({ask.content: ask for ask in asks if ask.package is not None}.values())
    if wishes:
        for position, error in prepare_images(wishes, progress, session).items():
            pool.cannot_start(wishes[position], error)


def prepare_images(
    wishes: Sequence[ImageWish], progress: Callable[[str], None], session: str
) -> Mapping[int, SonemuError]:
    """Build and pull all at once; the errors by position. `session` is common to the workers of a run.

    A package or topology that cannot be used, or a machine without Docker, is left to the tests.
    """
    from pytest_sonemu.emulation import docker_api
    from pytest_sonemu.emulation.images import ImageResolver

    wanted: dict[int, Sequence[ImageRequest]] = {}
    for position, wish in enumerate(wishes):
        try:
            wanted[position] = requests_of(wish)
        except SonemuError:
            continue
    if not any(wanted.values()):
        return {}
    try:
        docker = docker_api.connect()
    except MachineError:
        return {}
    with docker:
        outcomes = ImageResolver(docker, progress).prepare(wanted, session=session)
    return {position: each for position, each in outcomes.items() if isinstance(each, SonemuError)}


def requests_of(wish: ImageWish) -> Sequence[ImageRequest]:
    """The images that one service needs. Raises what reading its package and topology raises."""
    from pytest_sonemu.handles.starting import wanted

    return wanted(_package(wish), wish.options).image_requests(_topology(wish))


def plan_of(wish: ImageWish) -> DeploymentPlan:
    """What a start would deploy. Raises what reading its package and topology, and planning, raise."""
    from pytest_sonemu.handles.foreseeing import foresee
    from pytest_sonemu.handles.starting import wanted

    return foresee(wanted(_package(wish), wish.options), _topology(wish))


def _package(wish: ImageWish) -> Path | NetworkService:
    return cast("Path | NetworkService", wish.package)


def _topology(wish: ImageWish) -> Topology:
    from pytest_sonemu.handles.testbed import as_topology

    return as_topology(cast("Path | Topology | None", wish.topology))
