"""The bed inside its keeper: instances, what has been given out, and what is written down of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sonemu.emulation.amending import amend
from pytest_sonemu.emulation.containers import Containers
from pytest_sonemu.emulation.fabric import Fabric
from pytest_sonemu.emulation.failures import StalePlanError
from pytest_sonemu.emulation.forwarder import Forwarder
from pytest_sonemu.emulation.instance import ENDING_FAILS, PARALLEL, Instance
from pytest_sonemu.emulation.protocol import Applied, BedState, Boot
from pytest_sonemu.emulation.readings import BedEvent, PastCounters
from pytest_sonemu.emulation.running import RunningEndpoint
from pytest_sonemu.emulation.shaping import Shaping
from pytest_sonemu.emulation.spawning import SpawnedProcesses
from pytest_sonemu.emulation.transcript import Transcript
from pytest_sonemu.emulation.uplinks import Uplinks
from pytest_sonemu.errors import EmulationError, NotFoundError
from pytest_sonemu.planning.plan import Allocations, DeploymentPlan
from pytest_sonemu.topology.model import Topology

if TYPE_CHECKING:
    from docker import APIClient

REMOVAL_SECONDS = 30.0


class Bed:
    """All instances of one test bed. Thread-safe: long steps run outside the lock."""

    def __init__(
        self,
        run_dir: Path,
        boot: Boot,
        topology: Topology,
        api: APIClient,
        labels: dict[str, str],
        forwarder: Forwarder,
    ) -> None:
        self.name, self.run_dir = boot.bed, run_dir
        self.containers = Containers(api, labels, boot.hold)
        self.transcript = Transcript(run_dir / "transcript.log")
        self.fabric = Fabric(self.transcript)
        self.shaping = Shaping(topology, run_dir, boot.seed, self.fabric, self.note, self._relay_failed)
        self._lock = threading.Condition()
        self._instances: dict[str, Instance] = {}
        self._generation = 0
        self._next_number = 1
        self._gone = 0
        self._claimed: set[str] = set()
        self._removed: set[str] = set()
        self._ending = False
        self._notes: list[str] = []
        self.spawned = SpawnedProcesses()
        self.forwarder = forwarder
        self.uplinks = Uplinks(forwarder.outside, self.transcript)

    def apply(self, plan: DeploymentPlan, generation: int, progress: Callable[[str], None]) -> Applied:
        """Carry out a plan. Raises StalePlanError, or EmulationError with everything undone."""
        with self._lock:
            self._check_fresh(plan, generation)
            folder = self.run_dir / "instances" / plan.instance
            instance = Instance(
                plan, folder, self.containers, self.fabric, self.shaping, self.forwarder, self.uplinks
            )
            self._instances[plan.instance] = instance
            self._generation += 1
            self._next_number = max(self._next_number, plan.number + 1)
        self.write_state()
        self.transcript.note(f"start {plan.instance}")
        try:
            instance.up(progress)
            for text in instance.warnings:
                self.note(f"{plan.instance}: {text}")
        except BaseException:
            self._forget(instance)
            raise
        self.write_state()
        return Applied(plan.instance, instance.state().containers)

    def amend(self, plan: DeploymentPlan, generation: int, progress: Callable[[str], None]) -> Applied:
        """Make a running instance that of another plan. Raises as `apply` does, and NotFoundError."""
        with self._lock:
            self._check_fresh(plan, generation)
            instance = self.instance(plan.instance)
            self._generation += 1
        self.transcript.note(f"change {plan.instance}")
        try:
            amend(instance, plan, progress)
        finally:
            while instance.discarded:
                self._put_away(instance.discarded.pop())
            self.write_state()
        return Applied(plan.instance, instance.state().containers)

    def _check_fresh(self, plan: DeploymentPlan, generation: int) -> None:
        """Whether a plan was made against what there is now; the lock is held."""
        if self._ending:
            raise EmulationError(f"test bed '{self.name}' is ending")
        if generation != self._generation:
            raise StalePlanError(f"the plan of {plan.instance} is older than what has been given out since")

    def undo(self, name: str) -> None:
        """End an instance; its numbers can be given out again when this returns."""
        instance = self.instance(name)
        self.transcript.note(f"stop {name}")
        instance.down()
        self._forget(instance)

    def _forget(self, instance: Instance) -> None:
        for container in instance.all_containers():
            self._put_away(container)
        shutil.rmtree(instance.folder, ignore_errors=True)
        with self._lock:
            self._instances.pop(instance.plan.instance, None)
            self._generation += 1
        self.write_state()

    def _put_away(self, container: str) -> None:
        """Rename a container out of the way; Docker's slow removal goes on behind."""
        if not self._claim(container):
            return
        with self._lock:
            self._gone += 1
            name = f"sonemu-{self.name}-gone-{self._gone}"
        try:
            self.containers.rename(container, name)
        except EmulationError as error:
            self.transcript.note(str(error))
        threading.Thread(target=self._remove, args=(container,), name=f"remove {name}", daemon=True).start()

    def _claim(self, container: str) -> bool:
        """Whether the caller is the first to take this container away, and so the one to remove it.

        Docker lists a container for ever that is renamed while it is removed.
        """
        with self._lock:
            first = container not in self._claimed
            self._claimed.add(container)
        return first

    def _remove(self, container: str) -> None:
        try:
            self.containers.remove(container)
        except EmulationError as error:
            # Left to the sweep, which finds it by its labels.
            self.transcript.note(str(error))
        finally:
            with self._lock:
                self._removed.add(container)
                self._lock.notify_all()

    def end(self) -> None:
        """End everything. Goes on whatever fails; what Docker does not remove is left to the sweep."""
        with self._lock:
            self._ending = True
            instances = list(self._instances.values())
            self._instances = {}
        with self._going_on():
            self.shaping.close()
        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(self._end_one, instances))
            containers = [container for instance in instances for container in instance.all_containers()]
            list(pool.map(self._remove, filter(self._claim, containers)))
        with self._lock:
            self._lock.wait_for(lambda: self._claimed == self._removed, REMOVAL_SECONDS)

    def _end_one(self, instance: Instance) -> None:
        with self._going_on():
            instance.down(graceful=False)

    @contextlib.contextmanager
    def _going_on(self) -> Iterator[None]:
        """What fails in the block is written down, and keeps nothing else from being ended."""
        try:
            yield
        except ENDING_FAILS as error:
            self.transcript.note(f"while ending {self.name}: {error}")

    def follow(self, instance: str, endpoint: str, what: str) -> None:
        """Docker's word that a container started, ended, or had a process killed for want of memory."""
        with self._lock:
            found = self._instances.get(instance)
        if found is None:
            return
        if what == "oom":
            found.happened(endpoint, f"a process of {endpoint} was killed for want of memory")
            return
        try:
            found.follow(endpoint)
        except EmulationError as error:
            self.note(str(error))
        self.write_state()

    def _relay_failed(self, name: str, text: str) -> None:
        with self._lock:
            found = self._instances.get(name)
        if found is not None:
            found.happened("relay", text)

    def running(self) -> list[Instance]:
        """All instances, those that start just now too."""
        with self._lock:
            return list(self._instances.values())

    def past(self) -> tuple[PastCounters, ...]:
        """What interfaces had counted before their VNFs were started again."""
        with self._lock:
            instances = list(self._instances.values())
        return tuple(
            past for instance in instances for vnf in instance.vnfs.values() for past in vnf.past.values()
        )

    def events_since(self, since: float) -> tuple[BedEvent, ...]:
        """What happened by itself since a time, in order."""
        with self._lock:
            every = [event for instance in self._instances.values() for event in list(instance.events)]
        return tuple(sorted((event for event in every if event.time >= since), key=lambda event: event.time))

    def note(self, text: str) -> None:
        """Something that a person should know of; shown by `Describe` and kept in the transcript."""
        self.transcript.note(text)
        with self._lock:
            self._notes.append(text)

    def instance(self, name: str) -> Instance:
        with self._lock:
            if name not in self._instances:
                raise NotFoundError("instance", name, self._instances)
            return self._instances[name]

    def endpoint(self, instance: str, name: str) -> RunningEndpoint:
        """An endpoint of an instance, or, as `<instance>/<id>`, of another. Raises NotFoundError."""
        found = self.instance(instance)
        other, slash, rest = name.partition("/")
        if slash and name not in found.vnfs and name not in found.others:
            return self.instance(other).endpoint(rest)
        return found.endpoint(name)

    def state(self) -> BedState:
        with self._lock:
            instances = list(self._instances.values())
            allocations = Allocations(
                generation=self._generation,
                next_number=self._next_number,
                instances=tuple(self._instances),
                container_names=tuple(
                    vnf.container_plan.name for instance in instances for vnf in instance.vnfs.values()
                ),
                networks=tuple(net for instance in instances for net in instance.plan.networks()),
                used=tuple(use for instance in instances for use in instance.plan.uses()),
            )
            notes = tuple(self._notes)
        return BedState(allocations, tuple(instance.state() for instance in instances), notes)

    def write_state(self) -> None:
        """Write down what is there, whole, so that a reader never sees half of it."""
        from pydantic import TypeAdapter

        text = TypeAdapter(BedState).dump_json(self.state(), indent=1)
        with self._lock:
            if self._ending:
                return
            fresh = self.run_dir / "state.json.new"
            fresh.write_bytes(text)
            os.replace(fresh, self.run_dir / "state.json")
