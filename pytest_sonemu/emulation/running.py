"""Running endpoints: the namespaces that a plan's VNFs, SAPs and hosts have become."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

from pytest_sonemu.emulation import namespaces, netlink, processes
from pytest_sonemu.emulation.containers import Containers, Life
from pytest_sonemu.emulation.entry_scripts import EntryScript, run_stop_script
from pytest_sonemu.emulation.gate import Gate, hosts_text
from pytest_sonemu.emulation.protocol import ContainerPhase, ContainerState
from pytest_sonemu.emulation.readings import PastCounters
from pytest_sonemu.errors import EmulationError, NotRunningError
from pytest_sonemu.planning.batches import endpoint_sysctls, namespace_sysctls
from pytest_sonemu.planning.plan import Address, ContainerPlan, EndpointPlan

STOP_SCRIPT_SECONDS = 5.0
FROZEN_SECONDS = 1.0

Hosts = tuple[tuple[str, Address], ...]


class RunningEndpoint:
    """An endpoint's network namespace, held open by descriptor. A SAP or a host is no more than this."""

    def __init__(self, plan: EndpointPlan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.namespace: int | None = None
        # Generation of the nftables rules, and their text then: listing them costs a program.
        self.known_rules = (-1, "")
        # Its interfaces as they were before the test that runs.
        self.known_ends: dict[str, netlink.End] = {}
        self._netlink: dict[int, socket.socket] = {}

    def make(self) -> None:
        """Make the namespace and the hosts file that processes in it see."""
        self.folder.mkdir(parents=True)
        self.hosts_file = self.folder / "hosts"
        self.hosts_file.write_text(hosts_text(self.plan.hosts))
        self.hold_namespace(namespaces.new_namespace())

    def hold_namespace(self, namespace: int) -> None:
        """Take over a namespace and set it to what every namespace of ours is set to."""
        self.release_namespace()
        self.namespace = namespace
        # The plan's own come last: who asks for an rp_filter gets it.
        namespaces.write_sysctls(
            namespace, (*namespace_sysctls(self.plan.kind), *endpoint_sysctls(self.plan))
        )

    def tell_hosts(self, before: Hosts) -> None:
        """Write the hosts file anew, in place, since it is mounted into what runs here.

        Lines that were not ours (`before`) stay: a VNF may have added its own.
        """
        old = hosts_text(before).splitlines()
        with self.hosts_file.open("r+") as file:
            theirs = [line for line in file.read().splitlines() if line not in old]
            file.seek(0)
            file.write(hosts_text(self.plan.hosts) + "".join(f"{line}\n" for line in theirs))
            file.truncate()

    def release_namespace(self) -> None:
        for sock in self._netlink.values():
            sock.close()
        self._netlink = {}
        self.known_rules = (-1, "")
        if self.namespace is not None:
            os.close(self.namespace)
            self.namespace = None

    def netlink(self, family: int) -> socket.socket:
        """A netlink socket of the namespace, kept as long as that."""
        if self.namespace is None:
            raise NotRunningError.of(self.plan.id)
        if family not in self._netlink:
            self._netlink[family] = namespaces.inside(self.namespace, lambda: netlink.open_socket(family))
        return self._netlink[family]

    @property
    def address_of_namespace(self) -> str:
        """The namespace as `ip` takes it."""
        if self.namespace is None:
            raise NotRunningError.of(self.plan.id)
        return f"/proc/{os.getpid()}/fd/{self.namespace}"


class RunningVnf(RunningEndpoint):
    """A VNF's container through its lives. `lock` is held by whoever changes it."""

    def __init__(self, plan: EndpointPlan, folder: Path, containers: Containers, instance: str) -> None:
        super().__init__(plan, folder)
        if plan.container is None:
            raise ValueError(f"{plan.id} has no container")
        self.container_plan: ContainerPlan = plan.container
        self.containers = containers
        self.instance = instance
        self.lock = threading.RLock()
        self.container: str | None = None
        self.life: Life | None = None
        self.phase: ContainerPhase = "held"
        self.lives = 0
        self.past: dict[str, PastCounters] = {}
        self.exit_status: int | None = None
        self.out_of_memory = False
        self.entry_exit_status: int | None = None
        self.gate: Gate | None = None

    def create(self) -> None:
        """Create the container, with a gate of its own."""
        self.gate = Gate(self.folder, self.plan.hosts)
        self.hosts_file = self.gate.hosts_file
        self.container = self.containers.create(self.container_plan, self.gate, self.plan.id, self.instance)

    def create_next(self, plan: ContainerPlan) -> str:
        """Create the container that is to take this one's place, with the same gate; returns its id."""
        return self.containers.create(plan, self._parts()[1], self.plan.id, self.instance)

    def hold(self, container: str) -> Life:
        """Start another container than the present one; it stands in the hold."""
        self._parts()[1].shut()
        return self.containers.start(container, self.container_plan.name)

    def switch(self, plan: EndpointPlan, container: str) -> str:
        """Between two lives: go on with another container; returns the one before."""
        before, _gate = self._parts()
        if plan.container is None:
            raise ValueError(f"{plan.id} has no container")
        self.plan, self.container_plan, self.container = plan, plan.container, container
        return before

    def start_held(self) -> None:
        """Start the container; it stands in the hold, in a namespace that is ours to wire."""
        self.adopt(self.hold(self._parts()[0]))

    def adopt(self, life: Life) -> None:
        """Take note of a new life, by whomever it was started, and hold its namespace."""
        self.life, self.phase, self.exit_status, self.entry_exit_status = life, "held", None, None
        self.out_of_memory = False
        self.lives += 1
        self.hold_namespace(namespaces.open_of_process(life.pid))

    def release(self) -> None:
        """Let the image's own command go, and run the entry script beside it."""
        container, gate = self._parts()
        gate.release()
        self.phase = "running"
        if self.container_plan.entry_script is not None:
            number = self.lives

            def ended(status: int) -> None:
                if self.lives == number:
                    self.entry_exit_status = status

            EntryScript(self.containers.api, container, self.container_plan, self.folder / "entry.log", ended)

    def end(self, *, grace: float | None, how: signal.Signals | None = None) -> None:
        """End this life: stop script, stop signal, `grace` seconds, SIGKILL; or `how` at once."""
        if self.life is None:
            return
        if self.phase == "paused":
            self.unpause()
        if how is None:
            if self.container is not None and self.phase == "running":
                run_stop_script(self.containers.api, self.container, self.container_plan, STOP_SCRIPT_SECONDS)
            seconds = self.container_plan.grace if grace is None else grace
            processes.end_processes([self.own_process], stop_signal(self.container_plan), seconds)
        ends = how or signal.SIGKILL
        if not processes.end_processes([self.own_process], ends, FROZEN_SECONDS):
            return
        # What is paused does not end; that somebody else has paused it may not have been heard yet.
        with contextlib.suppress(EmulationError):  # that it does not end is said below
            if self.note_pause() and self.phase == "paused":
                self.unpause()
        if processes.end_processes([self.own_process], ends, 10.0):
            raise EmulationError(f"the first process of {self.container_plan.name} does not end")

    def await_end(self) -> None:
        """After `end`: wait for Docker to know of it, else a start right behind would do nothing."""
        if self.container is not None and self.life is not None:
            self.containers.wait_until_ended(self.container)

    def learn_how_it_ended(self) -> None:
        """After the end of a life: its exit status, and whether it was killed for want of memory."""
        if self.container is not None and self.life is not None:
            self.exit_status, self.out_of_memory = self.containers.exit_of(self.container)

    def forget_life(self, *, over: bool) -> None:
        """After the end of a life, by whomever; `over` False: Docker has begun another one already."""
        if over:
            self.learn_how_it_ended()
        self.life, self.phase = None, "exited"
        self.release_namespace()

    def pause(self) -> None:
        self.containers.pause(self._parts()[0])
        self.phase = "paused"

    def unpause(self) -> None:
        self.containers.unpause(self._parts()[0])
        self.phase = "running"

    def note_pause(self) -> bool:
        """Take note of whether it is paused, by whomever; True: somebody else has changed that."""
        if self.container is None or self.phase not in ("running", "paused"):
            return False
        paused = self.containers.is_paused(self.container)
        changed = paused != (self.phase == "paused")
        if changed:
            self.phase = "paused" if paused else "running"
        return changed

    @property
    def own_process(self) -> tuple[int, int]:
        """Pid and start time of the first process; pid 0 when there is none."""
        return (self.life.pid, self.life.start_time) if self.life is not None else (0, 0)

    def state(self) -> ContainerState:
        pid, started = self.own_process
        return ContainerState(
            endpoint=self.plan.id,
            name=self.container_plan.name,
            id=self.container or "",
            phase=self.phase,
            pid=pid,
            start_time=started,
            lives=self.lives,
            exit_status=self.exit_status,
            out_of_memory=self.out_of_memory,
            entry_exit_status=self.entry_exit_status,
        )

    def _parts(self) -> tuple[str, Gate]:
        if self.container is None or self.gate is None:
            raise EmulationError(f"container {self.container_plan.name} was not created")
        return self.container, self.gate


@dataclass(frozen=True, slots=True)
class Original:
    """A container that waits, ended, to be put in its place again."""

    plan: ContainerPlan
    container: str


def stop_signal(plan: ContainerPlan) -> signal.Signals:
    """The image's stop signal, by name ("SIGTERM", "TERM") or number; SIGTERM where that is none."""
    wanted = plan.image.stop_signal.upper()
    if wanted.isdigit():
        return signal.Signals(int(wanted))
    name = wanted if wanted.startswith("SIG") else f"SIG{wanted}"
    return signal.Signals.__members__.get(name, signal.SIGTERM)
