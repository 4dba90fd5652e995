"""The test bed: an emulated infrastructure that is up, and what runs on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pytest_sonemu.descriptors.model import NetworkService
from pytest_sonemu.emulation.client import BedClient
from pytest_sonemu.errors import NotFoundError, SettingsError
from pytest_sonemu.handles import arguments
from pytest_sonemu.handles.core import BedCore
from pytest_sonemu.handles.pop_link import PopLinkHandle
from pytest_sonemu.handles.sap import Host, Sap
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.starting import Progress, start, wanted
from pytest_sonemu.handles.undo import UndoFailure, UndoStack
from pytest_sonemu.planning.make import TOPOLOGY_INSTANCE, make_hosts_plan
from pytest_sonemu.topology.model import Topology

if TYPE_CHECKING:
    from typing_extensions import Self

    from pytest_sonemu.descriptors.read import Package
    from pytest_sonemu.emulation.images import Caller
    from pytest_sonemu.handles.flow_task import Generator
    from pytest_sonemu.handles.link import Link
    from pytest_sonemu.handles.own_files import OwnFiles
    from pytest_sonemu.handles.vnf import Vnf


class TestBed:
    """An emulated infrastructure on this machine.

        with TestBed("two-pops.yml") as bed:
            service = bed.start("firewall.son")
            assert service.sap("input").http("http://server/").ok

    It ends with the block, with `end()`, or with this process, whichever comes first; nothing is left.
    """

    # Pytest takes classes named Test* for tests.
    __test__ = False

    def __init__(
        self,
        topology: str | Path | Topology | None = None,
        *,
        name: str | None = None,
        images: Mapping[str, str] | None = None,
        lease: float | str | None = None,
        seed: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Boot a bed. `topology` is a YAML file or an object; None: one PoP.

        `images` maps image references (exact, or patterns as `*`) to images to run instead. `seed` decides
        what links with loss and the like do (None: another one each time). With
        `lease` the bed lives for so many seconds, whatever becomes of this process. `progress` gets a
        line per step. Raises TopologyError, MachineError, SettingsError.
        """
        described = as_topology(topology)
        if images:
            described = replace(described, images={**described.images, **images})
        client = BedClient.boot(
            described, name=name, project=Path.cwd().name, seed=seed, lease=arguments.seconds(lease, "lease")
        )
        self._adopt(BedCore(client), UndoStack(), progress)
        if described.hosts:
            try:
                client.apply(lambda allocations: make_hosts_plan(described, client.name, allocations))
            except BaseException:
                client.end()
                raise

    def _adopt(self, core: BedCore, undo: UndoStack, progress: Progress | None = None) -> None:
        self._core, self._undo, self._progress = core, undo, progress

    @classmethod
    def attach(cls, name: str) -> TestBed:
        """The same handles on a bed that another process has booted; it lives on when this one lets go.

        Raises NotFoundError with the beds that are up.
        """
        return cls._of(BedCore(BedClient.attach(name)), UndoStack())

    @classmethod
    def _of(cls, core: BedCore, undo: UndoStack) -> TestBed:
        bed = cls.__new__(cls)
        bed._adopt(core, undo)
        return bed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end() if self._core.client.owner else self.close()

    def __repr__(self) -> str:
        pops = ", ".join(pop.name for pop in self.topology.pops)
        return f"<TestBed {self.name}: {'gone' if self.gone else pops}>"

    # -- what is there ----------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """What the bed is called on this machine (`sonemu ps`)."""
        return self._core.client.name

    @property
    def topology(self) -> Topology:
        """The PoPs and the links between them."""
        return self._core.client.topology

    @property
    def run_dir(self) -> Path:
        """Where the bed keeps its plans, logs and the transcript of what was done to the network."""
        return self._core.client.run_dir

    def use_generators(self, find: Callable[[str], Generator | None]) -> None:
        """Let flows of this bed find other generators by name; the plugin has its hook asked here."""
        self._core.find_generator = find

    def use_files(self, files: OwnFiles) -> None:
        """Let relative paths of recordings, tables and captures mean the files of the test that runs."""
        self._core.files = files

    def record(self) -> None:
        """Record from now on, in bounded memory, what is put on the bed's links: for reports of failures."""
        self._core.record()

    @property
    def keeper_pid(self) -> int:
        """The process that holds the bed."""
        return self._core.client.keeper_pid

    @property
    def seed(self) -> int:
        """What all chance on the bed's links comes from: the same seed loses the same packets."""
        return self._core.client.seed

    @property
    def gone(self) -> bool:
        """Whether the bed has ended: closed, killed, or its time was up."""
        return self._core.client.gone

    @property
    def notes(self) -> tuple[str, ...]:
        """What happened on the bed that a person should know of."""
        return self._core.client.describe().notes

    @property
    def services(self) -> tuple[Service, ...]:
        """All running services, those that other processes have started too."""
        return tuple(
            Service(core, self._undo)
            for core in self._core.instances()
            if core.plan.instance != TOPOLOGY_INSTANCE
        )

    def service(self, instance: str) -> Service:
        """A running service by its instance name, or by the uuid that HTTP gives it. Raises NotFoundError."""
        return Service(self._core.instance(instance), self._undo)

    def host(
        self,
        name: str,
        *,
        on: Link | None = None,
        pop: str | None = None,
        address: str | None = None,
    ) -> Host:
        """A host of the topology; or, `on` a link of a service, one that joins it now.

            attacker = testbed.host("attacker", on=service.link("lan"))

        It is a network namespace, as a SAP is, in `pop` (default: where the link's first member is), at
        `address` or the lowest that is free, known by its name to everybody in the service. It goes with
        the view. An E-Line has just two ends: that is an error, and what `container(…, tap=…)` is for.
        Raises NotFoundError, PlanningError, EmulationError.
        """
        if on is not None:
            from pytest_sonemu.handles.joining import add_host, check_link

            check_link(self._core, on, f"host '{name}'", "on")
            return add_host(on, self._undo, name, pop, address)
        if pop is not None or address is not None:
            raise SettingsError(f"host '{name}': say which link it is to join: on=service.link(…)")
        names = [host.name for host in self.topology.hosts]
        if name not in names:
            raise NotFoundError("host", name, names)
        core = self._core.instance(TOPOLOGY_INSTANCE)
        plan = core.plan.endpoint(name)
        if plan is None:
            raise NotFoundError("host", name, [endpoint.id for endpoint in core.plan.endpoints])
        return Host(core, plan, self._undo)

    def container(
        self,
        name: str,
        *,
        image: str | None = None,
        on: Link | None = None,
        tap: Link | None = None,
        interface: str = "eth0",
        pop: str | None = None,
        address: str | None = None,
        **options: Any,
    ) -> Vnf:
        """A container beside a service, `on` one of its links or with a `tap` of one; returned when ready.

            ids = testbed.container("suricata", image="suricata:7", tap=service.link("link-23"))
            ids.wait_for_log("SCAN")

        `on` an E-LAN it is a member as `host` makes one. With a `tap` it gets at `interface` a copy of
        each frame that enters the link, at whichever end, segments cut and checksums filled in; what it
        sends is dropped. `options` are those of `Vnf.update`. Its handle is a VNF's; it goes with the
        view. Raises SettingsError, PlanningError, ImageError, NotReadyError, EmulationError.
        """
        from pytest_sonemu.handles.joining import add_container, check_link

        for given_link, argument in ((on, "on"), (tap, "tap")):
            if given_link is not None:
                check_link(self._core, given_link, f"container '{name}'", argument)
        given = {**options, **({"image": image} if image is not None else {})}
        return add_container(
            self._undo, name, given, on=on, tap=tap, interface=interface, pop=pop, address=address
        )

    def join(self, one: Sap, other: Sap) -> Link:
        """Make the SAPs of two services on this bed one link: what leaves the one comes in at the other.

            testbed.join(fw.sap("output"), lb.sap("input"))
            assert fw.sap("input").http(f"http://{lb.vnf('server').ip()}/").ok

        The VNFs at the two SAPs' E-Lines become neighbours; each takes the address of the SAP that the
        other knew, so all addresses and routes that there were stay, and everybody who reached its SAP
        gets routes to what lies beyond. The SAPs are set aside, without link and address. Probes take
        handles of the other service, and see it as `<instance>/<id>`. It is parted when the view ends.
        Returns the link. Raises PlanningError, SettingsError, EmulationError.
        """
        from pytest_sonemu.handles.splicing import join

        return join(one, other, self._undo)

    def link(self, a: str, b: str) -> PopLinkHandle:
        """The link between two PoPs, named in either order. Raises NotFoundError."""
        for link in self.topology.links:
            if {link.a, link.b} == {a, b}:
                return PopLinkHandle(self._core, link, self._undo)
        raise NotFoundError("PoP link", f"{a}-{b}", [link.name for link in self.topology.links])

    # -- services ---------------------------------------------------------------------------------

    def start(self, package: str | Path | NetworkService | Package, **options: object) -> Service:
        """Start a service and return when it is ready.

        `package` is a `.son` file, a project folder or a `NetworkService`. `options` are those of the
        marker: `vnfs={"fw": {"image": "fw:dev"}}`, `images`, `placement`, `address_plan`, `routes`.
        Raises PackageError, SettingsError, PlanningError, ImageError, NotReadyError, EmulationError;
        what had been made by then is undone.
        """
        return self.instantiate(package, options)

    def instantiate(
        self,
        package: str | Path | NetworkService | Package,
        options: Mapping[str, object],
        *,
        uuid: str | None = None,
        allow_build: bool = True,
        progress: Progress | None = None,
        caller: Caller = "python",
    ) -> Service:
        """`start` with more to say: the uuid, whether Dockerfiles may be built, who hears of progress, whom
        errors advise."""
        self._core.asked.append(options)
        wish = wanted(package, options)
        core = start(
            self._core, wish, progress or self._progress, uuid=uuid, allow_build=allow_build, caller=caller
        )
        return Service(core)

    def stop(self, service: Service | str) -> None:
        """End a service: its containers and links are gone when this returns."""
        (self.service(service) if isinstance(service, str) else service).stop()

    # -- views and the end ------------------------------------------------------------------------

    def view(self, test: str = "") -> TestBed:
        """The same bed with an undo stack of its own: what is started through it ends with it.

        With the name of a `test` chance on links is its own: it does not matter which tests ran before.
        """
        undo = UndoStack(self._core.journal, time.time(), test)
        self._core.reseed(undo)
        return _View._of(self._core, undo)

    def close_view(self) -> Sequence[UndoFailure]:
        """Undo what was changed through this view, the last change first; the steps that failed."""
        failures = self._undo.close()
        self._core.settle()
        return failures

    @contextmanager
    def undo(self) -> Iterator[None]:
        """Undo at the end of a `with` block what was changed inside it through this view's handles, services
        that it started too. Raises UndoError."""
        with self._undo.block():
            yield

    def keep(self, seconds: float | str) -> None:
        """Let go of the bed; it lives for so long from now, and `TestBed.attach` finds it."""
        self._core.client.keep(arguments.seconds(seconds, "seconds"))
        self.close()

    def close(self) -> None:
        """Let go of the bed without ending it (one that this process owns ends with that all the same)."""
        self._core.close()
        self._core.client.close()

    def end(self) -> None:
        """End the bed and everything on it. May be called again."""
        self._core.close()
        self._core.client.end()


class _View(TestBed):
    """A test's view: services started through it are stopped when it closes."""

    def instantiate(
        self,
        package: str | Path | NetworkService | Package,
        options: Mapping[str, object],
        *,
        uuid: str | None = None,
        allow_build: bool = True,
        progress: Progress | None = None,
        caller: Caller = "python",
    ) -> Service:
        service = super().instantiate(
            package, options, uuid=uuid, allow_build=allow_build, progress=progress, caller=caller
        )
        self._undo.push(service.stop, f"service {service.id}")
        return service


def as_topology(given: str | Path | Topology | None) -> Topology:
    """A topology as `TestBed` takes it: a file, an object, or None for one PoP.

    Raises TopologyError, and SettingsError for what is none of these.
    """
    if given is None:
        return Topology()
    if isinstance(given, Topology):
        return given
    if not isinstance(given, (str, Path)):
        raise SettingsError(f"{given!r} is no topology: give a YAML file or a Topology")
    from pytest_sonemu.topology.read import read_topology

    return read_topology(given)
