"""From a package, a project folder or a service in Python to an instance that runs and is ready."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sonemu.descriptors.model import NetworkService
from pytest_sonemu.errors import SettingsError, SonemuError
from pytest_sonemu.handles.core import BedCore, InstanceCore
from pytest_sonemu.planning.make import make_plan
from pytest_sonemu.planning.option_models import ServiceOptions, merge
from pytest_sonemu.planning.units import flatten
from pytest_sonemu.topology.model import Topology

if TYPE_CHECKING:
    from pytest_sonemu.descriptors.read import Package
    from pytest_sonemu.emulation.image_choice import ImageRequest
    from pytest_sonemu.emulation.images import Caller

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """One service with everything that says how it is to run; `options` has those of `sonemu.yml`."""

    service: NetworkService
    options: ServiceOptions
    path: Path | None = None
    files: Mapping[str, bytes] | None = None
    digest: str | None = None

    def image_requests(self, topology: Topology) -> list[ImageRequest]:
        """What each unit needs an image for, keyed as the plan wants them."""
        from pytest_sonemu.descriptors.model import Unit
        from pytest_sonemu.emulation.image_choice import ImageRequest

        image_map = {**topology.images, **self.options.images}
        requests = []
        flat = flatten(self.service, self.options)
        for function in flat.service.functions:
            own = flat.options.vnf(function.id)
            requests.append(
                ImageRequest(
                    key=function.id,
                    unit=function.units[0],
                    image=own.image,
                    build=own.build,
                    command=own.command,
                    image_map=image_map,
                    files=self.files if self.files is not None else {},
                )
            )
        sites = {site.name: site.image for site in topology.saps}
        for sap in self.service.saps:
            image = self.options.sap(sap.id).image or sites.get(sap.id)
            if image is not None:
                requests.append(ImageRequest(key=sap.id, unit=Unit(sap.id, image=image), image=image))
        return requests


def wanted(package: str | Path | NetworkService | Package, options: Mapping[str, object]) -> Wanted:
    """Read and check what is to be started. Raises PackageError, SettingsError.

    `options` win over the package's own `sonemu.yml`.
    """
    from pytest_sonemu.planning.options import parse_service_options

    given = parse_service_options(options, "options of start()")
    if isinstance(package, NetworkService):
        return Wanted(package, given)
    if isinstance(package, (str, Path)):
        from pytest_sonemu.descriptors.read import read_package

        package = read_package(package)
    elif not hasattr(package, "sonemu_places"):
        raise SettingsError(
            f"{package!r} is no package: give a .son file, a project folder or a NetworkService"
        )
    places = package.sonemu_places

    def where(path: tuple[str, ...]) -> str:
        return str(places.get(path, package.path))

    own = beside(parse_service_options(package.sonemu, where, also=OTHER_KEYS), package.path)
    return Wanted(package.service, merge(own, given), package.path, package.files, package.digest)


def beside(options: ServiceOptions, package: Path) -> ServiceOptions:
    """The options of a `sonemu.yml`: its relative `build` folders lie beside it."""
    folder = package if package.is_dir() else package.parent
    vnfs = {
        vnf_id: vnf if vnf.build is None else replace(vnf, build=folder / vnf.build)
        for vnf_id, vnf in options.vnfs.items()
    }
    return replace(options, vnfs=vnfs)


# Keys of sonemu.yml that say something about a package's tests, not about how it runs.
OTHER_KEYS = ("topology", "policy", "paths", "scope")


def start(
    bed: BedCore,
    wish: Wanted,
    progress: Progress | None = None,
    *,
    uuid: str | None = None,
    allow_build: bool = True,
    caller: Caller = "python",
) -> InstanceCore:
    """Start a service and return when it is ready. What was made is undone if that fails.

    `uuid` is what the instance is to be called over HTTP. Without `allow_build` a package whose
    Dockerfile would have to be built is refused. `caller` decides what an error advises.
    """
    from pytest_sonemu.emulation.images import ImageResolver

    _check_mounts(wish.options)
    say = progress if progress is not None else _to_nobody
    client = bed.client
    requests = wish.image_requests(client.topology)
    resolver = ImageResolver(bed.docker, say, allow_build=allow_build, caller=caller)
    images = resolver.resolve(requests) if requests else {}
    plan, _applied = client.apply(
        lambda allocations: replace(
            make_plan(
                wish.service,
                client.topology,
                bed=client.name,
                options=wish.options,
                images=images,
                allocations=allocations,
                uuid=uuid,
            ),
            digest=wish.digest or "",
        ),
        say,
    )
    options = flatten(wish.service, wish.options).options
    core = InstanceCore(bed, plan, options, wish.path, wish.service.origin, wish.digest)
    bed.add(core)
    try:
        wait_until_ready(core)
        client.between_tests(plan.instance)  # the first test is compared with what is there now
    except BaseException as error:
        bed.forget(plan.instance)
        try:
            client.undo(plan.instance)
        except SonemuError as second:
            raise second from error
        raise
    return core


def _check_mounts(options: ServiceOptions) -> None:
    """Docker would speak of its own API, of a container that nobody has named, and only after the images."""
    for vnf_id, own in options.vnfs.items():
        for mount in own.mounts:
            if not Path(mount.source).exists():
                raise SettingsError(
                    f"vnfs.{vnf_id}.mounts: there is no {mount.source} on this machine, to be"
                    f" {mount.target} in '{vnf_id}'; make it, or name another source"
                )


def wait_until_ready(core: InstanceCore, only: Collection[str] | None = None) -> None:
    """Wait for all VNFs at once, or for some. Raises the first one's NotReadyError."""
    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor
    from concurrent.futures import wait as wait_for_all

    from pytest_sonemu.handles.undo import UndoStack
    from pytest_sonemu.handles.vnf import Vnf

    vnfs = [
        Vnf(core, plan, UndoStack())
        for plan in core.plan.endpoints
        if plan.container is not None and (only is None or plan.id in only)
    ]
    if not vnfs:
        return
    with ThreadPoolExecutor(min(16, len(vnfs)), thread_name_prefix="ready") as pool:
        waits = [pool.submit(vnf.wait_ready) for vnf in vnfs]
        done, _left = wait_for_all(waits, return_when=FIRST_EXCEPTION)
        failed = [wait for wait in done if wait.exception() is not None]
        for wait in failed:
            pool.shutdown(wait=False, cancel_futures=True)
            wait.result()


def _to_nobody(_line: str) -> None:
    return None
