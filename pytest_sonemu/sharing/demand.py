"""Which beds can still be needed: counted from the collected tests, looked up after each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable
from dataclasses import dataclass

from pytest_sonemu.sharing.requests import Ask


@dataclass(frozen=True)
class Demand:
    """What is known of one test's ask before it runs.

    `key` is the ask's own where marks and settings say all of it (`exact`). Where a fixture decides
    at run time, it names that fixture: tests with the same key will get the same, once one has run.
    """

    key: Hashable
    exact: bool
    scope: str
    place: str


class Demands:
    """The demands of the tests still to run here."""

    def __init__(self) -> None:
        self._left: Counter[Hashable] = Counter()
        self._unresolved: Counter[tuple[str, str]] = Counter()
        self._resolved: set[Hashable] = set()
        self._became: defaultdict[Hashable, set[Hashable]] = defaultdict(set)

    def add(self, demand: Demand) -> None:
        self._left[demand.key] += 1
        if not demand.exact and demand.key not in self._resolved:
            self._unresolved[demand.scope, demand.place] += 1

    def became(self, demand: Demand, ask: Ask) -> None:
        """A test has run far enough to know what its fixtures ask for."""
        if demand.exact:
            return
        self._became[ask.key].add(demand.key)
        if demand.key not in self._resolved:
            self._resolved.add(demand.key)
            self._unresolved[demand.scope, demand.place] -= self._left[demand.key]

    def done(self, demand: Demand) -> None:
        """A test that had this demand has run."""
        self._left[demand.key] -= 1
        if not demand.exact and demand.key not in self._resolved:
            self._unresolved[demand.scope, demand.place] -= 1

    def may_need(self, ask: Ask) -> bool:
        """Whether a test still to run can ask for this."""
        if self._left[ask.key] > 0 or self._unresolved[ask.scope, ask.place] > 0:
            return True
        return any(self._left[key] > 0 for key in self._became.get(ask.key, ()))
