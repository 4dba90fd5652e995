"""Which flows the kernel carries by itself, because nothing is done to their frames, and what it counted."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pytest_sonemu.relay.redirects import Redirects


@dataclass(slots=True, eq=False)
class Passed:
    """Wire frames and bytes of one flow that the kernel carried."""

    packets: int = 0
    bytes: int = 0
    earlier: tuple[int, int] = (0, 0)


class Carried(Protocol):
    """A flow as it is now: where its frames leave, and what the kernel carried of it."""

    egress: int
    passed: Passed


@dataclass(slots=True)
class Shortcuts:
    """Flows by the index of their ingress."""

    _redirects: Redirects = field(default_factory=Redirects)
    _there: dict[int, tuple[Carried, int]] = field(default_factory=dict)
    _known: set[int] = field(default_factory=set)
    _heard: set[int] | None = None
    _refused: bool = False

    def settle(
        self, flows: Mapping[int, Carried], wanted: set[int], listen: Callable[[set[int]], None]
    ) -> None:
        """Have the kernel carry the wanted ones of these flows, and `listen` to all others.

        First a new redirect, then fewer to be listened to: just then a frame may come twice, none is lost.
        """
        for ingress in flows.keys() - self._known:
            self._redirects.remove(ingress)  # of a relay before this one that was killed
        self._known = set(flows)
        over = {
            ingress
            for ingress, (flow, egress) in self._there.items()
            if ingress not in wanted or flows[ingress] is not flow or flow.egress != egress
        }
        for ingress in wanted - (self._there.keys() - over):
            if ingress in over:
                self._end(ingress)
                over.remove(ingress)
            self._begin(ingress, flows[ingress])
        heard = flows.keys() - (self._there.keys() - over)
        if heard != self._heard:
            listen(heard)
            self._heard = heard
        for ingress in over:
            self._end(ingress)

    def count(self) -> None:
        """Bring all that the kernel has carried up to date."""
        for ingress, (flow, _) in self._there.items():
            passed, (packets, size) = flow.passed, self._redirects.counted(ingress)
            passed.packets, passed.bytes = passed.earlier[0] + packets, passed.earlier[1] + size

    def has(self, ingress: int) -> bool:
        return ingress in self._there

    def close(self) -> None:
        self._redirects.close()

    def _begin(self, ingress: int, flow: Carried) -> None:
        if self._refused:
            return
        try:
            self._redirects.add(ingress, flow.egress)
        except OSError as error:
            # Without u32 for good; if an interface has gone, until it is told of another.
            self._refused = error.errno in (errno.ENOENT, errno.EOPNOTSUPP)
            return
        self._there[ingress] = flow, flow.egress

    def _end(self, ingress: int) -> None:
        flow, _ = self._there.pop(ingress)
        packets, size = self._redirects.counted(ingress)
        passed = flow.passed
        passed.earlier = passed.packets, passed.bytes = passed.earlier[0] + packets, passed.earlier[1] + size
        self._redirects.remove(ingress)
