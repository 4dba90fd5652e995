"""What a test ran on, for junit and other machines that read reports: digests, versions, names."""

from __future__ import annotations

import platform
from collections.abc import Iterable

from pytest_sonemu.errors import SonemuError
from pytest_sonemu.handles.core import BedCore
from pytest_sonemu.sharing.pool import Held
from pytest_sonemu.sharing.requests import shown


def properties(beds: Iterable[tuple[Held, BedCore]]) -> list[tuple[str, object]]:
    """Pairs for `user_properties`: bed, topology, packages and images by digest, kernel, Docker."""
    found: list[tuple[str, object]] = [("sonemu_kernel", platform.release())]
    for held, core in beds:
        found.append(("sonemu_bed", core.client.name))
        found.append(("sonemu_topology", shown(held.ask.topology)))
        for instance in core.known_instances():
            found.append(("sonemu_instance", instance.plan.instance))
            if instance.digest is not None:
                found.append(("sonemu_package", f"{shown(instance.package)} sha256:{instance.digest}"))
            found += [
                (
                    "sonemu_image",
                    f"{endpoint.id}={endpoint.container.image.reference} {endpoint.container.image.id}",
                )
                for endpoint in instance.plan.endpoints
                if endpoint.container is not None
            ]
        version = docker_version(core)
        if version is not None and ("sonemu_docker", version) not in found:
            found.append(("sonemu_docker", version))
    return found


def docker_version(core: BedCore) -> str | None:
    """Docker's version, asked once for each bed; None where it does not answer."""
    if core.docker_version is None:
        try:
            core.docker_version = str(core.docker.version().get("Version", "unknown"))
        except (SonemuError, OSError):
            return None
    return core.docker_version
