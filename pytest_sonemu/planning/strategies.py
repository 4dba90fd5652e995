"""The placements that have a name. Each places what nobody has placed by name, in descriptor order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from pytest_sonemu.descriptors.model import NetworkService
from pytest_sonemu.planning.room import Demand, Room
from pytest_sonemu.planning.ways import Distance, Ways
from pytest_sonemu.planning.wiring import is_management
from pytest_sonemu.topology.model import Topology


@dataclass(frozen=True)
class Question:
    """What a strategy is asked. `demands`: vnf_id -> limits; `placed`, `saps`: those whose PoP is settled."""

    service: NetworkService
    topology: Topology
    demands: Mapping[str, Demand]
    room: Room
    placed: Mapping[str, str]
    saps: Mapping[str, str]

    @property
    def open(self) -> list[str]:
        """The VNFs to place, in descriptor order."""
        return [function.id for function in self.service.functions if function.id not in self.placed]

    @property
    def pops(self) -> list[str]:
        return [pop.name for pop in self.topology.pops]

    def put(self, vnf_id: str, pops: Sequence[str]) -> str:
        """Take room in the first of these PoPs that has it. Raises PlacementError."""
        who, demand = f"VNF '{vnf_id}'", self.demands[vnf_id]
        pop = next((pop for pop in pops if self.room.fits(pop, demand)), None)
        if pop is None:
            raise self.room.nowhere(demand, who)
        self.room.take(pop, demand, who)
        return pop


Strategy = Callable[[Question], Mapping[str, str]]


def round_robin(question: Question) -> Mapping[str, str]:
    """One after the other over the PoPs in topology order; a PoP without room is passed over."""
    placed, pops, turn = dict(question.placed), question.pops, 0
    for vnf_id in question.open:
        pop = question.put(vnf_id, [*pops[turn:], *pops[:turn]])
        placed[vnf_id] = pop
        turn = (pops.index(pop) + 1) % len(pops)
    return placed


def first(question: Question) -> Mapping[str, str]:
    """All in the first PoP, as far as it has room, then the second, …"""
    return {**question.placed, **{vnf_id: question.put(vnf_id, question.pops) for vnf_id in question.open}}


def capacity(question: Question) -> Mapping[str, str]:
    """The largest first, each where the largest share is left afterwards."""
    placed = dict(question.placed)

    def largest(vnf_id: str) -> float:
        return min(question.room.share_left(pop, question.demands[vnf_id]) for pop in question.pops)

    for vnf_id in sorted(question.open, key=largest):
        demand = question.demands[vnf_id]
        placed[vnf_id] = question.put(
            vnf_id, sorted(question.pops, key=lambda pop: -question.room.share_left(pop, demand))
        )
    return placed


def least_delay(question: Question) -> Mapping[str, str]:
    """Where the delays of the data links sum up least, then the PoP links that they cross.

    VNFs are placed along the links, from what is settled on; then each is moved as long as that helps.
    """
    return _LeastDelay(question).place()


class _LeastDelay:
    def __init__(self, question: Question) -> None:
        self._question = question
        self._ways = Ways(question.topology)
        self._neighbours = _neighbours(question.service)
        self._at: dict[str, str] = {**question.saps, **question.placed}

    def place(self) -> Mapping[str, str]:
        question, waiting = self._question, self._question.open
        while waiting:
            # The one with most neighbours that stand already; the descriptor's order among equals.
            vnf_id = max(waiting, key=lambda one: len(self._settled(one)))
            waiting.remove(vnf_id)
            self._at[vnf_id] = question.put(vnf_id, self._best(vnf_id))
        self._improve()
        return {function.id: self._at[function.id] for function in question.service.functions}

    def _improve(self) -> None:
        question = self._question
        for _ in question.open:
            moved = False
            for vnf_id in question.open:
                demand, old = question.demands[vnf_id], self._at[vnf_id]
                question.room.give_back(old, demand)
                new = question.put(
                    vnf_id, [pop for pop in self._best(vnf_id) if question.room.fits(pop, demand)]
                )
                if self._cost(vnf_id, new) < self._cost(vnf_id, old):
                    self._at[vnf_id], moved = new, True
                else:
                    question.room.give_back(new, demand)
                    question.room.take(old, demand, vnf_id)
            if not moved:
                return

    def _settled(self, vnf_id: str) -> list[str]:
        return [self._at[other] for other in self._neighbours.get(vnf_id, ()) if other in self._at]

    def _best(self, vnf_id: str) -> list[str]:
        return sorted(self._question.pops, key=lambda pop: self._cost(vnf_id, pop))

    def _cost(self, vnf_id: str, pop: str) -> Distance:
        delay, hops = 0.0, 0
        for other in self._settled(vnf_id):
            more_delay, more_hops = self._ways.distance(pop, other)
            # So that no sum of rounding errors moves a VNF.
            delay, hops = round(delay + more_delay, 9), hops + more_hops
        return delay, hops


def _neighbours(service: NetworkService) -> dict[str, list[str]]:
    """VNF or SAP -> those it shares a data link with, once for each link."""
    functions = {function.id: function for function in service.functions}
    saps = {sap.id: sap for sap in service.saps}
    found: dict[str, list[str]] = {}
    for link in service.links:
        if is_management(link, functions, saps):
            continue
        members = dict.fromkeys(ref.function or ref.point for ref in link.references)
        for one, other in combinations(members, 2):
            found.setdefault(one, []).append(other)
            found.setdefault(other, []).append(one)
    return found


STRATEGIES: Mapping[str, Strategy] = {
    "round-robin": round_robin,
    "first": first,
    "least-delay": least_delay,
    "capacity": capacity,
}
