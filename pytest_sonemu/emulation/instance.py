"""One instance as it runs: a plan carried out, changed while it runs, and undone.

Whatever step fails, `up` takes away what it had made before it raises.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pytest_sonemu.emulation import counters, namespaces, processes
from pytest_sonemu.emulation.containers import Containers
from pytest_sonemu.emulation.conversations import Inside
from pytest_sonemu.emulation.cuts import Cuts
from pytest_sonemu.emulation.fabric import Fabric, present
from pytest_sonemu.emulation.forwarder import LOOPBACK, Forwarder, Protocol
from pytest_sonemu.emulation.interiors import furnish
from pytest_sonemu.emulation.protocol import Cut, ForwardedPort, InstanceState, VnfVerb
from pytest_sonemu.emulation.readings import BedEvent
from pytest_sonemu.emulation.running import Original, RunningEndpoint, RunningVnf
from pytest_sonemu.emulation.shaping import Shaping
from pytest_sonemu.emulation.uplinks import Uplinks
from pytest_sonemu.errors import CapabilityError, EmulationError, NotFoundError, SonemuError
from pytest_sonemu.planning import batches
from pytest_sonemu.planning.plan import DeploymentPlan, EndpointPlan

# More than the cores of a small machine: half of a container's start is waiting for Docker.
PARALLEL = 4
# What may fail while something ends, and must not keep the rest from ending.
ENDING_FAILS = (SonemuError, OSError, subprocess.SubprocessError)


class Instance:
    """`folder` is the instance's own place in the run directory."""

    def __init__(
        self,
        plan: DeploymentPlan,
        folder: Path,
        containers: Containers,
        fabric: Fabric,
        shaping: Shaping,
        forwarder: Forwarder,
        uplinks: Uplinks,
    ) -> None:
        self.plan, self.folder, self.containers = plan, folder, containers
        self.fabric, self.shaping, self.transcript = fabric, shaping, fabric.transcript
        self.forwarder, self.uplinks = forwarder, uplinks
        self.vnfs: dict[str, RunningVnf] = {}
        self.others: dict[str, RunningEndpoint] = {}
        for endpoint in plan.endpoints:
            place = folder / endpoint.id
            if endpoint.container is not None:
                self.vnfs[endpoint.id] = RunningVnf(endpoint, place, containers, plan.instance)
            else:
                self.others[endpoint.id] = RunningEndpoint(endpoint, place)
        self.ending = False
        # Held while it goes up or down: an end waits for a start that has noticed it.
        self._changing = threading.RLock()
        self.cuts = Cuts(plan)
        # The containers with which it was started, where a change has put others in their place.
        self.originals: dict[str, Original] = {}
        # Containers that are no longer any VNF's, for the bed to put away.
        self.discarded: list[str] = []
        self.events: list[BedEvent] = []
        self.storms: list[str] = []
        self.warnings: list[str] = []

    # -- up ---------------------------------------------------------------------------------------

    def up(self, progress: Callable[[str], None]) -> None:
        """Containers held, links made, commands let go. Raises CapabilityError, EmulationError."""
        self._check_kernel()
        self.uplinks.check(self.plan)
        with self._changing:
            try:
                self._up(progress)
            except BaseException:
                self.down(graceful=False)
                raise

    def _up(self, progress: Callable[[str], None]) -> None:
        progress(f"containers of {self.plan.instance}")
        self.folder.mkdir(parents=True)
        with ThreadPoolExecutor(PARALLEL) as pool:
            vnfs = [pool.submit(self.start_held, vnf) for vnf in self.vnfs.values()]
            for other in self.others.values():
                other.make()
            for done in vnfs:
                done.result()
        progress(f"links of {self.plan.instance}")
        relayed = self.shaping.lines_of(self.plan)
        self.fabric.run(batches.fabric_batches(self.plan, self.namespace_of, relayed=relayed))
        self.shaping.attach(self.plan)
        self.configure(self.plan.endpoints)
        for other in self.others.values():
            self.uplinks.open(self.plan.instance, other)
        self.check_ending()
        for vnf in self.vnfs.values():
            vnf.release()
        self.publish(self.plan.endpoints)

    def check_ending(self) -> None:
        """A bed may be told to end while an instance starts: what is not made need not be undone."""
        if self.ending:
            raise EmulationError(f"{self.plan.instance} was ended while it started")

    def _check_kernel(self) -> None:
        wanted = [link.id for link in self.plan.links if any(subnet.version == 6 for subnet in link.subnets)]
        if wanted and not namespaces.sysctl_path("net.ipv6").exists():
            raise CapabilityError(
                f"virtual link '{wanted[0]}' is to have IPv6, which this kernel lacks; boot it without"
                " ipv6.disable=1, or leave the option 'ipv6' out"
            )

    def start_held(self, vnf: RunningVnf) -> None:
        """Create a VNF's container and start it in its hold."""
        # The lock keeps Docker's own word of this start from being taken for somebody else's.
        with vnf.lock, self.named(vnf):
            self.check_ending()
            vnf.create()
            self.check_ending()
            vnf.start_held()

    def configure(self, endpoints: Iterable[EndpointPlan]) -> None:
        """Give endpoints what is inside their namespaces, once the interfaces are there."""
        with ThreadPoolExecutor(PARALLEL) as pool:
            running = [self.endpoint(endpoint.id) for endpoint in endpoints]
            for done in [pool.submit(furnish, self.fabric, each) for each in running]:
                done.result()

    # -- changes ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """One change at a time, and none of what is ending. Raises EmulationError."""
        with self._changing:
            self.check_ending()
            yield

    def change(self, endpoint_id: str, verb: VnfVerb, grace: float | None) -> RunningVnf:
        """Stop, start, restart, kill, pause or unpause a VNF; links, addresses and routes are there again."""
        vnf = self.vnf(endpoint_id)
        with vnf.lock, self.named(vnf):
            if verb in ("stop", "restart", "kill"):
                vnf.end(grace=grace, how=signal.SIGKILL if verb == "kill" else None)
                vnf.await_end()
                self.after_end(vnf)
            if verb in ("start", "restart") and vnf.life is None:
                vnf.start_held()
                self.wire_again(vnf)
            if verb in ("pause", "unpause"):
                vnf.note_pause()
            if verb == "pause" and vnf.phase == "running":
                vnf.pause()
            if verb == "unpause" and vnf.phase == "paused":
                vnf.unpause()
        return vnf

    def cut(self, wish: Cut) -> None:
        """Cut ends of links off, or mend them. Raises NotFoundError for an end that is not in the plan."""
        owners = sorted(self.cuts.owners(wish.ends))
        with contextlib.ExitStack() as stack:
            # Not while one of them is being wired.
            for owner in owners:
                if owner in self.vnfs:
                    stack.enter_context(self.vnfs[owner].lock)
            todo = self.cuts.change(wish, present(wish.ends))
            self.fabric.run(todo)
            # The relay writes past the filters: what it would send there, it does not carry meanwhile.
            self.shaping.leave_out(self.plan.instance, self.cuts.losing_frames())
        if todo and not wish.cut:
            self.ask_anew(self.cuts.members(wish.ends))

    def ask_anew(self, members: Mapping[str, Iterable[str]]) -> None:
        """Have endpoints ask again for neighbours that did not answer."""

        def ask(endpoint_id: str) -> None:
            # One that stops or starts just now has no neighbours that it waits for.
            with contextlib.suppress(EmulationError, NotFoundError):
                running = self.endpoint(endpoint_id)
                if running.namespace is not None:
                    batch = self.cuts.asked_anew(members[endpoint_id])
                    namespaces.run_inside(running.namespace, batch.argv, batch.text)

        with ThreadPoolExecutor(PARALLEL) as pool:
            for done in [pool.submit(ask, endpoint_id) for endpoint_id in members]:
                done.result()

    def follow(self, endpoint_id: str) -> None:
        """Docker said that something happened to a container; take note, and wire a new life."""
        vnf = self.vnfs.get(endpoint_id)
        if vnf is None:
            return
        with vnf.lock, self.named(vnf):
            if self.ending or vnf.container is None:
                return
            life = self.containers.life(vnf.container)
            if life == vnf.life:
                if vnf.note_pause():
                    what = "paused" if vnf.phase == "paused" else "unpaused"
                    self.happened(endpoint_id, f"{endpoint_id} was {what} by somebody else")
                return
            if vnf.life is not None:
                if life is None:
                    vnf.learn_how_it_ended()
                # Whoever sees that it has ended finds this told already.
                self.happened(endpoint_id, f"{endpoint_id} {_how_it_ended(vnf)}")
                self.after_end(vnf, over=life is None)
            if life is not None:
                self.transcript.note(f"{endpoint_id} was started by somebody else")
                self.happened(endpoint_id, f"{endpoint_id} was started by somebody else")
                vnf.adopt(life)
                self.wire_again(vnf)

    def after_end(self, vnf: RunningVnf, *, over: bool = True) -> None:
        """Take away what the end of a life leaves in the fabric."""
        # The namespace that we hold has kept the ends, and their counters, until here.
        counters.keep_past(vnf.past, (interface.outer for interface in vnf.plan.interfaces))
        vnf.forget_life(over=over)
        self.forwarder.cut(self.plan.instance, vnf.plan.id)
        # A connection with data still to deliver can hold a namespace, and with it the old ends.
        outers = [interface.outer for interface in vnf.plan.interfaces]
        for outer in present(outers):
            try:
                self.fabric.run([batches.removal_batch([outer])])
            except EmulationError:
                # The kernel may just have taken it away itself.
                if present([outer]):
                    raise
        self.shaping.renew(self.plan.instance, outers)

    def wire_again(self, vnf: RunningVnf) -> None:
        """Wire a new life as the plan has it, and let its command go."""
        outers = [interface.outer for interface in vnf.plan.interfaces]
        ends = [interface.outer for endpoint in self.plan.endpoints for interface in endpoint.interfaces]
        others = present([*ends, *(end.outer for link in self.plan.links for end in link.ends)])
        self.fabric.run(
            batches.fabric_batches(
                self.plan,
                self.namespace_of,
                endpoints={vnf.plan.id},
                present=set(others),
                relayed=self.shaping.lines_of(self.plan),
            )
        )
        self.shaping.renew(self.plan.instance, outers)
        self.fabric.run(self.cuts.again(outers))
        self.configure([vnf.plan])
        vnf.release()
        self.ask_anew(self.cuts.members(outers))

    # -- down -------------------------------------------------------------------------------------

    def down(self, *, graceful: bool = True) -> None:
        """Processes dead, links gone, containers renamed out of the way. Goes on whatever fails."""
        self.ending = True
        problems: list[Exception] = []
        steps: list[Callable[[], object]] = [
            lambda: self.forwarder.close(self.plan.instance),
            lambda: self.uplinks.close(self.plan.instance),
            lambda: problems.extend(self._end_vnfs(graceful)),
            self._end_strays,
            lambda: self.shaping.detach(self.plan.instance),
            self._remove_links,
            *[one.release_namespace for one in (*self.vnfs.values(), *self.others.values())],
            self._close_gates,
        ]
        with self._changing:
            for step in steps:
                try:
                    step()
                except ENDING_FAILS as problem:
                    problems.append(problem)
        for failed in problems:
            self.transcript.note(f"while ending {self.plan.instance}: {failed}")

    def _end_vnfs(self, graceful: bool) -> list[Exception]:
        """End all VNFs, side by side; what failed."""
        with ThreadPoolExecutor(max(1, min(16, len(self.vnfs)))) as pool:
            ends = [pool.submit(self._end_vnf, vnf, graceful) for vnf in self.vnfs.values()]
        return [problem for end in ends if isinstance(problem := end.exception(), ENDING_FAILS)]

    def _close_gates(self) -> None:
        for vnf in self.vnfs.values():
            if vnf.gate is not None:
                vnf.gate.close()
                vnf.gate = None

    def _end_vnf(self, vnf: RunningVnf, graceful: bool) -> None:
        with vnf.lock:
            vnf.end(grace=None, how=None if graceful else signal.SIGKILL)

    def _end_strays(self) -> None:
        """End every process that still stands in one of the instance's namespaces."""
        held = [e.namespace for e in (*self.vnfs.values(), *self.others.values()) if e.namespace is not None]
        strays = namespaces.processes_in({namespaces.identity(namespace) for namespace in held})
        known = [(pid, started) for pid in strays if (started := processes.start_time(pid)) is not None]
        processes.end_processes(known, signal.SIGKILL, 2.0)

    def _remove_links(self) -> None:
        ours = [interface.outer for endpoint in self.plan.endpoints for interface in endpoint.interfaces]
        ours += [bridge.name for link in self.plan.links for bridge in link.bridges]
        if present(ours):
            with contextlib.suppress(EmulationError):
                namespaces.run_inside(None, batches.instance_removal(self.plan.number))

    # -- ports outside -----------------------------------------------------------------------------

    def forward(
        self, endpoint_id: str, port: int, protocol: Protocol = "tcp", outer: int | None = None
    ) -> ForwardedPort:
        """Make a port reachable on this machine's loopback, as long as the instance is there."""
        running = self.endpoint(endpoint_id)
        own = [str(address.ip) for i in running.plan.interfaces for address in i.addresses]
        inside = Inside(lambda: _descriptor_of(running), (LOOPBACK, *own))
        made = self.forwarder.open(self.plan.instance, endpoint_id, port, protocol, outer, inside)
        self.transcript.note(f"{LOOPBACK}:{made.outer} is {endpoint_id} port {port}/{protocol}")
        return ForwardedPort(endpoint_id, made.port, made.protocol, made.outer)

    def publish(self, endpoints: Iterable[EndpointPlan]) -> None:
        """The ports that the package publishes; where a number is taken, as another one."""
        for endpoint in endpoints:
            for port in endpoint.publish:
                try:
                    self.forward(endpoint.id, port.port, port.protocol, port.outer)
                except EmulationError as error:
                    if port.outer is None:
                        raise
                    instead = self.forward(endpoint.id, port.port, port.protocol)
                    self.warnings.append(
                        f"{endpoint.id} port {port.port} is outside {instead.outer}: {error}"
                    )

    # -- what is there ----------------------------------------------------------------------------

    def vnf(self, endpoint_id: str) -> RunningVnf:
        if endpoint_id not in self.vnfs:
            raise NotFoundError("VNF", endpoint_id, self.vnfs)
        return self.vnfs[endpoint_id]

    def endpoint(self, endpoint_id: str) -> RunningEndpoint:
        found = self.vnfs.get(endpoint_id) or self.others.get(endpoint_id)
        if found is None:
            raise NotFoundError("endpoint", endpoint_id, [*self.vnfs, *self.others])
        return found

    def all_containers(self) -> list[str]:
        """Every container of the instance, those that wait for their VNF to be put back too."""
        current = [vnf.container for vnf in self.vnfs.values() if vnf.container is not None]
        return [*current, *(one.container for one in self.originals.values()), *self.discarded]

    def state(self) -> InstanceState:
        forwards = tuple(
            ForwardedPort(one.endpoint, one.port, one.protocol, one.outer)
            for one in self.forwarder.forwards(self.plan.instance)
        )
        return InstanceState(self.plan, tuple(vnf.state() for vnf in self.vnfs.values()), forwards)

    def happened(self, endpoint: str, text: str) -> None:
        """Note what nobody asked for through us."""
        self.events.append(BedEvent(time.time(), self.plan.instance, endpoint, text))

    def namespace_of(self, endpoint_id: str) -> str:
        """An endpoint's namespace as `ip` takes it."""
        return self.endpoint(endpoint_id).address_of_namespace

    @contextlib.contextmanager
    def named(self, vnf: RunningVnf) -> Iterator[None]:
        """Errors in the block say which VNF they are about."""
        try:
            yield
        except EmulationError as error:
            raise EmulationError(f"VNF '{vnf.plan.id}': {error}") from error


def _how_it_ended(vnf: RunningVnf) -> str:
    memory = " (killed for want of memory)" if vnf.out_of_memory else ""
    return f"ended with {vnf.exit_status}{memory}" if vnf.exit_status is not None else "was ended"


def _descriptor_of(running: RunningEndpoint) -> int | None:
    """A descriptor of its own for an endpoint's namespace; None while there is none, or it is changing."""
    if isinstance(running, RunningVnf) and not running.lock.acquire(blocking=False):
        return None
    try:
        return os.dup(running.namespace) if running.namespace is not None else None
    finally:
        if isinstance(running, RunningVnf):
            running.lock.release()
