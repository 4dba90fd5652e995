"""A link between two PoPs: the sum of the virtual links that are planned over it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytest_sonemu.handles.core import BedCore
from pytest_sonemu.handles.impairing import Impairable
from pytest_sonemu.handles.interfaces import read_outer
from pytest_sonemu.handles.results import DirectionStats, InterfaceStats, LinkStats
from pytest_sonemu.handles.undo import UndoStack
from pytest_sonemu.topology.model import PopLink


class PopLinkHandle:
    """A PoP link of a bed: `testbed.link("pop1", "pop2").stats()`."""

    def __init__(self, bed: BedCore, link: PopLink, undo: UndoStack) -> None:
        self._bed, self._link, self._undo = bed, link, undo

    def __repr__(self) -> str:
        return f"<PoP link {self.id}: {', '.join(self.virtual_links) or 'no virtual link'}>"

    @property
    def id(self) -> str:
        return self._link.name

    @property
    def virtual_links(self) -> tuple[str, ...]:
        """What is planned over it now, as "instance/link"."""
        return tuple(
            f"{core.plan.instance}/{link.id}"
            for core in self._bed.instances()
            for link in core.plan.links
            if self.id in link.pop_links
        )

    @contextmanager
    def impair(self, *, direction: str | None = None, **values: Any) -> Iterator[None]:
        """Impair it for the time of a block: `with link.impair(delay="50ms", loss="1%"): …`.

        Each direction is impaired, or one (`direction="pop1->pop2"`). Known are rate, burst,
        queue_packets, queue_bytes, delay, jitter, distribution, loss, loss_correlation, bursts, duplicate,
        reorder, corrupt, seed and their kin (`relay/model.py`). A nested block changes what it names and
        leaves the rest; at its end all is as it was before. Raises SettingsError.
        """
        with self._impairable().impaired(direction, values):
            yield

    def stats(self) -> LinkStats:
        """Packets and bytes that crossed it, per direction, summed over its virtual links."""
        outer = read_outer(self._bed.client)
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
        directions = (
            DirectionStats(self._link.a, self._link.b, there.rx_packets, there.rx_bytes),
            DirectionStats(self._link.b, self._link.a, back.rx_packets, back.rx_bytes),
        )
        return LinkStats(self.id, directions)

    def _impairable(self) -> Impairable:
        return Impairable(self._bed.client, self.id, (self._link.a, self._link.b), self._undo)

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
