"""Which bed, which instance, which VNF a verb means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_sonemu.errors import (
    EmulationError,
    GatekeeperError,
    NotFoundError,
    ProbeError,
    SettingsError,
    nearest_first,
)

if TYPE_CHECKING:
    from pytest_sonemu.gatekeeper.client import GatekeeperClient
    from pytest_sonemu.handles.endpoint import Endpoint
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
    from pytest_sonemu.gatekeeper.published import published
    from pytest_sonemu.handles.testbed import TestBed

    bed = TestBed.attach(name)
    url = published(bed.run_dir)
    bed.close()
    if url is None:
        raise GatekeeperError(f"bed '{name}' has no gatekeeper: it was not started by `sonemu up`")
    return GatekeeperClient(url)


def newest(bed: TestBed) -> Service:
    """The service that was started last. Raises EmulationError where nothing runs."""
    services = sorted(bed.services, key=lambda service: service.plan.number)
    if not services:
        raise EmulationError(f"nothing runs on bed '{bed.name}': there is no instance to stop")
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


def endpoint_of(bed: TestBed, place: str) -> Endpoint:
    """A VNF, a unit of one, a SAP or a host: "fw", "fw.vdu01", "instance/input". Raises NotFoundError."""
    if place in [host.name for host in bed.topology.hosts]:
        return bed.host(place)
    service, endpoint = service_of(bed, place)
    return service.endpoint(endpoint)


def service_of(bed: TestBed, place: str) -> tuple[Service, str]:
    """The instance of an endpoint ("fw", "fw:input", "instance/fw"), and the endpoint without it.

    Raises NotFoundError with the endpoints that there are, nearest first.
    """
    instance, slash, name = place.rpartition("/")
    services = [bed.service(instance)] if slash else list(bed.services)
    found = [service for service in services if _has(service, name)]
    if len(found) == 1:
        return found[0], name
    if len(services) == 1:
        services[0].endpoint(name)  # says what is wrong with it
    there = [
        (each.id, f"{service.id}/{each.id}")
        for service in found or services
        for each in service.plan.endpoints
    ]
    near = nearest_first(name.partition(":")[0], dict.fromkeys(endpoint for endpoint, _ in there))
    there.sort(key=lambda one: near.index(one[0]))
    hosts = [host.name for host in bed.topology.hosts]
    raise NotFoundError("endpoint", place, [*(full for _, full in there), *hosts])


def _has(service: Service, name: str) -> bool:
    try:
        service.endpoint(name)
    except (NotFoundError, ProbeError):
        return False
    return True
