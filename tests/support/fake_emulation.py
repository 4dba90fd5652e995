"""An emulation that plans like the real one and starts nothing: for tests of HTTP by the hundred."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_sonemu.errors import BedGoneError, EmulationError, ImageError, NotFoundError
from pytest_sonemu.gatekeeper.model import ContainerView, EndpointView, InterfaceView, Layout, LinkView
from pytest_sonemu.gatekeeper.on_bed import check_options
from pytest_sonemu.handles.starting import wanted
from pytest_sonemu.planning.make import make_plan
from pytest_sonemu.planning.plan import Allocations, DeploymentPlan, EndpointPlan, ImageChoice
from pytest_sonemu.topology.model import PoP, PopLink, Topology

TWO_POPS = Topology((PoP("pop1"), PoP("pop2")), (PopLink("pop1", "pop2"),))
LOST = ".invalid/"


class FakeEmulation:
    """`hold` keeps starts waiting while it is clear; `stop_fails` makes the next stop fail."""

    name = "fake"
    topology = TWO_POPS

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running: dict[str, FakeInstance] = {}
        self.generation, self.next_number = 0, 1
        self.hold = threading.Event()
        self.hold.set()
        self.stop_fails = False
        self.gone = False

    def check(self, options: Mapping[str, object]) -> None:
        check_options(options)

    def start(
        self, package: Path, uuid: str, options: Mapping[str, object], progress: Callable[[str], None]
    ) -> FakeInstance:
        wish = wanted(package, options)
        requests = wish.image_requests(self.topology)
        progress("images")
        lost = [found for found in map(_reference, requests) if LOST in found]
        if lost:
            raise ImageError(f"image '{lost[0]}' cannot be had")
        images = {
            request.key: ImageChoice(_reference(request), "id", "fake", ("sh",)) for request in requests
        }
        self.hold.wait(30)
        with self.lock:
            plan = make_plan(
                wish.service,
                self.topology,
                bed=self.name,
                options=wish.options,
                images=images,
                allocations=self.allocations(),
                uuid=uuid,
            )
            self.next_number += 1
            return self.running.setdefault(uuid, FakeInstance(self, plan))

    def allocations(self) -> Allocations:
        plans = [instance.plan for instance in self.running.values()]
        return Allocations(
            next_number=self.next_number,
            instances=tuple(plan.instance for plan in plans),
            container_names=tuple(
                end.container.name for plan in plans for end in plan.endpoints if end.container is not None
            ),
            networks=tuple(subnet for plan in plans for link in plan.links for subnet in link.subnets),
        )

    def instances(self) -> Sequence[FakeInstance]:
        if self.gone:
            raise BedGoneError("the fake bed is gone")
        with self.lock:
            return list(self.running.values())

    def notes(self) -> Sequence[str]:
        return ()

    def left(self) -> list[str]:
        """What is left of instances."""
        return list(self.running)


class FakeInstance:
    def __init__(self, emulation: FakeEmulation, plan: DeploymentPlan) -> None:
        self.emulation, self.plan = emulation, plan

    @property
    def uuid(self) -> str:
        return self.plan.uuid

    @property
    def service(self) -> str:
        return self.plan.service

    @property
    def number(self) -> int:
        return self.plan.number

    def describe(self) -> Layout:
        return Layout(
            name=self.plan.instance,
            service=self.plan.service,
            address_plan=self.plan.address_plan,
            vnfs=tuple(_endpoint(end) for end in self.plan.endpoints if end.kind == "vnf"),
            saps=tuple(_endpoint(end) for end in self.plan.endpoints if end.kind == "sap"),
            links=tuple(
                LinkView(
                    link.id,
                    link.kind,
                    tuple(map(str, link.ends)),
                    link.pop_links,
                    realisation=link.realisation,
                )
                for link in self.plan.links
            ),
            warnings=self.plan.warnings,
        )

    def stop(self) -> None:
        with self.emulation.lock:
            if self.emulation.stop_fails:
                self.emulation.stop_fails = False
                raise EmulationError("the fake does not want to stop")
            if self.emulation.running.pop(self.uuid, None) is None:
                raise NotFoundError("instance", self.plan.instance, ())


def _reference(request: Any) -> str:
    pattern = request.image_map.get("*")
    return str(request.image or pattern or request.unit.image)


def _endpoint(end: EndpointPlan) -> EndpointView:
    container = end.container
    return EndpointView(
        id=end.id,
        pop=end.pop,
        interfaces=tuple(
            InterfaceView(
                planned.name,
                planned.connection_point,
                planned.mac,
                tuple(map(str, planned.addresses)),
                planned.link,
                up=True,
            )
            for planned in end.interfaces
        ),
        container=ContainerView(container.name, "0123", container.image.reference)
        if container is not None
        else None,
    )
