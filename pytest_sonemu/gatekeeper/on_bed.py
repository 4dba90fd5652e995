"""The gatekeeper on a test bed: what is started over HTTP has handles, and the other way round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pytest_sonemu.errors import EmulationError, SettingsError
from pytest_sonemu.gatekeeper.model import (
    ContainerView,
    CounterView,
    EndpointView,
    InterfaceView,
    Layout,
    LinkView,
)
from pytest_sonemu.handles.endpoint import Endpoint
from pytest_sonemu.handles.link import Link
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.testbed import TestBed
from pytest_sonemu.handles.vnf import Vnf
from pytest_sonemu.planning.options import EVERY_VNF, parse_service_options
from pytest_sonemu.planning.plan import DeploymentPlan, EndpointPlan
from pytest_sonemu.topology.model import Topology

# Who may speak to a port is not who may read this user's files, or give containers rights.
NOT_OVER_HTTP = ("mounts", "build", "cap_add", "no_new_privileges")
OVER_HTTP: Mapping[str, object] = {"no_new_privileges": True}
WHERE = "options of the request"


class BedEmulation:
    """A `TestBed`, or a view of one, as the gatekeeper's `Emulation`.

    `options` count for every start that does not say otherwise.
    """

    def __init__(
        self, bed: TestBed, *, allow_build: bool = False, options: Mapping[str, object] | None = None
    ) -> None:
        self._bed, self._allow_build = bed, allow_build
        self._options = dict(options or {})

    @property
    def name(self) -> str:
        return self._bed.name

    @property
    def topology(self) -> Topology:
        return self._bed.topology

    def check(self, options: Mapping[str, object]) -> None:
        check_options(options)

    def start(
        self, package: Path, uuid: str, options: Mapping[str, object], progress: Callable[[str], None]
    ) -> OnBed:
        service = self._bed.instantiate(
            package,
            self._with_defaults(options),
            uuid=uuid,
            allow_build=self._allow_build,
            progress=progress,
            caller="up",
        )
        return OnBed(service)

    def _with_defaults(self, options: Mapping[str, object]) -> dict[str, object]:
        asked = {**self._options, **options}
        vnfs = asked.get("vnfs")
        every = dict(vnfs) if isinstance(vnfs, Mapping) else {}
        asked["vnfs"] = {**every, EVERY_VNF: {**(every.get(EVERY_VNF) or {}), **OVER_HTTP}}
        return asked

    def instances(self) -> Sequence[OnBed]:
        return [OnBed(service) for service in self._bed.services]

    def notes(self) -> Sequence[str]:
        return self._bed.notes


def check_options(options: Mapping[str, object]) -> None:
    """Raises SettingsError for options that are wrong, or that only a test's author may set."""
    parsed = parse_service_options(options, WHERE)
    refused = [
        f"vnfs.{vnf_id}.{name}"
        for vnf_id, own in parsed.vnfs.items()
        for name in NOT_OVER_HTTP
        if name in own.given
    ] + [f"saps.{sap_id}.uplink" for sap_id, sap in parsed.saps.items() if "uplink" in sap.given]
    if refused:
        raise SettingsError(
            f"{WHERE}: {', '.join(refused)} cannot be set over HTTP;"
            " they reach this machine's files or rights"
        )


class OnBed:
    """A service of the bed as the gatekeeper's `RunningInstance`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def uuid(self) -> str:
        return self._service.uuid

    @property
    def service(self) -> str:
        return self._service.name

    @property
    def number(self) -> int:
        return self._service.plan.number

    def stop(self) -> None:
        self._service.stop()

    def describe(self) -> Layout:
        """What is there now. Raises NotFoundError, BedGoneError when it has just ended."""
        service = self._service
        return Layout(
            name=service.id,
            service=service.name,
            address_plan=service.plan.address_plan,
            vnfs=tuple(
                _endpoint(service.plan, endpoint, vnf) for vnf, endpoint in _with_plans(service, service.vnfs)
            ),
            saps=tuple(
                _endpoint(service.plan, endpoint, sap) for sap, endpoint in _with_plans(service, service.saps)
            ),
            links=tuple(map(_link, service.links.values())),
            warnings=service.plan.warnings,
        )


def _with_plans(service: Service, handles: Mapping[str, Endpoint]) -> list[tuple[Endpoint, EndpointPlan]]:
    return [(handles[plan.id], plan) for plan in service.plan.endpoints if plan.id in handles]


def _endpoint(plan: DeploymentPlan, endpoint: EndpointPlan, handle: Endpoint) -> EndpointView:
    return EndpointView(
        id=endpoint.id,
        pop=endpoint.pop,
        interfaces=_interfaces(endpoint, handle),
        management_address=_management_address(plan, endpoint),
        container=_container(handle) if isinstance(handle, Vnf) else None,
    )


def _interfaces(endpoint: EndpointPlan, handle: Endpoint) -> tuple[InterfaceView, ...]:
    """As the kernel has them; of an endpoint that has ended, as they were planned."""
    links = {interface.name: interface.link for interface in endpoint.interfaces}
    try:
        present = handle.interfaces
    except EmulationError:
        return tuple(
            InterfaceView(
                name=planned.name,
                connection_point=planned.connection_point,
                mac=planned.mac,
                addresses=tuple(map(str, planned.addresses)),
                link=planned.link,
                up=False,
            )
            for planned in endpoint.interfaces
        )
    return tuple(
        InterfaceView(
            name=interface.name,
            connection_point=interface.connection_point,
            mac=interface.mac,
            addresses=tuple(map(str, interface.addresses)),
            link=links.get(interface.name),
            up=interface.up,
            rx_packets=interface.stats.rx_packets,
            rx_bytes=interface.stats.rx_bytes,
            tx_packets=interface.stats.tx_packets,
            tx_bytes=interface.stats.tx_bytes,
        )
        for interface in present
    )


def _management_address(plan: DeploymentPlan, endpoint: EndpointPlan) -> str | None:
    management = {link.id for link in plan.links if link.management}
    for interface in endpoint.interfaces:
        if interface.link in management and interface.addresses:
            return str(interface.addresses[0].ip)
    return None


def _container(vnf: Vnf) -> ContainerView:
    state = vnf.state
    return ContainerView(
        name=state.name,
        id=state.id,
        image=vnf.image,
        stand_in=vnf.stands_in,
        phase=state.phase,
        exit_status=state.exit_status,
    )


def _link(link: Link) -> LinkView:
    counters = tuple(
        CounterView(one.source, one.target, one.packets, one.bytes, one.dropped)
        for one in link.stats().directions
    )
    return LinkView(
        id=link.id,
        kind=link.kind,
        endpoints=link.endpoints,
        pop_links=link.pop_links,
        subnets=tuple(map(str, link.subnets)),
        management=link.management,
        realisation=link.realisation,
        counters=counters,
    )
