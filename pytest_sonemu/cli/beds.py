"""Which bed, which instance, which VNF a verb means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_sonemu.errors import GatekeeperError, NotFoundError, SettingsError

if TYPE_CHECKING:
    from pytest_sonemu.gatekeeper.client import GatekeeperClient
    from pytest_sonemu.handles.service import Service
    from pytest_sonemu.handles.testbed import TestBed
    from pytest_sonemu.handles.vnf import Vnf


def attach(name: str | None) -> TestBed:
    """The bed of that name; without one, the only bed that is up. Raises NotFoundError, SettingsError."""
    from pytest_sonemu.emulation.client import beds
    from pytest_sonemu.handles.testbed import TestBed

    if name is not None:
        return TestBed.attach(name)
    names = [bed.name for bed in beds()]
    if not names:
        raise SettingsError("no test bed is up; `sonemu up` boots one")
    if len(names) > 1:
        raise SettingsError(f"several beds are up; name one: {', '.join(names)}")
    return TestBed.attach(names[0])


def gatekeeper_of(name: str) -> GatekeeperClient:
    """A client of the gatekeeper that `sonemu up` serves on a bed. Raises NotFoundError, GatekeeperError."""
    from pytest_sonemu.gatekeeper.client import GatekeeperClient
    from pytest_sonemu.gatekeeper.serving import published
    from pytest_sonemu.handles.testbed import TestBed

    bed = TestBed.attach(name)
    url = published(bed.run_dir)
    bed.close()
    if url is None:
        raise GatekeeperError(f"bed '{name}' has no gatekeeper: it was not started by `sonemu up`")
    return GatekeeperClient(url)


def newest(bed: TestBed) -> Service:
    """The service that was started last. Raises NotFoundError."""
    services = sorted(bed.services, key=lambda service: service.plan.number)
    if not services:
        raise NotFoundError("instance", "started last", ())
    return services[-1]


def vnf_of(bed: TestBed, place: str) -> Vnf:
    """A VNF by "fw", or by "instance/fw" where several instances have one. Raises NotFoundError."""
    instance, slash, vnf_id = place.rpartition("/")
    if slash:
        return bed.service(instance).vnf(vnf_id)
    found = [service for service in bed.services if vnf_id in service.vnfs]
    if len(found) == 1:
        return found[0].vnf(vnf_id)
    there = found or bed.services
    raise NotFoundError("VNF", place, [f"{service.id}/{vnf}" for service in there for vnf in service.vnfs])
