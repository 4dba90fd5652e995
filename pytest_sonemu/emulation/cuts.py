"""Ends of links that are cut off while an instance runs, and mended again.

Each end may be cut for several causes (a virtual link, a PoP link, an interface that was taken down);
it is mended when none is left. Cuts outlive the interfaces: a VNF that restarts finds them again.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable

from pytest_sonemu.emulation.protocol import Cut
from pytest_sonemu.errors import NotFoundError
from pytest_sonemu.planning.batches import Batch, sink_batch
from pytest_sonemu.planning.names import sink_ends
from pytest_sonemu.planning.plan import DeploymentPlan

# What an end sends is lost, not what it receives: so a frame that is lost was seen to enter the link.
_PLACE = "egress protocol all pref 1"


class Cuts:
    """The cuts of one instance, as texts for `ip` and `tc`. Thread-safe."""

    def __init__(self, plan: DeploymentPlan) -> None:
        self._lock = threading.Lock()
        self._has_sink = False
        self._causes: dict[tuple[str, str], set[str]] = {}
        self.follow(plan)

    def follow(self, plan: DeploymentPlan) -> None:
        """Take note of another plan; what is cut of it stays cut."""
        with self._lock:
            self._number, self._splits = plan.number, plan.splits
            self._owners = {end.outer: end.endpoint for link in plan.links for end in link.ends}
            self._owners |= {i.outer: endpoint.id for endpoint in plan.endpoints for i in endpoint.interfaces}
            joints = {end for link in plan.links for joint in link.joints for end in (joint.a, joint.b)}
            self._links = [
                (
                    {end.outer for end in link.ends}
                    | {e for joint in link.joints for e in (joint.a, joint.b)},
                    link.ends,
                )
                for link in plan.links
            ]
            self._known = self._owners.keys() | joints
            for place in [place for place in self._causes if place[0] not in self._known]:
                del self._causes[place]

    def owners(self, ends: Iterable[str]) -> set[str]:
        """The endpoints that the ends belong to. Raises NotFoundError for an end that is not in the plan."""
        chosen = list(ends)
        for end in chosen:
            if end not in self._known:
                raise NotFoundError("end of a link", end, self._known)
        return {self._owners[end] for end in chosen if end in self._owners}

    def members(self, ends: Iterable[str]) -> dict[str, set[str]]:
        """The endpoints that links with these ends join, each with its interfaces in them."""
        chosen = set(ends)
        # The outer end of an interface in several links is in none of them, its arms are.
        found: dict[str, set[str]] = {}
        for split in self._splits:
            if split.outer in chosen:
                chosen |= {arm.end for arm in split.arms}
        for known, members in self._links:
            if chosen & known:
                for member in members:
                    found.setdefault(member.endpoint, set()).add(member.interface)
        return found

    def change(self, wish: Cut, present: Collection[str]) -> list[Batch]:
        """Take note, and say what there is to do at the ends that are there now."""
        with self._lock:
            changed = []
            for end in wish.ends:
                causes = self._causes.setdefault((end, wish.how), set())
                before = bool(causes)
                (causes.add if wish.cut else causes.discard)(wish.cause)
                if bool(causes) != before and end in present:
                    changed.append(end)
            return self._batches(changed, wish.how, cut=wish.cut)

    def losing_frames(self) -> frozenset[str]:
        """The ends at which frames are dropped now."""
        with self._lock:
            return frozenset(end for (end, how), causes in self._causes.items() if how == "frames" and causes)

    def again(self, ends: Collection[str]) -> list[Batch]:
        """What there is to do at ends that were made anew."""
        with self._lock:
            batches = []
            for how in ("carrier", "frames"):
                cut = [end for end in ends if self._causes.get((end, how))]
                batches += self._batches(cut, how, cut=True)
            return batches

    @staticmethod
    def asked_anew(interfaces: Iterable[str]) -> Batch:
        """What happens in an endpoint when a link is mended, or a VNF behind one is there again.

        Who asked for a neighbour meanwhile would ask again only after a second.
        """
        lines = tuple(f"neigh flush dev {name} nud incomplete" for name in sorted(interfaces))
        return Batch("ip", lines, "neighbours asked anew")

    def _batches(self, ends: list[str], how: str, *, cut: bool) -> list[Batch]:
        purpose = "links cut" if cut else "links mended"
        if not ends:
            return []
        if how == "carrier":
            state = "down" if cut else "up"
            return [Batch("ip", tuple(f"link set dev {end} {state}" for end in ends), purpose)]
        # Kernels without the action that drops exist, none without the one that redirects.
        first = [] if self._has_sink else [sink_batch(self._number)]
        self._has_sink = True
        sink, _ = sink_ends(self._number)
        lines = []
        for end in ends:
            if cut:
                lines.append(f"qdisc replace dev {end} clsact")
            lines.append(
                f"filter add dev {end} {_PLACE} u32 match u32 0 0 action mirred egress redirect dev {sink}"
                if cut
                else f"filter del dev {end} {_PLACE}"
            )
        return [*first, Batch("tc", tuple(lines), purpose)]
