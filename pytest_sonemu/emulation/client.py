"""A client of a bed's keeper: what handles, the command line and the gatekeeper speak through."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pytest_sonemu import errors
from pytest_sonemu.emulation import launch, places
from pytest_sonemu.emulation import protocol as messages
from pytest_sonemu.emulation.codec import Channel, why_none_came
from pytest_sonemu.emulation.failures import StalePlanError, raised
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


class BedClient:
    """Thread-safe: a request that is under way does not keep another one waiting.

    The owner's client holds the bed's lease: when it is closed, or its process dies, the bed ends. In a
    forked child it is a client like an attached one: it has connections of its own, and no lease.
    """

    def __init__(self, lease: Channel, booted: messages.Booted, uid: int, *, owner: bool) -> None:
        from pytest_sonemu.topology.read import from_json

        self.name, self.keeper_pid, self.run_dir = booted.bed, booted.pid, Path(booted.run_dir)
        self.topology: Topology = from_json(booted.topology)
        self.owner, self.seed = owner, booted.seed
        self._uid = uid
        self._lease: Channel | None = lease
        self._idle: list[Channel] = []
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        # Whether anything may have spoken on the bed since it was last put in order.
        self.touched = False
        os.register_at_fork(after_in_child=_forked(weakref.ref(self)))

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

    @classmethod
    def _meet(cls, bed: str, uid: int, first: messages.Request, *, owner: bool) -> BedClient:
        channel = _connect(bed, uid)
        try:
            channel.send(first)
            reply, _descriptors = channel.receive_reply()
            if isinstance(reply, messages.Failure):
                raise raised(reply)
            if not isinstance(reply, messages.Booted) or reply.version != messages.VERSION:
                raise errors.EmulationError(
                    f"the keeper of bed '{bed}' speaks another version; end the bed and start it again"
                )
            return cls(channel, reply, uid, owner=owner)
        except BaseException:
            channel.close()
            raise

    # -- requests ---------------------------------------------------------------------------------

    def request(
        self, message: messages.Request, progress: Callable[[str], None] | None = None
    ) -> messages.Reply:
        """Send a request and return its reply. Raises the error of a failure, BedGoneError at the end."""
        reply, descriptors = self._ask(message, (), progress)
        for descriptor in descriptors:
            os.close(descriptor)
        return reply

    def socket(
        self,
        instance: str | None,
        endpoint: str | None,
        family: int,
        type: int,
        protocol: int = 0,
    ) -> socket.socket:
        """A socket that belongs to an endpoint's namespace, or (endpoint None) to the fabric."""
        self.touched = True
        reply, descriptors = self._ask(
            messages.OpenSocket(instance, endpoint, family, type, protocol), (), None
        )
        if not isinstance(reply, messages.Done) or len(descriptors) != 1:
            raise errors.EmulationError(why_none_came("socket", len(descriptors)))
        handed = socket.socket(family, type, protocol, fileno=descriptors[0])
        with self._lock:
            # Closed with the bed's view of it: an open one would keep the namespace alive.
            self._sockets = [known for known in self._sockets if known.fileno() >= 0] + [handed]
        return handed

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
        self.touched = True
        variables = os.environ if environment is None else environment
        request = messages.Spawn(
            instance, endpoint, tuple(argv), cwd or os.getcwd(), tuple(variables.items())
        )
        reply, _descriptors = self._ask(request, streams, None)
        return _expect(reply, messages.Spawned).pid

    def wait(self, pid: int) -> int:
        """The exit status of a process started by `spawn`, once it has ended."""
        return _expect(self.request(messages.Wait(pid)), messages.Exited).exit_status

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
            return plan, _expect(reply, messages.Applied)
        raise errors.EmulationError(f"bed '{self.name}' changed {PLANNING_TRIES} times while a plan was made")

    def undo(self, instance: str) -> None:
        self.request(messages.Undo(instance))

    def change_vnf(
        self, instance: str, endpoint: str, verb: messages.VnfVerb, grace: float | None = None
    ) -> messages.ContainerState:
        """Stop, start, restart, kill, pause or unpause a VNF; returns its state afterwards."""
        return _expect(
            self.request(messages.ChangeVnf(instance, endpoint, verb, grace)), messages.Changed
        ).container

    def describe_vnf(self, instance: str, endpoint: str) -> messages.ContainerState:
        """What one VNF's container is doing now."""
        return _expect(self.request(messages.DescribeVnf(instance, endpoint)), messages.Changed).container

    def set_sysctl(self, instance: str, endpoint: str, name: str, value: str) -> str:
        """Set a `net.*` key in an endpoint's namespace; returns the value before."""
        return _expect(
            self.request(messages.SetSysctl(instance, endpoint, name, value)), messages.Sysctl
        ).value

    def read_sysctl(self, instance: str, endpoint: str, name: str) -> str:
        """The value of a `net.*` key in an endpoint's namespace."""
        return _expect(self.request(messages.ReadSysctl(instance, endpoint, name)), messages.Sysctl).value

    def impair(self, target: str, forward: Impairment | None, backward: Impairment | None) -> None:
        """Impair what `target` names (see `messages.Impair`); both None: as the topology has it."""
        self.request(messages.Impair(target, forward, backward))

    def impairments(self, target: str) -> messages.Impairments:
        """What impairs a target now, in each direction."""
        return _expect(self.request(messages.ReadImpairment(target)), messages.Impairments)

    def relay_counters(self) -> Mapping[str, Any]:
        """The relay's counters per flow and link; empty while nothing is relayed."""
        return _expect(self.request(messages.CountRelayed()), messages.RelayCounters).counters

    def relay_totals(self, kind: Literal["flows", "links"]) -> Mapping[str, Any]:
        """What the bed's relays have counted so far: flows by ingress, links by name and direction."""
        totals: Mapping[str, Any] = self.relay_counters().get("totals", {}).get(kind, {})
        return totals

    def open_file(self, instance: str, endpoint: str, path: str) -> int:
        """A descriptor of a file or folder in a VNF, for reading. Raises NotFoundError, EmulationError."""
        _reply, descriptors = self._ask(messages.OpenFile(instance, endpoint, path), (), None)
        if len(descriptors) != 1:
            raise errors.EmulationError(why_none_came("file", len(descriptors)))
        return descriptors[0]

    def signal_inside(self, instance: str, endpoint: str, pid: int, number: int) -> None:
        """Signal the processes of an exec in a VNF; those that are gone already are fine."""
        self.request(messages.SignalInside(instance, endpoint, pid, number))

    def past(self) -> dict[str, messages.PastCounters]:
        """What outer ends had counted in the earlier lives of their VNFs."""
        return {
            each.outer: each for each in _expect(self.request(messages.ReadPast()), messages.Past).counters
        }

    def rules(self, instance: str, endpoint: str) -> str:
        """The packet filters of an endpoint's namespace as text, without counters."""
        return _expect(self.request(messages.ReadRules(instance, endpoint)), messages.Rules).text

    def survey(self, instance: str, endpoint: str, ignore: Sequence[str] = ()) -> messages.Surveyed:
        """The changed files and the processes of a VNF, seen from outside."""
        return _expect(self.request(messages.Survey(instance, endpoint, tuple(ignore))), messages.Surveyed)

    def between_tests(self, instance: str) -> tuple[str, ...]:
        """What is not as planned after a test; neighbours and connections are forgotten if it used any."""
        forget, self.touched = self.touched, False
        return _expect(self.request(messages.BetweenTests(instance, forget)), messages.Found).faults

    def events(self, since: float = 0.0) -> tuple[messages.BedEvent, ...]:
        """What happened on the bed by itself since a time (seconds since the epoch)."""
        return _expect(self.request(messages.ReadEvents(since)), messages.Events).events

    def forward(
        self, instance: str, endpoint: str, port: int, protocol: Literal["tcp", "udp"], outer: int | None
    ) -> messages.ForwardedPort:
        """Make a port of an endpoint reachable on this machine's loopback."""
        request = messages.Forward(instance, endpoint, port, protocol, outer)
        return _expect(self.request(request), messages.Forwarded).port

    def unforward(self, instance: str, endpoint: str, outer: int) -> None:
        """End a forward; it may have ended with its instance already."""
        self.request(messages.Unforward(instance, endpoint, outer))

    def describe(self) -> messages.BedState:
        return _expect(self.request(messages.Describe()), messages.BedState)

    def keep(self, seconds: float) -> None:
        """Let the bed live for so long from now, whoever is connected."""
        self.request(messages.Keep(seconds))

    # -- end --------------------------------------------------------------------------------------

    @property
    def gone(self) -> bool:
        """Whether this client has let go of the bed."""
        return self._lease is None

    def end(self) -> None:
        """End the bed; returns when nothing of it is left but the keeper's own exit. May be called again."""
        if self.gone:
            return
        with contextlib.suppress(errors.BedGoneError):
            self.request(messages.End())
        self.close()

    def close(self) -> None:
        """Let go of the bed: an owner's bed ends with it, any other lives on. May be called again."""
        with self._lock:
            channels = [*self._idle, *([self._lease] if self._lease is not None else [])]
            self._idle, self._lease = [], None
            handed, self._sockets = self._sockets, []
        for handed_out in handed:
            handed_out.close()
        for channel in channels:
            channel.close()

    # -- connections ------------------------------------------------------------------------------

    def _ask(
        self, message: messages.Request, descriptors: Sequence[int], progress: Callable[[str], None] | None
    ) -> tuple[messages.Reply, list[int]]:
        channel = self._take()
        try:
            channel.send(message, descriptors)
            while True:
                reply, received = channel.receive_reply()
                if not isinstance(reply, messages.Progress):
                    break
                if progress is not None:
                    progress(reply.text)
        except BaseException as error:
            channel.close()
            if isinstance(error, errors.BedGoneError):
                raise errors.BedGoneError(f"test bed '{self.name}' is gone: {error}") from error
            raise
        with self._lock:
            keep = self._lease is not None
            if keep:
                self._idle.append(channel)
        if not keep:
            channel.close()
        if isinstance(reply, messages.Failure):
            raise raised(reply)
        return reply, received

    def _take(self) -> Channel:
        with self._lock:
            if self._lease is None:
                raise errors.BedGoneError(f"test bed '{self.name}' is gone")
            if self._idle:
                return self._idle.pop()
        return _connect(self.name, self._uid)

    def forget_after_fork(self) -> None:
        """In a forked child: leave the parent's connections to it, whose answers would get mixed up.

        The lease is the parent's alone.
        """
        self._lock = threading.Lock()  # another thread may have held it at the fork
        self.owner = False
        shared = [*self._idle, *([self._lease] if self._lease is not None else [])]
        self._idle = []
        for channel in shared:
            channel.close()


def _forked(client: weakref.ref[BedClient]) -> Callable[[], None]:
    def forget() -> None:
        if (alive := client()) is not None:
            alive.forget_after_fork()

    return forget


def beds() -> list[BedEntry]:
    """The beds of this user that are up, by name."""
    from pydantic import TypeAdapter

    uid = os.getuid()
    found = []
    folder = places.RUN_ROOT / str(uid)
    for place in sorted(folder.iterdir()) if folder.is_dir() else []:
        try:
            channel = _connect(place.name, uid)
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


def _connect(bed: str, uid: int) -> Channel:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(places.keeper_socket(bed, uid)))
    except OSError as error:
        connection.close()
        raise errors.BedGoneError(f"no keeper answers for it: {error.strerror}") from error
    return Channel(connection)


def _expect(reply: messages.Reply, kind: type[messages.ReplyKind]) -> messages.ReplyKind:
    if not isinstance(reply, kind):
        raise errors.EmulationError(f"the keeper answered {type(reply).__name__} instead of {kind.__name__}")
    return reply
