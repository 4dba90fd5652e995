"""A link between two PoPs: the sum of the virtual links that are planned over it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from pytest_sonemu.handles.core import BedCore
from pytest_sonemu.handles.impairing import Impairable
from pytest_sonemu.handles.interfaces import made_stats, read_outer, with_relay
from pytest_sonemu.handles.results import DirectionStats, InterfaceStats, LinkStats
from pytest_sonemu.handles.undo import UndoStack
from pytest_sonemu.planning.plan import LinkPlan
from pytest_sonemu.topology.model import PopLink

if TYPE_CHECKING:
    from pytest_sonemu.handles.capture import Capture, Post
    from pytest_sonemu.handles.cutting import Down
    from pytest_sonemu.handles.schedule import Schedule, Steps


class PopLinkHandle:
    """A PoP link of a bed: `testbed.link("pop1", "pop2").stats()`."""

    def __init__(self, bed: BedCore, link: PopLink, undo: UndoStack) -> None:
        self._bed, self._link, self._undo = bed, link, undo

    def __repr__(self) -> str:
        return f"<PoP link {self.id}: {', '.join(self.virtual_links) or 'no virtual link'}>"

    @property
    def id(self) -> str:
        """The names of its two PoPs, as in `"pop1-pop2"`."""
        return self._link.name

    @property
    def path(self) -> tuple[str, str]:
        """Its two PoPs, in the topology's order: `("pop1", "pop2")`."""
        return self._link.a, self._link.b

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The connection points whose virtual links are planned over it now, as "instance/fw:input"."""
        return tuple(f"{instance}/{end}" for instance, link in self._crossing() for end in link.ends)

    @property
    def virtual_links(self) -> tuple[str, ...]:
        """What is planned over it now, as "instance/link"."""
        return tuple(
            f"{core.plan.instance}/{link.id}"
            for core in self._bed.instances()
            for link in core.plan.links
            if self.id in link.pop_links
        )

    def impair(self, *, direction: str | None = None, **values: Any) -> AbstractContextManager[None]:
        """Impair it for the time of a block: `with link.impair(delay="50ms", loss="1%"): …`.

        Each direction is impaired, or one (`direction="pop1->pop2"`). Known are rate, burst,
        queue_packets, queue_bytes, delay, jitter, distribution, loss, loss_correlation, bursts, duplicate,
        reorder, corrupt, seed and their kin (`relay/model.py`). A nested block changes what it names, to
        nothing where that is None, and leaves the rest; at its end what it changed is as it was before.
        Raises SettingsError.
        """
        return self._impairable().impaired(direction, values)

    def schedule(self, steps: Steps, *, direction: str | None = None) -> Schedule:
        """Impair it by steps over time: `[(0, {"delay": "10ms"}), ("2s", {"delay": "80ms", "loss": "1%"})]`.

        `ramp` and `flap` make steps; a path is a recorded trace, a CSV file of `at,rate,delay,loss`. Each
        step changes what it names; what is None is as before the schedule. Stopped by `stop`, the end of a
        `with` block or the view; then all is as it was before. Raises SettingsError.
        """
        return self._impairable().schedule(steps, direction)

    def stats(self) -> LinkStats:
        """Packets and bytes that crossed it, per direction, summed over its virtual links.

        Of a link that is or was impaired also what the relay did: lost, overflowed, duplicated, …
        """
        outer = read_outer(self._bed.client, self._bed.client.past())
        there, back = InterfaceStats(), InterfaceStats()
        for core in self._bed.instances():
            for link in core.plan.links:
                if self.id not in link.pop_links:
                    continue
                for joint in link.joints:
                    if joint.pop_link == self.id:
                        end = outer.get(joint.a, InterfaceStats())
                        forward, backward = _sent(end), _received(end)
                        if joint.pop_a != self._link.a:
                            forward, backward = backward, forward
                        there, back = there + forward, back + backward
                if not link.joints:
                    a, b = link.ends
                    forward, backward = (_received(outer.get(end.outer, InterfaceStats())) for end in (a, b))
                    if not self._crossed_forward(link.pop_links, a.pop):
                        forward, backward = backward, forward
                    there, back = there + forward, back + backward
        totals, state = self._bed.client.relay_totals("links")
        relayed = totals.get(self.id, {})
        directions = (
            with_relay(
                DirectionStats(self._link.a, self._link.b, there.rx_packets, there.rx_bytes),
                relayed.get("a->b"),
            ),
            with_relay(
                DirectionStats(self._link.b, self._link.a, back.rx_packets, back.rx_bytes),
                relayed.get("b->a"),
            ),
        )
        return made_stats(self.id, directions, state)

    def _impairable(self) -> Impairable:
        return Impairable(self._bed.layers, self.id, (self._link.a, self._link.b), self._undo)

    def down(self) -> Down:
        """Take the PoP link down until `up`, the end of a `with` block, or the end of the view.

        The virtual links planned over it lose the frames that would cross it, and nobody's carrier goes:
        an E-Line is broken, an E-LAN falls into its parts. Ways are not planned anew.
        """
        from pytest_sonemu.handles.cutting import take_down

        return take_down(self._bed.client, self._undo, self._what, self._ends(), "frames")

    def up(self) -> None:
        """Bring it up again; may be called again."""
        from pytest_sonemu.handles.cutting import up_again

        up_again(self._bed.client, self._undo, self._what, self._ends())

    def capture(self, filter: str = "") -> Capture:  # noqa: A002
        """Every frame that crosses it, each once, from the beginning of a `with` block to its end.

        A packet's `at` is where it entered the PoP link: the connection point of an E-Line, the PoP for an
        E-LAN; its `direction` is "out". Addresses in the filter are plain ones.
        """
        from pytest_sonemu.handles.capture import Capture

        return Capture(self._bed, f"PoP link {self.id}", self._posts, filter)

    @property
    def _what(self) -> str:
        return f"PoP link {self.id}"

    def _crossing(self) -> Iterator[tuple[str, LinkPlan]]:
        for core in self._bed.instances():
            for link in core.plan.links:
                if self.id in link.pop_links:
                    yield core.plan.instance, link

    def _ends(self) -> list[tuple[str, tuple[str, ...]]]:
        found = []
        for instance, link in self._crossing():
            joints = [end for joint in link.joints if joint.pop_link == self.id for end in (joint.a, joint.b)]
            found.append((instance, tuple(joints) or tuple(end.outer for end in link.ends)))
        return found

    def _posts(self) -> list[Post]:
        from pytest_sonemu.handles.capture import Post

        posts = []
        for _, link in self._crossing():
            joints = [joint for joint in link.joints if joint.pop_link == self.id]
            for joint in joints:
                # What a bridge's port sends has crossed nothing yet.
                posts += [Post(joint.a, joint.pop_a, "out", received="in")]
                posts += [Post(joint.b, joint.pop_b, "out", received="in")]
            if not joints:
                posts += [Post(end.outer, str(end), "out") for end in link.ends]
        return posts

    def _crossed_forward(self, way: tuple[str, ...], start: str) -> bool:
        """Whether a way that starts in PoP `start` crosses this link from its `a` to its `b`."""
        links = {link.name: link for link in self._bed.client.topology.links}
        here = start
        for name in way:
            link = links[name]
            if name == self.id:
                return here == link.a
            here = link.b if here == link.a else link.a
        return True


def _received(stats: InterfaceStats) -> InterfaceStats:
    return InterfaceStats(rx_packets=stats.rx_packets, rx_bytes=stats.rx_bytes)


def _sent(stats: InterfaceStats) -> InterfaceStats:
    return InterfaceStats(rx_packets=stats.tx_packets, rx_bytes=stats.tx_bytes)
