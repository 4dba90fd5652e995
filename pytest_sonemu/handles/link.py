"""A virtual link of a service."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from pytest_sonemu.emulation.protocol import CutKind
from pytest_sonemu.handles.arguments import yes_or_no
from pytest_sonemu.handles.core import InstanceCore
from pytest_sonemu.handles.impairing import Impairable
from pytest_sonemu.handles.interfaces import link_stats, read_outer
from pytest_sonemu.handles.results import Direction, LinkStats
from pytest_sonemu.handles.undo import UndoStack
from pytest_sonemu.planning.plan import LinkKind, LinkPlan, Network, Realisation

if TYPE_CHECKING:
    from pytest_sonemu.handles.capture import Capture
    from pytest_sonemu.handles.cutting import Down
    from pytest_sonemu.handles.schedule import Schedule, Steps


class Link:
    """A virtual link as one view sees it.

    before = service.link("link-1").stats()
    """

    def __init__(self, core: InstanceCore, plan: LinkPlan, undo: UndoStack) -> None:
        self._core, self._given, self._undo = core, plan, undo

    def __repr__(self) -> str:
        over = f" over {', '.join(self.pop_links)}" if self.pop_links else ""
        return f"<Link {self.id}: {self.kind} of {', '.join(self.endpoints)}{over}, {self.realisation}>"

    @property
    def _plan(self) -> LinkPlan:
        # Looked up anew: a change of the running instance makes it another.
        return self._core.plan.link(self._given.id) or self._given

    @property
    def id(self) -> str:
        """What the descriptor calls it."""
        return self._given.id

    @property
    def plan(self) -> LinkPlan:
        """How it was laid out: ends, bridges, joints, subnets."""
        return self._plan

    @property
    def kind(self) -> LinkKind:
        """`"E-Line"`, `"E-LAN"` or `"E-Tree"`."""
        return self._plan.kind

    @property
    def realisation(self) -> Realisation:
        """How it was planned; nothing that a test sees depends on it. One that is impaired while it runs is
        relayed for that time."""
        return self._plan.realisation

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The connection points it joins ("fw:input"), in the descriptor's order."""
        return tuple(map(str, self._plan.ends))

    @property
    def pop_links(self) -> tuple[str, ...]:
        """The PoP links it crosses, in order for an E-Line."""
        return self._plan.pop_links

    @property
    def path(self) -> tuple[str, ...]:
        """The PoPs it is in: of an E-Line in order, from its first end to its other."""
        ends = [self._core.plan.endpoint(end.endpoint) for end in self._plan.ends]
        found = dict.fromkeys(end.pop for end in ends[:1] if end is not None)
        joined = {link.name: (link.a, link.b) for link in self._core.bed.client.topology.links}
        for name in self.pop_links:
            found |= dict.fromkeys(sorted(joined[name], key=lambda pop: pop not in found))
        return tuple(found | dict.fromkeys(end.pop for end in ends if end is not None))

    @property
    def subnets(self) -> tuple[Network, ...]:
        """The subnets its addresses are from: one, or one of each family."""
        return self._plan.subnets

    @property
    def management(self) -> bool:
        """Whether it carries management and is no part of the service's own ways."""
        return self._plan.management

    def impair(self, *, direction: str | None = None, **values: Any) -> AbstractContextManager[None]:
        """Impair it for the time of a block: `with link.impair(delay="50ms", loss="1%"): …`.

        Each direction is impaired, or one of an E-Line (`direction="fw->server"`). Known are rate, burst,
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
        """Packets and bytes per direction since the link was made, from the kernel's counters.

        Of a link that is or was impaired also what the relay did: lost, overflowed, duplicated, …
        """
        client = self._core.bed.client
        totals, state = client.relay_totals("flows")
        return link_stats(self._plan, read_outer(client, client.past()), totals, state)

    def capture(self, filter: str = "", *, direction: Direction | None = "out") -> Capture:  # noqa: A002
        """Every frame on this link, from the beginning of a `with` block to its end.

        Each is seen once, where it comes out of an endpoint and enters the link; with `direction="in"`
        where it leaves the link, and with None at both places. Filters as for `Endpoint.capture`.
        """
        from pytest_sonemu.handles.capture import link_capture

        return link_capture(self._core.bed, self._core.plan, self._plan, filter, direction)

    def _impairable(self) -> Impairable:
        ends = (self.endpoints[0], self.endpoints[1]) if self.kind == "E-Line" else None
        target = f"{self._core.plan.instance}/{self.id}"
        return Impairable(self._core.bed.layers, target, ends, self._undo)

    def down(self, *, carrier: bool = True) -> Down:
        """Take the link down until `up`, the end of a `with` block, or the end of the view.

        Interfaces at its ends lose their carrier and keep addresses and routes; one that is in other
        links too keeps its carrier. With `carrier=False` frames are dropped and nobody notices, as when
        something in the middle breaks.
        """
        from pytest_sonemu.handles.cutting import take_down

        how: CutKind = "carrier" if yes_or_no(carrier, "carrier") else "frames"
        return take_down(self._core.bed.client, self._undo, self._what, self._ends, how)

    def up(self) -> None:
        """Bring the link up again; may be called again."""
        from pytest_sonemu.handles.cutting import up_again

        up_again(self._core.bed.client, self._undo, self._what, self._ends)

    @property
    def _what(self) -> str:
        return f"link {self.id}"

    @property
    def _ends(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(self._core.plan.instance, tuple(end.outer for end in self._plan.ends))]
