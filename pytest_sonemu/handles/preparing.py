"""Images of many services, had before the first of them is started."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from pytest_sonemu.errors import ImageError, SonemuError
from pytest_sonemu.handles.starting import wanted
from pytest_sonemu.handles.testbed import as_topology

if TYPE_CHECKING:
    from pytest_sonemu.emulation.image_choice import ImageRequest


class Wish(Protocol):
    """One service that will be asked for."""

    @property
    def package(self) -> Any: ...
    @property
    def topology(self) -> Any: ...
    @property
    def options(self) -> Mapping[str, object]: ...


def prepare_images(wishes: Sequence[Wish], progress: Callable[[str], None]) -> None:
    """Find, build and pull what the services need, in parallel; `progress` gets lines for a person.

    A package that cannot be read is passed over: its own test shows why. Raises ImageError with all
    images that cannot be had.
    """
    from pytest_sonemu.emulation import docker_api
    from pytest_sonemu.emulation.images import ImageResolver

    requests: dict[int, list[ImageRequest]] = {}
    for number, wish in enumerate(wishes):
        try:
            requests[number] = wanted(wish.package, wish.options).image_requests(as_topology(wish.topology))
        except SonemuError:
            continue
    if not any(requests.values()):
        return
    with docker_api.connect() as docker:
        outcomes = ImageResolver(docker, progress).prepare(requests)
    failures = {str(outcome) for outcome in outcomes.values() if isinstance(outcome, ImageError)}
    if failures:
        raise ImageError("\n".join(sorted(failures)))
