"""Changes of a running service's plan through handles: carried out, waited for, undone with the view."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from pytest_sonemu.errors import BedGoneError, NotFoundError, SettingsError, SonemuError
from pytest_sonemu.handles.core import InstanceCore
from pytest_sonemu.handles.undo import UndoStack
from pytest_sonemu.planning.option_models import VnfOptions
from pytest_sonemu.planning.plan import Allocations, DeploymentPlan, ImageChoice

Change = Callable[[DeploymentPlan, Allocations], DeploymentPlan]

# What the options of a VNF say about its container, and about waiting for it.
OF_A_CONTAINER = frozenset(
    {
        *("image", "build", "command", "env", "secrets", "mounts", "cpu", "memory", "cap_add", "sysctls"),
        *("grace", "no_new_privileges", "ready", "ready_timeout", "settle", "dirty_ignore"),
    }
)


def amend(core: InstanceCore, change: Change) -> None:
    """Carry out a change of the plan; the core has the plan that came of it."""
    core.plan = core.bed.client.amend(core.plan.instance, change)


def amend_until_undone(
    core: InstanceCore,
    undo: UndoStack,
    change: Change,
    back: Change,
    label: str,
    fresh: Callable[[], Iterable[str]],
    *,
    fresh_again: Callable[[], Iterable[str]] = lambda: (),
    options: Mapping[str, VnfOptions] | None = None,
) -> None:
    """Carry out a change and wait until its containers (`fresh`) are ready; `back` takes it back when the
    view ends, at once if that fails. `options` are those of its containers."""
    own = options if options is not None else {}
    before = {name: core.options.vnfs.get(name) for name in own}
    _set_options(core, own)

    def take_back() -> None:
        try:
            amend(core, back)
        finally:
            _set_options(core, before)
        await_ready(core, fresh_again())

    with core.bed.journal.noting("did", label):
        try:
            amend(core, change)
        except BaseException:
            _set_options(core, before)
            raise
        try:
            await_ready(core, fresh())
            undo.push(lambda: _undo(core, take_back, label), f"{label}: as before")
        except BaseException:
            take_back()
            raise


def _set_options(core: InstanceCore, options: Mapping[str, VnfOptions | None]) -> None:
    vnfs = {name: own for name, own in core.options.vnfs.items() if name not in options}
    vnfs.update((name, own) for name, own in options.items() if own is not None)
    core.options = replace(core.options, vnfs=vnfs)


def _undo(core: InstanceCore, take_back: Callable[[], None], label: str) -> None:
    if core.stopped:
        return
    try:
        # Somebody else may have ended it.
        with suppress(BedGoneError, NotFoundError):
            take_back()
    except SonemuError as error:
        core.dirty = f"{label} could not be taken back: {error}"
        raise


def await_ready(core: InstanceCore, names: Iterable[str]) -> None:
    """Wait until containers are ready, as the service's own are. Raises NotReadyError."""
    from pytest_sonemu.handles.starting import wait_until_ready

    chosen = set(names)
    if chosen:
        wait_until_ready(core, chosen)


def container_options(name: str, given: Mapping[str, Any], where: str) -> VnfOptions:
    """Options of a container. Raises SettingsError for those that are none, or not a container's."""
    from pytest_sonemu.planning.options import parse_service_options

    options = parse_service_options({"vnfs": {name: dict(given)}}, where).vnfs[name]
    for option in sorted(options.given - OF_A_CONTAINER):
        raise SettingsError(
            f"{where}: '{option}' belongs to the network, which stays as it is while it runs;"
            f" a container has: {', '.join(sorted(OF_A_CONTAINER))}"
        )
    return options


def chosen_image(core: InstanceCore, name: str, options: VnfOptions) -> ImageChoice:
    """The image that options name, as the plan wants it. Raises ImageError."""
    from pytest_sonemu.descriptors.model import Unit
    from pytest_sonemu.emulation.image_choice import ImageRequest
    from pytest_sonemu.emulation.images import ImageResolver

    request = ImageRequest(
        key=name,
        unit=Unit(name, image=options.image),
        image=options.image,
        build=options.build,
        command=options.command,
    )
    return ImageResolver(core.bed.docker, lambda line: None).resolve([request])[name]
