"""A running instance made that of another plan: what differs is done, and taken back if a step fails.

New containers stand in their hold, new namespaces are there, before anything that runs is touched. Then
containers that are replaced end, links and what is inside endpoints change, new commands are let go; what is
to go goes last.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from pytest_sonemu.emulation import namespaces, processes
from pytest_sonemu.emulation.containers import Life
from pytest_sonemu.emulation.fabric import present
from pytest_sonemu.emulation.instance import PARALLEL, Instance
from pytest_sonemu.emulation.interiors import refurnish
from pytest_sonemu.emulation.running import Original, RunningEndpoint, RunningVnf
from pytest_sonemu.errors import EmulationError
from pytest_sonemu.planning import batches
from pytest_sonemu.planning import difference as differences
from pytest_sonemu.planning.plan import DeploymentPlan, EndpointPlan


@dataclass(frozen=True, slots=True)
class Next:
    """A container that is to take a VNF's place. `again`: it had that place before; without a `life` it is
    not running."""

    plan: EndpointPlan
    container: str
    life: Life | None
    again: bool = True


def amend(instance: Instance, plan: DeploymentPlan, progress: Callable[[str], None]) -> None:
    """Make an instance that of another plan, without touching what does not differ.

    Raises PlanningError where that cannot be, EmulationError with everything as before.
    """
    with instance.changing():
        Amendment(instance, plan).carry_out(progress)


class Amendment:
    """One change of an instance, to be carried out once."""

    def __init__(self, instance: Instance, plan: DeploymentPlan) -> None:
        self._instance, self._old, self._new = instance, instance.plan, plan
        self._what = differences.difference(instance.plan, plan)
        self._added: dict[str, RunningEndpoint] = {}
        self._next: dict[str, Next] = {}
        self._before: dict[str, Next] = {}
        self._gone: list[str] = []

    def carry_out(self, progress: Callable[[str], None]) -> None:
        """Raises EmulationError with everything as before."""
        instance = self._instance
        progress(f"{instance.plan.instance}: {self._what}")
        instance.transcript.note(str(self._what))
        try:
            self._prepare()
        except BaseException:
            self._discard_prepared()
            raise
        with contextlib.ExitStack() as stack:
            # Nobody stops or starts one of them meanwhile.
            for name in sorted(instance.vnfs):
                stack.enter_context(instance.vnfs[name].lock)
            try:
                self._change()
            except BaseException as error:
                instance.transcript.note(f"taken back: {error}")
                self._take_back()
                raise
            self._remove()
            self._keep_or_discard()

    # -- before anything is touched ---------------------------------------------------------------

    def _prepare(self) -> None:
        instance, new = self._instance, {endpoint.id: endpoint for endpoint in self._new.endpoints}
        held = []
        for name in self._what.added:
            endpoint, place = new[name], instance.folder / name
            if endpoint.container is None:
                other = self._added[name] = RunningEndpoint(endpoint, place)
                other.make()
                continue
            vnf = RunningVnf(endpoint, place, instance.containers, self._new.instance)
            self._added[name] = vnf
            held.append(vnf)
        with ThreadPoolExecutor(PARALLEL) as pool:
            waits = [pool.submit(instance.start_held, vnf) for vnf in held]
            waits += [pool.submit(self._hold_next, new[name]) for name in self._what.replaced]
            for done in waits:
                done.result()

    def _hold_next(self, plan: EndpointPlan) -> None:
        """The container that takes a VNF's place: the one it was started with, if that is meant."""
        instance, vnf = self._instance, self._instance.vnfs[plan.id]
        wanted = plan.container
        if wanted is None:
            raise ValueError(f"{plan.id} has no container")
        original = instance.originals.get(plan.id)
        again = original is not None and original.plan == wanted
        with instance.named(vnf):
            if original is not None and again:
                container = original.container
            else:
                container = vnf.create_next(replace(wanted, name=f"{wanted.name}-next"))
            self._next[plan.id] = Next(plan, container, None, again)
            self._next[plan.id] = Next(plan, container, vnf.hold(container), again)

    def _discard_prepared(self) -> None:
        for name, running in self._added.items():
            self._drop(name, running)
        self._discard_next()

    def _discard_next(self) -> None:
        for one in self._next.values():
            if not one.again:
                self._instance.discarded.append(one.container)
            elif one.life is not None:
                life = (one.life.pid, one.life.start_time)
                processes.end_processes([life], signal.SIGKILL, 10.0)

    # -- the change -------------------------------------------------------------------------------

    def _change(self) -> None:
        instance = self._instance
        instance.check_ending()
        for name, running in self._added.items():
            if isinstance(running, RunningVnf):
                instance.vnfs[name] = running
            else:
                instance.others[name] = running
        for name, one in self._next.items():
            self._swap(name, one)
        self._turn(self._old, self._new, self._what)
        fresh = [*self._what.added, *self._what.replaced]
        instance.configure(self._endpoints(self._new, self._alive(fresh)))
        self._release(fresh)
        outers = {i.outer for e in self._endpoints(self._new, fresh) for i in e.interfaces}
        instance.ask_anew(instance.cuts.members(outers))
        instance.publish(self._endpoints(self._new, self._what.added))

    def _swap(self, name: str, one: Next) -> None:
        """End a VNF's container; the other is the VNF from now on, under its name."""
        instance, vnf = self._instance, self._instance.vnfs[name]
        containers, plan, container = instance.containers, vnf.plan, vnf.container
        if container is None or one.life is None:
            raise EmulationError(f"container {vnf.container_plan.name} was not created")
        self._before[name] = Next(plan, container, vnf.life)
        with instance.named(vnf):
            self._end(vnf, graceful=True)
            containers.rename(container, f"{vnf.container_plan.name}-before-{container[:8]}")
            vnf.switch(one.plan, one.container)
            containers.rename(one.container, vnf.container_plan.name)
            vnf.adopt(one.life)

    def _end(self, vnf: RunningVnf, *, graceful: bool) -> None:
        if vnf.life is not None:
            vnf.end(grace=None, how=None if graceful else signal.SIGKILL)
            vnf.await_end()
            self._instance.after_end(vnf)

    def _turn(
        self,
        old: DeploymentPlan,
        new: DeploymentPlan,
        what: differences.Difference,
        *,
        force: bool = False,
    ) -> None:
        """Links, what is inside the endpoints that go on, and hosts tables: from one plan to another."""
        instance = self._instance
        running = {**instance.vnfs, **instance.others}
        instance.plan = new
        for endpoint in new.endpoints:
            if endpoint.id in running:
                running[endpoint.id].plan = endpoint
        instance.cuts.follow(new)
        lines, ports = instance.shaping.carried(new.instance)
        scene = differences.Scene(
            fresh=[*what.added, *what.replaced],
            absent=[e.id for e in new.endpoints if e.id in running and running[e.id].namespace is None],
            there=_fabric_interfaces(),
            loose=[port.port for port in ports],
            relayed=(lines, instance.shaping.lines_of(new)),
        )
        fabric = differences.FabricChange(old, new, scene)
        self._gone = fabric.gone
        todo = fabric.batches(instance.namespace_of)
        instance.fabric.run(replace(batch, force=batch.force or force) for batch in todo)
        instance.shaping.amend(new, fabric.made)
        instance.fabric.run(instance.cuts.again([*fabric.made]))
        for name in self._alive(what.altered):
            before, after = old.endpoint(name), new.endpoint(name)
            if before is not None and after is not None:
                refurnish(instance.fabric, running[name], before, after, force=force)
        for name, interfaces in differences.strangers(old, new).items():
            one = running.get(name)
            if one is not None and one.namespace is not None:
                todo = [differences.forgetting(interfaces)]
                instance.fabric.run_in(one.namespace, one.address_of_namespace, todo)
        for name in what.told:
            known = old.endpoint(name)
            running[name].tell_hosts(known.hosts if known is not None else ())

    def _release(self, names: Iterable[str]) -> None:
        for name in names:
            vnf = self._instance.vnfs.get(name)
            if vnf is not None and vnf.life is not None and vnf.phase == "held":
                with self._instance.named(vnf):
                    vnf.release()

    # -- afterwards, or back ----------------------------------------------------------------------

    def _remove(self) -> None:
        """End what is to go; goes on whatever fails."""
        for name in self._what.removed:
            running = self._instance.vnfs.get(name) or self._instance.others[name]
            self._drop(name, running, graceful=True)
        self._remove_links(self._gone)

    def _remove_links(self, names: Iterable[str]) -> None:
        left = present(names)
        away = batches.removal_batch(left)
        self._instance.fabric.run([replace(away, force=True)] if left else [])

    def _drop(self, name: str, running: RunningEndpoint, *, graceful: bool = False) -> None:
        """End an endpoint for good."""
        instance = self._instance
        instance.forwarder.close(instance.plan.instance, name)
        if isinstance(running, RunningVnf):
            try:
                running.end(grace=None, how=None if graceful else signal.SIGKILL)
            except EmulationError as error:
                instance.transcript.note(f"while ending {name}: {error}")
            if running.gate is not None:
                running.gate.close()
                running.gate = None
            if running.container is not None:
                instance.discarded.append(running.container)
            original = instance.originals.pop(name, None)
            if original is not None:
                instance.discarded.append(original.container)
        if running.namespace is not None:
            strays = namespaces.processes_in({namespaces.identity(running.namespace)})
            known = [(pid, at) for pid in strays if (at := processes.start_time(pid)) is not None]
            processes.end_processes(known, signal.SIGKILL, 2.0)
        # A socket in somebody's hands would keep the namespace, and with it the link.
        kept = {i.outer for endpoint in instance.plan.endpoints for i in endpoint.interfaces}
        own = {interface.outer for interface in running.plan.interfaces}
        self._remove_links(own if running.plan in instance.plan.endpoints else own - kept)
        running.release_namespace()
        instance.vnfs.pop(name, None)
        instance.others.pop(name, None)
        shutil.rmtree(running.folder, ignore_errors=True)

    def _keep_or_discard(self) -> None:
        """The container that a VNF was started with waits to be put back; all others are put away."""
        instance = self._instance
        for name, one in self._before.items():
            if self._next[name].again:
                del instance.originals[name]
            elif name not in instance.originals and one.plan.container is not None:
                instance.originals[name] = Original(one.plan.container, one.container)
                continue
            instance.discarded.append(one.container)

    def _take_back(self) -> None:
        """Everything as before; what does not work out is noted."""
        instance = self._instance
        for name, running in self._added.items():
            self._drop(name, running)
        with self._noting():
            for name, one in self._before.items():
                self._swap_back(name, one)
        with self._noting():
            # Only these have to be wired anew; another one may not even have been touched.
            back = replace(differences.difference(self._new, self._old), replaced=tuple(self._before))
            self._turn(self._new, self._old, back, force=True)
        self._remove_links(self._gone)
        with self._noting():
            self._inside_again()
        with self._noting():
            instance.configure(self._endpoints(self._old, self._alive(self._before)))
            self._release(self._before)
        self._discard_next()

    def _inside_again(self) -> None:
        """Interfaces whose ends were given to what was to come instead."""
        taken = {i.outer for running in self._added.values() for i in running.plan.interfaces}
        for endpoint in self._endpoints(self._old, self._alive(self._what.removed)):
            left = tuple(i for i in endpoint.interfaces if i.outer not in taken)
            if len(left) < len(endpoint.interfaces):
                names = {interface.name for interface in left}
                routes = tuple(route for route in endpoint.routes if route.interface in names)
                running = self._instance.endpoint(endpoint.id)
                before = replace(endpoint, interfaces=left, routes=routes)
                refurnish(self._instance.fabric, running, before, endpoint, force=True)

    def _swap_back(self, name: str, one: Next) -> None:
        instance, vnf = self._instance, self._instance.vnfs[name]
        if vnf.container != one.container:
            self._end(vnf, graceful=False)
            wrong = vnf.switch(one.plan, one.container)
            instance.containers.rename(wrong, f"{vnf.container_plan.name}-next-{wrong[:8]}")
            instance.containers.rename(one.container, vnf.container_plan.name)
        # It may not have been exchanged yet, or not even ended.
        if vnf.life is None and one.life is not None:
            vnf.start_held()

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except EmulationError as error:
            self._instance.transcript.note(f"while taking back a change: {error}")

    def _alive(self, names: Iterable[str]) -> list[str]:
        instance = self._instance
        running = {**instance.vnfs, **instance.others}
        return [name for name in names if running[name].namespace is not None]

    @staticmethod
    def _endpoints(plan: DeploymentPlan, names: Iterable[str]) -> list[EndpointPlan]:
        wanted = set(names)
        return [endpoint for endpoint in plan.endpoints if endpoint.id in wanted]


def _fabric_interfaces() -> set[str]:
    return {name for _index, name in socket.if_nameindex()}
