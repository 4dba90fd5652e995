"""Ways between PoPs: by least delay, then fewest hops, then the order of the topology."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from pytest_sonemu.errors import PlanningError
from pytest_sonemu.topology.model import PopLink, Topology


@dataclass(frozen=True, slots=True)
class Hop:
    """A PoP link crossed from PoP `source` to PoP `target`; `delay` in seconds, one way."""

    link: PopLink
    source: str
    target: str
    delay: float = 0.0


Distance = tuple[float, int]


class Ways:
    """Shortest ways of one topology; each source is computed once."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._order = {pop.name: position for position, pop in enumerate(topology.pops)}
        self._hops: dict[str, list[Hop]] = {pop.name: [] for pop in topology.pops}
        for link in topology.links:
            for pop in (link.a, link.b):
                if pop not in self._hops:
                    raise PlanningError(
                        f"PoP link '{link.name}' ends at '{pop}', which is no PoP of the topology"
                    )
            # Half of there and back, so that a way is the same from either end.
            delay = (link.towards("a->b").delay + link.towards("b->a").delay) / 2
            self._hops[link.a].append(Hop(link, link.a, link.b, delay))
            self._hops[link.b].append(Hop(link, link.b, link.a, delay))
        self._trees: dict[str, dict[str, Hop]] = {}

    def between(self, source: str, target: str, who: str) -> tuple[Hop, ...]:
        """The way from one PoP to another; `who` wants it, for the error. Raises PlanningError."""
        tree = self._tree(source)
        hops: list[Hop] = []
        at = target
        while at != source:
            if at not in tree:
                raise PlanningError(
                    f"{who}: no way from PoP '{source}' to PoP '{target}' in topology"
                    f" '{self._topology.name}'; add a link between them or place its ends otherwise"
                )
            hops.append(tree[at])
            at = tree[at].source
        return tuple(reversed(hops))

    def distance(self, source: str, target: str) -> Distance:
        """Delay one way in seconds and PoP links crossed; infinite where there is no way."""
        tree, at = self._tree(source), target
        delay, hops = 0.0, 0
        while at != source:
            if at not in tree:
                return float("inf"), 0
            delay, hops = delay + tree[at].delay, hops + 1
            at = tree[at].source
        return delay, hops

    def spanning(self, members: Sequence[str], who: str) -> tuple[tuple[str, ...], tuple[Hop, ...]]:
        """The loop-free tree that joins the members' PoPs: its PoPs (transit included) and its hops.

        It is the union of the shortest ways from the first member's PoP, so it has no loop.
        """
        root = members[0]
        hops: dict[str, Hop] = {}
        for member in members:
            for hop in self.between(root, member, who):
                hops.setdefault(hop.target, hop)
        return (root, *hops), tuple(hops.values())

    def _tree(self, source: str) -> dict[str, Hop]:
        """PoP -> the hop by which it is reached from `source`."""
        if source in self._trees:
            return self._trees[source]
        reached: dict[str, Hop] = {}
        done: set[str] = set()
        heap: list[tuple[float, int, int, int, str, Hop | None]] = [(0.0, 0, 0, 0, source, None)]
        count = 0
        while heap:
            delay, length, _, _, pop, hop = heappop(heap)
            if pop in done:
                continue
            done.add(pop)
            if hop is not None:
                reached[pop] = hop
            for onward in self._hops[pop]:
                if onward.target not in done:
                    count += 1  # ties: the PoP and the link that the topology names first
                    key = (delay + onward.delay, length + 1, self._order[pop], count)
                    heappush(heap, (*key, onward.target, onward))
        self._trees[source] = reached
        return reached
