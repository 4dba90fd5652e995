"""A client of a bed's keeper: what handles, the command line and the gatekeeper speak through."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pytest_sonemu import errors
from pytest_sonemu.emulation import launch, places, readings
from pytest_sonemu.emulation import protocol as messages
from pytest_sonemu.emulation.codec import why_none_came
from pytest_sonemu.emulation.connection import Connection, connect, expect
from pytest_sonemu.emulation.failures import StalePlanError
from pytest_sonemu.planning.plan import Allocations, DeploymentPlan
from pytest_sonemu.relay.model import Impairment
from pytest_sonemu.topology.model import Topology

HOLD = Path(__file__).with_name("hold")
# Each try sees what the last one lost against; with twenty clients at once the last one tries twenty times.
PLANNING_TRIES = 200


@dataclass(frozen=True, slots=True)
class BedEntry:
    """A bed that is up, as `beds` lists it."""

    name: str
    run_dir: Path
    pid: int
    instances: tuple[str, ...]


class BedClient(Connection):
    """A method for each request. Thread-safe; whoever boots a bed owns it (see `Connection`)."""

    @classmethod
    def boot(
        cls,
        topology: Topology,
        *,
        name: str | None = None,
        project: str = "",
        seed: int | None = None,
        lease: float | None = None,
        docker_host: str | None = None,
    ) -> BedClient:
        """Start a bed. `lease` None: it lives as long as this client; else that many seconds.

        Raises MachineError (rights, Docker), SettingsError (a name that is taken or cannot be one).
        """
        from pytest_sonemu.topology.read import as_json

        if not HOLD.exists():
            raise errors.MachineError(
                f"the hold ({HOLD}) is not built;"
                " run `make` in the project, or `pip install` it with a C compiler"
            )
        bed = (
            places.check_bed_name(name)
            if name is not None
            else places.new_bed_name(project or Path.cwd().name)
        )
        uid = os.getuid()
        # Found here: sudo would reset the environment, and with it the docker context.
        from pytest_sonemu.emulation.docker_api import find_host

        host, _tls = find_host(docker_host, os.environ)
        launch.start_keeper(bed, uid)
        boot = messages.Boot(
            bed=bed,
            docker_host=host,
            topology=as_json(topology),
            hold=str(HOLD),
            project=project,
            seed=int.from_bytes(os.urandom(4), "big") if seed is None else seed,
            lease=lease,
        )
        return cls._meet(bed, uid, boot, owner=lease is None)

    @classmethod
    def attach(cls, name: str) -> BedClient:
        """A client of a bed that is up. Raises NotFoundError with the beds there are."""
        uid = os.getuid()
        try:
            return cls._meet(places.check_bed_name(name), uid, messages.Attach(), owner=False)
        except errors.BedGoneError:
            raise errors.NotFoundError("test bed", name, [entry.name for entry in beds()]) from None

    # -- requests ---------------------------------------------------------------------------------

    def spawn(
        self,
        instance: str,
        endpoint: str,
        argv: Sequence[str],
        streams: tuple[int, int, int],
        *,
        cwd: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> int:
        """Start a process in an endpoint's namespace as this user; returns its pid."""
        self.touched.add(instance)
        variables = os.environ if environment is None else environment
        request = messages.Spawn(
            instance, endpoint, tuple(argv), cwd or os.getcwd(), tuple(variables.items())
        )
        reply, _descriptors = self._ask(request, streams, None)
        return expect(reply, messages.Spawned).pid

    def wait(self, pid: int) -> int:
        """The exit status of a process started by `spawn`, once it has ended."""
        return expect(self.request(messages.Wait(pid)), messages.Exited).exit_status

    def apply(
        self,
        make_plan: Callable[[Allocations], DeploymentPlan],
        progress: Callable[[str], None] | None = None,
    ) -> tuple[DeploymentPlan, messages.Applied]:
        """Plan against what the bed has given out, and carry the plan out; again if somebody was faster."""
        for _try in range(PLANNING_TRIES):
            allocations = self.describe().allocations
            plan = make_plan(allocations)
            try:
                reply = self.request(messages.Apply(plan, allocations.generation), progress)
            except StalePlanError:
                continue
            return plan, expect(reply, messages.Applied)
        raise errors.EmulationError(f"bed '{self.name}' changed {PLANNING_TRIES} times while a plan was made")

    def amend(
        self,
        instance: str,
        change: Callable[[DeploymentPlan, Allocations], DeploymentPlan],
        progress: Callable[[str], None] | None = None,
    ) -> DeploymentPlan:
        """Make of a running instance's plan another, and have what differs carried out; returns that plan.

        Planned again if somebody was faster. Raises NotFoundError, and what `change` and the keeper raise.
        """
        for _try in range(PLANNING_TRIES):
            state = self.describe()
            plans = {one.plan.instance: one.plan for one in state.instances}
            if instance not in plans:
                raise errors.NotFoundError("instance", instance, plans)
            plan = change(plans[instance], state.allocations)
            try:
                self.request(messages.Amend(plan, state.allocations.generation), progress)
            except StalePlanError:
                continue
            return plan
        raise errors.EmulationError(f"bed '{self.name}' changed {PLANNING_TRIES} times while a plan was made")

    def undo(self, instance: str) -> None:
        self.request(messages.Undo(instance))

    def change_vnf(
        self, instance: str, endpoint: str, verb: messages.VnfVerb, grace: float | None = None
    ) -> messages.ContainerState:
        """Stop, start, restart, kill, pause or unpause a VNF; returns its state afterwards."""
        return expect(
            self.request(messages.ChangeVnf(instance, endpoint, verb, grace)), messages.Changed
        ).container

    def describe_vnf(self, instance: str, endpoint: str) -> messages.ContainerState:
        """What one VNF's container is doing now."""
        return expect(self.request(messages.DescribeVnf(instance, endpoint)), messages.Changed).container

    def set_sysctl(self, instance: str, endpoint: str, name: str, value: str) -> str:
        """Set a `net.*` key in an endpoint's namespace; returns the value before."""
        return expect(
            self.request(messages.SetSysctl(instance, endpoint, name, value)), readings.Sysctl
        ).value

    def read_sysctl(self, instance: str, endpoint: str, name: str) -> str:
        """The value of a `net.*` key in an endpoint's namespace."""
        return expect(self.request(readings.ReadSysctl(instance, endpoint, name)), readings.Sysctl).value

    def no_routes(self, instance: str, endpoint: str, /) -> int:
        """How many IPv4 packets the kernel of an endpoint's namespace has had no route for."""
        return expect(self.request(readings.CountNoRoutes(instance, endpoint)), readings.NoRoutes).packets

    def impair(self, target: str, forward: Impairment | None, backward: Impairment | None) -> None:
        """Impair what `target` names (see `messages.Impair`); both None: as the topology has it."""
        self.request(messages.Impair(target, forward, backward))

    def impairments(self, target: str) -> readings.Impairments:
        """What impairs a target now, in each direction."""
        return expect(self.request(readings.ReadImpairment(target)), readings.Impairments)

    def relay_counters(self) -> Mapping[str, Any]:
        """The relay's counters per flow and link; empty while nothing is relayed."""
        return expect(self.request(readings.CountRelayed()), readings.RelayCounters).counters

    def relay_totals(
        self, kind: Literal["flows", "links"]
    ) -> tuple[Mapping[str, Any], readings.RelayState | None]:
        """What the bed's relays have counted so far: flows by ingress, links by name and direction; and of
        the one that runs itself."""
        counters = self.relay_counters()
        state = None
        if "latest" in counters:
            state = readings.RelayState(counters["latest"] / 1e9, counters["unread"])
        return counters.get("totals", {}).get(kind, {}), state

    def open_file(self, instance: str, endpoint: str, path: str) -> int:
        """A descriptor of a file or folder in a VNF, for reading. Raises NotFoundError, EmulationError."""
        _reply, descriptors = self._ask(messages.OpenFile(instance, endpoint, path), (), None)
        if len(descriptors) != 1:
            raise errors.EmulationError(why_none_came("file", len(descriptors)))
        return descriptors[0]

    def signal_inside(self, instance: str, endpoint: str, pid: int, number: int) -> None:
        """Signal the processes of an exec in a VNF; those that are gone already are fine."""
        self.request(messages.SignalInside(instance, endpoint, pid, number))

    def past(self) -> dict[str, readings.PastCounters]:
        """What outer ends had counted in the earlier lives of their VNFs."""
        return {
            each.outer: each for each in expect(self.request(readings.ReadPast()), readings.Past).counters
        }

    def rules(self, instance: str, endpoint: str) -> str:
        """The packet filters of an endpoint's namespace as text, without counters."""
        return expect(self.request(readings.ReadRules(instance, endpoint)), readings.Rules).text

    def survey(self, instance: str, endpoint: str, ignore: Sequence[str] = ()) -> readings.Surveyed:
        """The changed files and the processes of a VNF, seen from outside."""
        return expect(self.request(readings.Survey(instance, endpoint, tuple(ignore))), readings.Surveyed)

    def between_tests(self, instance: str) -> tuple[str, ...]:
        """What is not as planned after a test; neighbours and connections are forgotten if it used any."""
        forget = instance in self.touched
        self.touched.discard(instance)
        return expect(self.request(readings.BetweenTests(instance, forget)), readings.Found).faults

    def events(self, since: float = 0.0) -> tuple[readings.BedEvent, ...]:
        """What happened on the bed by itself since a time (seconds since the epoch)."""
        return expect(self.request(readings.ReadEvents(since)), readings.Events).events

    def forward(
        self, instance: str, endpoint: str, port: int, protocol: Literal["tcp", "udp"], outer: int | None
    ) -> messages.ForwardedPort:
        """Make a port of an endpoint reachable on this machine's loopback."""
        request = messages.Forward(instance, endpoint, port, protocol, outer)
        return expect(self.request(request), messages.Forwarded).port

    def unforward(self, instance: str, endpoint: str, outer: int) -> None:
        """End a forward; it may have ended with its instance already."""
        self.request(messages.Unforward(instance, endpoint, outer))

    def describe(self) -> messages.BedState:
        return expect(self.request(messages.Describe()), messages.BedState)

    def keep(self, seconds: float) -> None:
        """Let the bed live for so long from now, whoever is connected."""
        self.request(messages.Keep(seconds))


def beds() -> list[BedEntry]:
    """The beds of this user that are up, by name."""
    from pydantic import TypeAdapter

    uid = os.getuid()
    found = []
    folder = places.RUN_ROOT / str(uid)
    for place in sorted(folder.iterdir()) if folder.is_dir() else []:
        try:
            channel = connect(place.name, uid)
        except errors.BedGoneError:
            continue
        try:
            channel.send(messages.Attach())
            reply, _descriptors = channel.receive_reply()
            state = TypeAdapter(messages.BedState).validate_json((place / "state.json").read_bytes())
        except (errors.BedGoneError, FileNotFoundError):
            continue
        finally:
            channel.close()
        if isinstance(reply, messages.Booted):
            found.append(
                BedEntry(reply.bed, place, reply.pid, tuple(i.plan.instance for i in state.instances))
            )
    return found
