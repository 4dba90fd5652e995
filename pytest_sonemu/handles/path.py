"""A forwarding path of a service."""

from __future__ import annotations

from pytest_sonemu.handles.core import InstanceCore
from pytest_sonemu.handles.trace_results import PathCheck
from pytest_sonemu.planning.plan import PathPlan


class Path:
    """A forwarding path as the descriptor has it: `assert service.path("fp01").is_followed()`."""

    def __init__(self, core: InstanceCore, plan: PathPlan) -> None:
        self._core, self._plan = core, plan

    def __repr__(self) -> str:
        return f"<Path {self.id}: {' -> '.join(self.stations)}>"

    @property
    def id(self) -> str:
        """What the descriptor calls it."""
        return self._plan.id

    @property
    def stations(self) -> tuple[str, ...]:
        """The connection points in order, as they were written."""
        return self._plan.stations

    def is_followed(
        self,
        *,
        tcp: int | None = None,
        udp: int | None = None,
        icmp: bool = False,
        http: str | bool | None = None,
        timeout: float | str = 1.0,
    ) -> PathCheck:
        """Whether a conversation from its first station to its last crosses each in order, and no other.

        What is said is chosen as for `Service.trace`; by default it is TCP to port 80.
        """
        from pytest_sonemu.handles.trace import check_path

        if tcp is None and udp is None and not icmp and http is None:
            tcp = 80
        return check_path(
            self._core.bed,
            self._core.plan,
            self._plan,
            tcp=tcp,
            udp=udp,
            icmp=icmp,
            http=http,
            timeout=timeout,
        )
