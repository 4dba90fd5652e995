"""One interface of an endpoint: what it is now, and its link taken away and given back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from pytest_sonemu.handles.core import InstanceCore
from pytest_sonemu.handles.impairing import Impairable
from pytest_sonemu.handles.results import Interface, InterfaceStats
from pytest_sonemu.handles.undo import UndoStack
from pytest_sonemu.planning.plan import Interface as InterfaceAddress
from pytest_sonemu.planning.plan import InterfacePlan

if TYPE_CHECKING:
    from pytest_sonemu.handles.cutting import Down
    from pytest_sonemu.handles.schedule import Schedule, Steps


class InterfaceHandle:
    """An interface of an endpoint as one view sees it.

    service.vnf("fw").interface("input").down()
    """

    def __init__(
        self,
        core: InstanceCore,
        endpoint: str,
        plan: InterfacePlan,
        undo: UndoStack,
        read: Callable[[], Interface],
    ) -> None:
        self._core, self._endpoint, self._plan, self._undo, self._read = core, endpoint, plan, undo, read

    def __repr__(self) -> str:
        return repr(self.state)

    @property
    def name(self) -> str:
        """What the endpoint calls it."""
        return self._plan.name

    @property
    def connection_point(self) -> str:
        """The connection point that it is ("input"); `name` is the kernel's."""
        return self._plan.connection_point

    @property
    def mac(self) -> str:
        """The MAC address as the kernel has it now."""
        return self.state.mac

    @property
    def state(self) -> Interface:
        """All of it as it is now. Raises NotFoundError if the endpoint has taken it away."""
        return self._read()

    @property
    def addresses(self) -> tuple[InterfaceAddress, ...]:
        """The addresses it has now, with their prefix lengths."""
        return self.state.addresses

    @property
    def mtu(self) -> int:
        """The MTU in bytes, as it is now."""
        return self.state.mtu

    @property
    def is_up(self) -> bool:
        """Whether it is set up and has a carrier."""
        return self.state.up

    @property
    def stats(self) -> InterfaceStats:
        """Its counters, as the endpoint sees them."""
        return self.state.stats

    def impair(self, *, direction: str | None = None, **values: Any) -> AbstractContextManager[None]:
        """Impair its cable for the time of a block: `with interface.impair(rate="10Mbit", delay="5ms"): …`.

        Both directions, or one: `direction="out"` for what its endpoint sends, `"in"` for what it is given.
        The rest is as for `Link.impair`. Raises SettingsError.
        """
        return self._impairable().impaired(direction, values)

    def schedule(self, steps: Steps, *, direction: str | None = None) -> Schedule:
        """Impair it by steps over time: `[(0, {"delay": "10ms"}), ("2s", {"delay": "80ms", "loss": "1%"})]`.

        `ramp` and `flap` make steps; a path is a recorded trace, a CSV file of `at,rate,delay,loss`. Each
        step changes what it names; what is None is as before the schedule. Stopped by `stop`, the end of a
        `with` block or the view; then all is as it was before. Raises SettingsError.
        """
        return self._impairable().schedule(steps, direction)

    def _impairable(self) -> Impairable:
        target = f"{self._core.plan.instance}/{self._endpoint}:{self.name}"
        return Impairable(self._core.bed.layers, target, ("endpoint", "link"), self._undo)

    def down(self) -> Down:
        """Take its carrier away, as a pulled cable does, until `up`, the end of a `with` block or the view.

        Addresses and routes stay; the other end of its link keeps its carrier.
        """
        from pytest_sonemu.handles.cutting import take_down

        return take_down(self._core.bed.client, self._undo, self._what, self._ends, "carrier")

    def up(self) -> None:
        """Give it its carrier again; may be called again."""
        from pytest_sonemu.handles.cutting import up_again

        up_again(self._core.bed.client, self._undo, self._what, self._ends)

    @property
    def _what(self) -> str:
        return f"interface {self._endpoint}:{self.connection_point}"

    @property
    def _ends(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(self._core.plan.instance, (self._plan.outer,))]
