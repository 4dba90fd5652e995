"""What the handles of one bed share: the keeper's client, Docker, the observer, the running instances.

Handles are cheap views on this; several may look at the same instance, each with an undo stack.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sonemu.emulation.client import BedClient
from pytest_sonemu.errors import BedGoneError, NotFoundError
from pytest_sonemu.handles.changes import Changes
from pytest_sonemu.handles.journal import Journal
from pytest_sonemu.handles.layers import Layers
from pytest_sonemu.handles.own_files import OwnFiles
from pytest_sonemu.planning.option_models import ServiceOptions
from pytest_sonemu.planning.plan import DeploymentPlan
from pytest_sonemu.planning.relaying import asked_links, topology_links
from pytest_sonemu.relay.model import LinkSpec

if TYPE_CHECKING:
    from docker import DockerClient as DockerObjects

    from pytest_sonemu.emulation.docker_api import DockerClient
    from pytest_sonemu.handles.black_box import BlackBox
    from pytest_sonemu.handles.flow_task import Generator
    from pytest_sonemu.handles.observer import Observer
    from pytest_sonemu.handles.recorder import Recorders
    from pytest_sonemu.handles.silence import EchoSilence
    from pytest_sonemu.handles.undo import UndoStack


class BedCore:
    """One bed as this process knows it. Thread-safe; Docker and the observer are opened when first used."""

    def __init__(self, client: BedClient, docker_host: str | None = None) -> None:
        self.client = client
        self.layers = Layers(client)
        self._docker_host = docker_host
        self._lock = threading.RLock()
        self._instances: dict[str, InstanceCore] = {}
        self._docker: DockerClient | None = None
        self._observer: Observer | None = None
        self._recorders: Recorders | None = None
        self.black_box: BlackBox | None = None
        self._echo_silence: EchoSilence | None = None
        self.files = OwnFiles()
        self.journal = Journal()
        # What starts were asked for, also those that failed: reports look for secrets in it.
        self.asked: list[Mapping[str, object]] = []
        self.docker_version: str | None = None
        # Finds another generator of flows by its name; pytest's hook, where there is pytest.
        self.find_generator: Callable[[str], Generator | None] = lambda name: None
        # An exec costs a core 61 ms: twenty health commands at once would keep the others from starting.
        self.health_slots = threading.Semaphore(2)

    @property
    def docker(self) -> DockerClient:
        """Docker by this user's own rights. Raises MachineError where it cannot be reached."""
        from pytest_sonemu.emulation import docker_api

        with self._lock:
            if self._docker is None:
                self._docker = docker_api.connect(self._docker_host)
            return self._docker

    def docker_objects(self) -> DockerObjects:
        """The docker package's objects, for `vnf.container`."""
        from docker import DockerClient as DockerObjects

        client = DockerObjects.__new__(DockerObjects)
        client.api = self.docker
        return client

    @property
    def observer(self) -> Observer:
        """The one packet socket that sees every outer end of the bed, kept open as long as the bed."""
        from pytest_sonemu.handles.observer import Observer

        with self._lock:
            if self._observer is None:
                self._observer = Observer(self.client)
            return self._observer

    @property
    def recorders(self) -> Recorders:
        """Packet sockets for captures, each kept open as long as the bed once it has been needed."""
        from pytest_sonemu.handles.recorder import Recorders

        with self._lock:
            if self._recorders is None:
                self._recorders = Recorders(self.client)
            return self._recorders

    def record(self) -> None:
        """Record from now on what is put on the links of the bed, for the report of a failure."""
        from pytest_sonemu.handles.black_box import BlackBox

        with self._lock:
            if self.black_box is None:
                self.black_box = BlackBox(self.client)

    @property
    def echo_silence(self) -> EchoSilence:
        """Who keeps kernels from answering echoes that are replayed to them."""
        from pytest_sonemu.handles.silence import EchoSilence

        with self._lock:
            if self._echo_silence is None:
                self._echo_silence = EchoSilence(self.client)
            return self._echo_silence

    def add(self, instance: InstanceCore) -> None:
        with self._lock:
            self._instances[instance.plan.instance] = instance

    def forget(self, instance: str) -> None:
        with self._lock:
            self._instances.pop(instance, None)

    def instances(self) -> list[InstanceCore]:
        """All instances of the bed, those that others have started too, in the order of their start."""
        states = {state.plan.instance: state for state in self.client.describe().instances}
        with self._lock:
            for name in [name for name in self._instances if name not in states]:
                del self._instances[name]
            for name, state in states.items():
                # Another process may have stopped it and started one of the same name.
                if name not in self._instances or self._instances[name].plan.number != state.plan.number:
                    self._instances[name] = InstanceCore(self, state.plan, ServiceOptions())
                # Or have changed it.
                self._instances[name].plan = state.plan
            return [self._instances[name] for name in states]

    def known_instances(self) -> list[InstanceCore]:
        """The instances that this process has started or looked at, without asking the keeper."""
        with self._lock:
            return list(self._instances.values())

    def instance(self, name: str) -> InstanceCore:
        """One instance by its name or uuid. Raises NotFoundError."""
        with self._lock:
            if name in self._instances:
                return self._instances[name]
        found = {instance.plan.instance: instance for instance in self.instances()}
        for instance in found.values():
            if name in (instance.plan.instance, instance.plan.uuid):
                return instance
        raise NotFoundError("instance", name, found)

    def not_running(self, instance: str) -> str:
        """Which VNFs of an instance do not run, in words ("fw has exited, ids is paused"); "" if all do."""
        said = {"exited": "has exited", "paused": "is paused"}
        return ", ".join(
            f"{container.endpoint} {said.get(container.phase, f'is {container.phase}')}"
            for state in self.client.describe().instances
            if state.plan.instance == instance
            for container in state.containers
            if container.phase != "running"
        )

    def asked_links(self) -> dict[str, LinkSpec]:
        """What the topology and the options impair, by the names that the keeper knows."""
        found = topology_links(self.client.topology, self.client.seed)
        for instance in self.known_instances():
            found |= asked_links(instance.plan, self.client.seed)
        return found

    def reseed(self, undo: UndoStack) -> None:
        """For the test of a view: draw anew what topology and options leave to chance."""
        asked = self.asked_links()
        drawn = [name for name, spec in asked.items() if spec.forward.drawn or spec.backward.drawn]
        if drawn and not self.client.gone:
            from pytest_sonemu.handles.impairing import reseed

            reseed(self.layers, drawn, undo)

    def settle(self) -> None:
        """After a test: see to every instance that this process has to do with."""
        for instance in self.known_instances():
            instance.settle()

    def close(self) -> None:
        """Let go of what this process holds of the bed; the bed itself is the client's business."""
        with self._lock:
            observer, self._observer = self._observer, None
            recorders, self._recorders = self._recorders, None
            black_box, self.black_box = self.black_box, None
            docker, self._docker = self._docker, None
        if black_box is not None:
            black_box.close()
        if recorders is not None:
            recorders.close()
        if observer is not None:
            observer.close()
        if docker is not None:
            docker.close()


@dataclass(eq=False)
class InstanceCore:
    """A running instance. `dirty` says why it is no longer as it was started; None: it is."""

    bed: BedCore
    plan: DeploymentPlan
    options: ServiceOptions
    package: Path | None = None
    origin: str | None = None
    digest: str | None = None
    dirty: str | None = None
    stopped: bool = field(default=False)
    changes: Changes = field(init=False)
    # What a failing test is told of VNFs whose readiness was only guessed.
    guesses: dict[str, str] = field(default_factory=dict)
    # VNFs that a test has stopped: what is to be called when they are up and ready again.
    absences: dict[str, Callable[[], None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.changes = Changes(
            self.bed.client,
            self.plan.instance,
            lambda endpoint: self.options.vnf(endpoint).dirty_ignore,
            lambda endpoint: (
                (plan := self.plan.endpoint(endpoint)) is not None and plan.container is not None
            ),
        )

    @property
    def sight(self) -> DeploymentPlan:
        """The plan as probes see it: with the services that it is joined to, as `<instance>/<id>`."""
        from pytest_sonemu.planning.splicing import joined_instances, seen_together

        found: dict[str, DeploymentPlan] = {}
        waiting = joined_instances(self.plan)
        while waiting:
            name = waiting.pop()
            if name in found or name == self.plan.instance:
                continue
            # One that has ended is nowhere to be seen.
            with suppress(NotFoundError):
                found[name] = self.bed.instance(name).plan
                waiting += joined_instances(found[name])
        return seen_together(self.plan, found) if found else self.plan

    def settle(self) -> None:
        """After a test: what it left behind makes the instance dirty, and so does what is broken."""
        if self.stopped or self.bed.client.gone:
            return
        try:
            found = [*self.changes.judge(), *self.bed.client.between_tests(self.plan.instance)]
        except (BedGoneError, NotFoundError):
            return  # there is nothing left to be dirty
        if found:
            self.dirty = "; ".join([*([self.dirty] if self.dirty else []), *found])
            self.bed.journal.note("state", f"{self.plan.instance} is dirty: {self.dirty}")
