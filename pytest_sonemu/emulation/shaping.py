"""The shaped part of a bed: which links are impaired, and the relay that carries what crosses them.

The relay is started with the first impairment. What is direct becomes relayed, and direct again, while
traffic flows: two filters go and come, no VNF notices more than a few packets.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_sonemu.emulation import switchover
from pytest_sonemu.emulation.bed_relay import BedRelay
from pytest_sonemu.emulation.fabric import Fabric, present
from pytest_sonemu.errors import EmulationError, NotFoundError
from pytest_sonemu.planning import relaying
from pytest_sonemu.planning.batches import Batch
from pytest_sonemu.planning.plan import DeploymentPlan, LinkPlan
from pytest_sonemu.planning.relaying import RelayedPort, Relaying
from pytest_sonemu.relay.model import MOST_HOPS, FlowSpec, Impairment, LinkSpec
from pytest_sonemu.relay.redirects import PREFERENCE as SHORTCUT_PREFERENCE
from pytest_sonemu.topology.model import Topology

# A last hop for as long as a port goes over: what crosses it the kernel does not carry for the relay.
HELD = LinkSpec("going over", Impairment(delay=1e-9), Impairment(delay=1e-9))


class Shaping:
    """All relayed links of one bed. Thread-safe: one change at a time.

    `note` tells a person what happened, `happened` the tests of an instance whose links it concerns.
    """

    def __init__(
        self,
        topology: Topology,
        run_dir: Path,
        seed: int,
        fabric: Fabric,
        note: Callable[[str], None],
        happened: Callable[[str, str], None],
    ) -> None:
        self._topology, self._seed = topology, seed
        self._fabric, self._note, self._happened = fabric, note, happened
        self._lock = threading.RLock()
        self._plans: dict[str, DeploymentPlan] = {}
        self._base = relaying.topology_links(topology, seed)
        self._own: dict[str, LinkSpec] = {}
        self._done = Relaying()
        self._relay = BedRelay(run_dir, self._lock, fabric.transcript.note, self._name, self._settle)
        self._left_out: dict[str, frozenset[str]] = {}

    def lines_of(self, plan: DeploymentPlan) -> frozenset[str]:
        """The E-Lines of an instance that the relay carries, or will carry from its start on."""
        with self._lock:
            self._base |= relaying.asked_links(plan, self._seed)
            wanted = relaying.relaying([plan], self._topology, self._impaired())
            return frozenset(link for _instance, link in wanted.lines)

    def carried(self, instance: str) -> tuple[frozenset[str], frozenset[RelayedPort]]:
        """The E-Lines of an instance that the relay carries now, and all ports that it stands before."""
        with self._lock:
            return frozenset(link for name, link in self._done.lines if name == instance), self._done.ports

    def attach(self, plan: DeploymentPlan) -> None:
        """An instance's links are made: relay those that cross something impaired."""
        with self._lock:
            self._plans[plan.instance] = plan
            # Its E-Lines were made without filters where the relay is to carry them.
            fresh = frozenset((plan.instance, link) for link in self.lines_of(plan))
            self._done = Relaying(self._done.flows, self._done.lines | fresh, self._done.ports)
            self._settle()

    def detach(self, instance: str) -> None:
        """An instance's links are about to go, or gone."""
        with self._lock:
            plan = self._plans.pop(instance, None)
            if plan is None:
                return
            for specs in (self._own, self._base):
                for name in [name for name in specs if name.startswith(f"{instance}/")]:
                    del specs[name]
            gone = {
                flow.ingress
                for flow in self._relay.flows.values()
                if flow.virtual_link.startswith(f"{instance}/")
            }
            self._relay.tell(remove_flows=gone)
            self._relay.tallies.forget(instance)
            self._left_out.pop(instance, None)
            self._done = Relaying(
                lines=frozenset(line for line in self._done.lines if line[0] != instance),
                ports=frozenset(port for port in self._done.ports if port.group != plan.number),
            )

    def amend(self, plan: DeploymentPlan, made: Iterable[str]) -> None:
        """The links of an instance were changed to those of another plan: relay what is to be relayed now.

        `made` are interfaces of the fabric that are new. The E-Lines that a relay is to carry have no
        filters.
        """
        with self._lock:
            before = self._plans.get(plan.instance)
            for name in relaying.asked_links(before, self._seed) if before is not None else ():
                self._base.pop(name, None)
            self._plans[plan.instance] = plan
            fresh = frozenset((plan.instance, link) for link in self.lines_of(plan))
            others = frozenset(line for line in self._done.lines if line[0] != plan.instance)
            self._done = Relaying(self._done.flows, others | fresh, self._done.ports)
            known = set(relaying.impairable(self._plans.values(), self._topology))
            for name in [name for name in self._own if name not in known]:
                del self._own[name]
            self.renew(plan.instance, made)

    def renew(self, instance: str, outers: Iterable[str]) -> None:
        """Interfaces of an instance were made anew: the relay looks for them again."""
        with self._lock:
            anew = set(outers)
            ports = present(port.port for port in self._done.ports if port.port in anew)
            self._run_lines("ip", [f"link set dev {port} nomaster" for port in ports], "relayed ports")
            touched = [flow for flow in self._relay.flows.values() if {flow.ingress, flow.egress} & anew]
            self._relay.tell(remove_flows=[flow.ingress for flow in touched])
            self._settle()

    def impair(self, name: str, forward: Impairment | None, backward: Impairment | None) -> None:
        """Impair a PoP link, a virtual link or an interface by its name; both None: as the topology has it.

        Raises NotFoundError for a name that nothing has.
        """
        with self._lock:
            self._check(name)
            before = dict(self._own)
            if forward is None and backward is None:
                self._own.pop(name, None)
            else:
                spec = LinkSpec(name, forward or Impairment(), backward or Impairment())
                self._own[name] = relaying.seeded(spec, self._seed)
            try:
                self._settle()
            except BaseException:
                # What cannot be must not stand in the way of every later change, of other links too.
                self._own = before
                raise

    def impairment(self, name: str) -> tuple[LinkSpec | None, LinkSpec]:
        """What a name was impaired with at run time (or None), and what the topology says of it."""
        with self._lock:
            self._check(name)
            return self._own.get(name), self._base.get(name, LinkSpec(name))

    def leave_out(self, instance: str, ends: frozenset[str]) -> None:
        """Carry nothing to these ends of an instance's links, until told otherwise."""
        with self._lock:
            if self._left_out.get(instance, frozenset()) != ends:
                self._left_out[instance] = ends
                self._settle()

    def counters(self) -> Mapping[str, Any]:
        """The relay's own counters, per flow and link, and `totals` with those of links that were relayed."""
        with self._lock:
            return self._relay.counters()

    def close(self) -> None:
        """End the relay. One that says nothing keeps nobody waiting who asks it just now."""
        self._relay.close()

    def _check(self, name: str) -> None:
        known = list(relaying.impairable(self._plans.values(), self._topology))
        if name not in known:
            raise NotFoundError("link or interface to impair", name, known)

    # -- what is wanted, and what is there --------------------------------------------------------

    def _specs(self) -> dict[str, LinkSpec]:
        return {**self._base, **self._own}

    def _impaired(self) -> frozenset[str]:
        nothing = Impairment()
        return frozenset(
            name
            for name, spec in self._specs().items()
            if not (_same(spec.forward, nothing) and _same(spec.backward, nothing))
        )

    def _settle(self) -> None:
        """Make what is there what is wanted: the relay told, links and ports of bridges gone over and back.

        Whatever a link goes over to carries it before what it leaves lets go. Links that end do nothing to
        frames first: what was on its way in them is out before others can overtake it, or is lost.
        """
        impaired = self._impaired()
        wanted = relaying.relaying(self._plans.values(), self._topology, impaired)
        if wanted.flows and not self._relay.running:
            self._relay.start()
        before = self._done
        places = sorted(wanted.ports - before.ports, key=str)
        parted = sorted(before.ports - wanted.ports, key=str)
        switchover.make_places(self._fabric, places)
        there = set(present(name for flow in wanted.flows for name in (flow.ingress, flow.egress)))
        there -= {end for ends in self._left_out.values() for end in ends}
        flows = {f.ingress: f for f in wanted.flows if {f.ingress, f.egress} <= there}
        specs = self._specs()
        crossed = {hop[0] for flow in wanted.flows for hop in flow.hops}
        links = {name: specs[name] for name in impaired & crossed}
        try:
            if places or wanted.lines - before.lines:
                self._announce(flows, links, places)
        except BaseException:
            self._remove_places(places)
            raise
        switchover.to_relay(self._fabric, self._ends(wanted.lines - before.lines), places)
        self._done = Relaying(before.flows, before.lines | wanted.lines, before.ports | wanted.ports)
        known_links, known_flows = self._relay.links, self._relay.flows
        self._relay.tell(
            links=[spec for name, spec in links.items() if known_links.get(name) != spec],
            flows=[flow for ingress, flow in flows.items() if known_flows.get(ingress) != flow],
        )
        ended = self._relay.links.keys() - links.keys()
        if parted or before.lines - wanted.lines:
            self._run_out(ended)
        switchover.to_kernel(self._fabric, self._ends(before.lines - wanted.lines), parted)
        self._relay.tell(remove_flows=self._relay.flows.keys() - flows.keys(), remove_links=ended)
        switchover.forget(parted)
        self._remove_places(parted)
        self._forget_orphans(flows)
        self._done = wanted

    def _announce(
        self, flows: Mapping[str, FlowSpec], links: Mapping[str, LinkSpec], over: Iterable[RelayedPort]
    ) -> None:
        """Tell the relay what is to go over to it, before it does, over new links that do nothing yet.

        So the kernel can carry an E-Line for the relay, behind the filters that still stand, and no frame
        takes two ways. A port's frames are still its bridge's: of them the relay has to take copies.
        """
        known = self._relay.links
        changed = {name: flow for name, flow in flows.items() if self._relay.flows.get(name) != flow}
        self._relay.tell(
            links=[*(LinkSpec(name) for name in links if name not in known), HELD],
            flows={**changed, **_held(changed, over)}.values(),
        )

    def _run_out(self, ended: Iterable[str]) -> None:
        """What is on its way over links that end leaves at once; then the kernel may carry E-Lines again."""
        self._relay.tell(links=[LinkSpec(name) for name in sorted(ended)])
        self._relay.settle()

    def _ends(self, lines: Iterable[tuple[str, str]]) -> list[switchover.Line]:
        """The outer ends of E-Lines."""
        found = [self._link(instance, link_id).ends for instance, link_id in sorted(lines)]
        return [(a.outer, b.outer) for a, b in found]

    def _remove_places(self, ports: Iterable[RelayedPort]) -> None:
        lone = present(port.inside for port in ports)
        self._run_lines("ip", [f"link del dev {inside}" for inside in lone], "relayed ports")

    def _forget_orphans(self, carried: Iterable[str]) -> None:
        """Take away what a dead relay left where none carries frames now; one that does has done it itself.

        A redirect whose target goes away stays, and swallows all that comes in.
        """
        ends = present(sorted(self._relay.orphans().difference(carried)))
        if ends:
            lines = tuple(f"filter del dev {end} ingress pref {SHORTCUT_PREFERENCE}" for end in ends)
            # Few of them have one.
            self._fabric.run([Batch("tc", lines, "redirects of a dead relay", force=True)])

    def _link(self, instance: str, link_id: str) -> LinkPlan:
        link = self._plans[instance].link(link_id)
        if link is None:
            raise EmulationError(f"instance '{instance}' has no virtual link '{link_id}'")
        return link

    def _run_lines(self, program: str, lines: list[str], purpose: str) -> None:
        if lines:
            self._fabric.run([Batch(program, tuple(lines), purpose)])

    def _name(self, text: str) -> None:
        """Tell it to whom it concerns: the bed, and each instance with links that are relayed."""
        self._note(text)
        for instance in sorted({flow.virtual_link.partition("/")[0] for flow in self._done.flows}):
            self._happened(instance, text)

    def faults(self, instance: str) -> tuple[str, ...]:
        """What is wrong with the relayed links of an instance, a sentence each."""
        with self._lock:
            lines, ports = self.carried(instance)
            return ("the relay is not running",) if (lines or ports) and not self._relay.running else ()

    def alive(self) -> bool:
        """Whether a relay runs."""
        return self._relay.alive()


def _held(flows: Mapping[str, FlowSpec], ports: Iterable[RelayedPort]) -> dict[str, FlowSpec]:
    """The flows out of these ports, such that the relay itself carries them, and not the kernel for it."""
    return {
        port.port: replace(flows[port.port], hops=(*flows[port.port].hops, (HELD.name, "a->b")))
        for port in ports
        if port.port in flows and len(flows[port.port].hops) < MOST_HOPS
    }


def _same(one: Impairment, other: Impairment) -> bool:
    """Whether two impairments do the same to frames, whatever their seeds."""
    return replace(one, seed=0) == replace(other, seed=0)
