"""Instances of onboarded services: started, looked at, stopped, several at once.

An instance is listed when it runs and no longer when it is gone. What others start on the same bed
is listed too; what they stop is forgotten. A start that failed leaves nothing but the reason, which
its own resource keeps for whoever polls it.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from pytest_sonemu.errors import BedGoneError, NotFoundError, SonemuError
from pytest_sonemu.gatekeeper.catalogue import Catalogue, OnboardedPackage
from pytest_sonemu.gatekeeper.emulation import Emulation, RunningInstance
from pytest_sonemu.gatekeeper.model import InstanceView, Layout, Problem, State, Wish
from pytest_sonemu.gatekeeper.problems import Answer, not_found, problem_of, refused, status_of

LATEST = "latest"
FAILURES_KEPT = 100
START_FAILED = "start failed"
STOP_FAILED = "stop failed"


@dataclass(eq=False)
class Instance:
    """One start over HTTP and what became of it. Written under the lifecycle's lock."""

    uuid: str
    package: OnboardedPackage
    ignored: tuple[str, ...] = ()
    state: State = "starting"
    progress: list[str] = field(default_factory=list)
    problem: Problem | None = None
    running: RunningInstance | None = None
    decided: threading.Event = field(default_factory=threading.Event)

    @property
    def service_uuid(self) -> str:
        return self.package.uuid


class Lifecycle:
    """Starts and stops on one bed. Thread-safe; `say` gets a line for each change."""

    def __init__(self, emulation: Emulation, catalogue: Catalogue, say: Callable[[str], None]) -> None:
        self._emulation, self._catalogue, self._say = emulation, catalogue, say
        self._lock = threading.RLock()
        self._instances: dict[str, Instance] = {}
        self._stopping: set[str] = set()
        self._threads: list[threading.Thread] = []
        self._closed = False

    # -- start ------------------------------------------------------------------------------------

    def start(self, wish: Wish, *, wait: bool = True) -> Instance:
        """Start a service; with `wait` it runs and is ready when this returns.

        Raises an `Answer`: 404 for an unknown service, 400 for options, 500 for a start that failed.
        """
        try:
            self._emulation.check(wish.options)
        except SonemuError as error:
            raise Answer(status_of(error), problem_of("bad request", error)) from error
        with self._lock:
            if self._closed:
                raise refused(503, START_FAILED, "the gatekeeper is being shut down")
            package = self._wanted(wish)
            instance = Instance(str(uuid.uuid4()), package, wish.ignored)
            self._instances[instance.uuid] = instance
        self._say(f"starting {package.service} as {instance.uuid}")
        if not wait:
            thread = threading.Thread(
                target=self._try, args=(instance, wish), name=f"start {instance.uuid}", daemon=True
            )
            with self._lock:
                self._threads = [known for known in self._threads if known.is_alive()] + [thread]
            thread.start()
            return instance
        failure = self._try(instance, wish)
        if failure is not None and instance.problem is not None:
            raise Answer(status_of(failure), instance.problem) from failure
        return instance

    def _wanted(self, wish: Wish) -> OnboardedPackage:
        if wish.service_uuid is not None and wish.service_uuid != LATEST:
            return self._catalogue.get(wish.service_uuid)
        return self._catalogue.newest(wish.service_name)

    def _try(self, instance: Instance, wish: Wish) -> SonemuError | None:
        package = instance.package
        running, failure = None, None
        try:
            running = self._emulation.start(
                package.path, instance.uuid, wish.options, instance.progress.append
            )
            # Before it is listed, so that nobody who looks at both hears of it in the wrong order.
            self._say(f"{package.service} runs as {instance.uuid}")
        except SonemuError as error:
            failure = error
            self._say(f"{package.service} failed to start: {_start_problem(package, error).detail}")
        finally:
            with self._lock:
                if running is not None:
                    instance.running, instance.state = running, "running"
                else:
                    self._note_failure(instance, failure)
                instance.decided.set()
        return failure

    def _note_failure(self, instance: Instance, failure: SonemuError | None) -> None:
        reason = failure or SonemuError("an unexpected error, which stands in the server's log")
        instance.state = "failed"
        instance.problem = _start_problem(instance.package, reason)
        failed = [known for known in self._instances.values() if known.state == "failed"]
        for old in failed[: max(0, len(failed) - FAILURES_KEPT)]:
            del self._instances[old.uuid]

    # -- what is there ----------------------------------------------------------------------------

    def listing(self) -> tuple[tuple[str, ...], ...]:
        """The uuids of what runs, package by package; then, by service, of what others started on the bed."""
        running = self._running()
        with self._lock:
            ours = {
                package.uuid: tuple(
                    found.uuid for found in running if self._owner(found.uuid) == package.uuid
                )
                for package in self._catalogue.packages
            }
            others: dict[str, list[str]] = {}
            for found in running:
                if found.uuid not in self._instances:
                    others.setdefault(found.service, []).append(found.uuid)
        return (*ours.values(), *(tuple(group) for group in others.values()))

    def of_package(self, package: str) -> tuple[str, ...]:
        """The uuids of the running instances of a package."""
        return tuple(found.uuid for found in self._running() if self._owner(found.uuid) == package)

    def view(self, wanted: str) -> InstanceView:
        """One instance in whatever state. Raises the `Answer` 404."""
        running = {found.uuid: found for found in self._running()}
        with self._lock:
            instance = self._instances.get(wanted)
        if instance is None:
            if wanted not in running:
                raise not_found()
            return _view(self._emulation.name, wanted, running[wanted])
        return _view(self._emulation.name, wanted, running.get(wanted), instance)

    def _running(self) -> list[RunningInstance]:
        """What runs now, in the order of starting. Forgets what others have stopped."""
        there = sorted(self._emulation.instances(), key=lambda found: found.number)
        with self._lock:
            uuids = {found.uuid for found in there}
            for known in list(self._instances.values()):
                if known.state == "running" and known.uuid not in uuids:
                    self._forget_if_gone(known)
            return [found for found in there if self._state(found.uuid) in ("running", "stopping")]

    def _forget_if_gone(self, known: Instance) -> None:
        # It may have begun to run after the bed was asked.
        if known.uuid not in {found.uuid for found in self._emulation.instances()}:
            del self._instances[known.uuid]
            self._say(f"{known.package.service} {known.uuid} was stopped by somebody else")

    def _state(self, wanted: str) -> State:
        known = self._instances.get(wanted)
        return known.state if known is not None else "running"

    def _owner(self, wanted: str) -> str | None:
        known = self._instances.get(wanted)
        return known.service_uuid if known is not None else None

    # -- stop -------------------------------------------------------------------------------------

    def stop(self, service: str | None, wanted: str | None) -> str:
        """Stop an instance and return its uuid; nothing of it is left then.

        Without `wanted` it is the one started last, of `service` or of all. Raises the `Answer` 404
        where there is none, 500 for a stop that failed (the instance stays listed, and can be stopped again).
        """
        if service is not None:
            service = (
                self._catalogue.newest().uuid if service == LATEST else self._catalogue.get(service).uuid
            )
        running, instance = self._claim(service, wanted)
        self._say(f"stopping {running.service} {running.uuid}")
        ended = False
        try:
            running.stop()
            ended = True
        except NotFoundError:
            ended = True  # somebody else was faster; it is gone, which is what was asked for
        except SonemuError as error:
            with self._lock:
                if instance is not None:
                    instance.state, instance.problem = "running", problem_of(STOP_FAILED, error)
            raise Answer(status_of(error), problem_of(STOP_FAILED, error)) from error
        finally:
            # One that has ended stays claimed: who asked the bed before takes it for a running one still.
            if not ended:
                with self._lock:
                    self._stopping.discard(running.uuid)
        self._say(f"{running.service} {running.uuid} stopped")
        with self._lock:
            self._instances.pop(running.uuid, None)
        return running.uuid

    def _claim(self, service: str | None, wanted: str | None) -> tuple[RunningInstance, Instance | None]:
        """Choose what is to be stopped, so that nobody else stops it as well."""
        with self._lock:
            starting = self._instances.get(wanted) if wanted is not None else None
        if starting is not None:
            starting.decided.wait()
        candidates = self._running()
        with self._lock:
            for found in reversed(candidates):
                known = self._instances.get(found.uuid)
                if wanted is not None and found.uuid != wanted:
                    continue
                if service is not None and (known is None or known.service_uuid != service):
                    continue
                if found.uuid in self._stopping or (known is not None and known.state != "running"):
                    continue
                self._stopping.add(found.uuid)
                if known is not None:
                    known.state = "stopping"
                return found, known
        raise not_found()

    # -- packages and the end ---------------------------------------------------------------------

    def remove_package(self, package: str) -> OnboardedPackage:
        """Forget a package. Raises the `Answer` 404, and 409 while instances of it run or start."""
        self._running()
        with self._lock:
            held = self._catalogue.get(package)
            in_use = [
                known.uuid
                for known in self._instances.values()
                if known.service_uuid == package and known.state != "failed"
            ]
            if in_use:
                detail = f"{held.file_name} has instances: {', '.join(in_use)}; stop them first"
                raise refused(409, "package in use", detail)
            return self._catalogue.remove(package)

    def close(self) -> None:
        """Begin no more starts, and wait for those that go on behind. What runs is the bed's business."""
        with self._lock:
            self._closed = True
            threads = list(self._threads)
        for thread in threads:
            thread.join()


def _start_problem(package: OnboardedPackage, error: SonemuError) -> Problem:
    """Why it did not start, with the name that the package came with."""
    return problem_of(START_FAILED, error, hide=str(package.path), show=package.file_name)


def _view(
    bed: str, wanted: str, running: RunningInstance | None, instance: Instance | None = None
) -> InstanceView:
    layout = _layout(running)
    return InstanceView(
        service_instance_uuid=wanted,
        service_uuid=instance.service_uuid if instance is not None else None,
        state=instance.state if instance is not None else "running",
        bed=bed,
        name=layout.name if layout is not None else None,
        service=layout.service if layout is not None else instance.package.service if instance else None,
        address_plan=layout.address_plan if layout is not None else None,
        vnfs=layout.vnfs if layout is not None else (),
        saps=layout.saps if layout is not None else (),
        links=layout.links if layout is not None else (),
        warnings=layout.warnings if layout is not None else (),
        progress=tuple(instance.progress) if instance is not None else (),
        ignored=instance.ignored if instance is not None else (),
        problem=instance.problem if instance is not None else None,
    )


def _layout(running: RunningInstance | None) -> Layout | None:
    if running is None:
        return None
    try:
        return running.describe()
    except (NotFoundError, BedGoneError):
        return None
