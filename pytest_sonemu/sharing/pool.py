"""The beds and instances of one pytest session, each started once for all who ask for the same.

An instance stands on a bed of its own, so that its addresses never depend on which tests ran before.
Used from pytest's main thread only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pytest_sonemu.errors import CapabilityError, EmulationError, MachineError
from pytest_sonemu.sharing.contracts import BedLike, OpenBed, ServiceLike
from pytest_sonemu.sharing.requests import Ask

KEEP_SECONDS = 2 * 60 * 60


class SameCauseError(EmulationError):
    """Another test has already shown why this bed or instance cannot start."""

    def __init__(self, first: str, error: BaseException) -> None:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        super().__init__(f"same cause as in {first}: {lines[0]}")
        self.first, self.error = first, error


@dataclass(eq=False)
class Held:
    """A bed of the pool, with its instance if the ask names a package."""

    ask: Ask
    first_user: str
    bed: BedLike
    service: ServiceLike | None = None
    kept: bool = False
    users: int = 0
    spoilt: str | None = None


class Pool:
    """`ready` is called with every bed and instance that came up, before anybody gets it; `busy` with
    whether a bed is up. With `keep_all` beds are let go instead of ended."""

    def __init__(
        self,
        open_bed: OpenBed,
        ready: Callable[[BedLike, ServiceLike | None], object] = lambda bed, service: None,
        busy: Callable[[bool], object] = lambda up: None,
        keep_all: bool = False,
    ) -> None:
        self._open_bed, self._ready, self._busy, self._keep_all = open_bed, ready, busy, keep_all
        self._held: dict[Hashable, Held] = {}
        self._apart: list[Held] = []
        self._failed: dict[Hashable, tuple[str, Exception]] = {}
        self._known: dict[Hashable, Exception] = {}

    def __len__(self) -> int:
        return len(self._held) + len(self._apart)

    def __iter__(self) -> Iterator[Held]:
        return iter([*self._held.values()])

    @property
    def apart(self) -> tuple[Held, ...]:
        """The beds that factories hold for their own fixtures; `first_user` is the node they are for."""
        return tuple(self._apart)

    def get(self, ask: Ask, user: str) -> Held:
        """The shared bed for `ask`, started now if nobody has yet.

        Raises what the start raises, for the first who asks; SameCauseError for all others.
        """
        held = self._held.get(ask.key)
        if held is not None and held.bed.gone:
            self._forget(held)
            held = None
        if held is None:
            held = self._held[ask.key] = self._start(ask, user)
        return held

    def own(self, ask: Ask, user: str) -> Held:
        """A bed for one fixture alone: it ends by `end`, not when demand does."""
        held = self._start(ask, user)
        self._apart.append(held)
        return held

    def start_on(self, bed: BedLike, ask: Ask, user: str) -> ServiceLike:
        """An instance on a bed that somebody else holds."""
        with self._noting(("on", bed.name, ask.content), user):
            service = bed.start(ask.package, **ask.options)
            self._ready(bed, service)
            return service

    def end(self, held: Held) -> None:
        """End a bed and what is on it; a kept one is let go instead."""
        self._forget(held)
        try:
            if held.kept or self._keep_all:
                held.bed.keep(KEEP_SECONDS)
            else:
                held.bed.end()
        finally:
            self._busy(bool(self))

    def end_unneeded(self, needed: Callable[[Ask], bool]) -> None:
        """End what no test still to run here can need. The first error is raised, after all were tried."""
        self._end_all([held for held in self if not needed(held.ask)])

    def cannot_start(self, ask: Ask, error: Exception) -> None:
        """It is known already why this cannot start: the first test that needs it shows it."""
        self._known[ask.content] = error

    @contextmanager
    def noting(self, ask: Ask, user: str) -> Iterator[None]:
        """An error in the block is the reason why this cannot start: all others are told of it."""
        with self._noting(ask.content, user):
            yield

    def holder(self, bed: BedLike) -> Held | None:
        """What the pool holds under that bed's name."""
        return next((held for held in [*self, *self._apart] if held.bed.name == bed.name), None)

    def close(self) -> None:
        """End everything, side by side."""
        self._end_all([*self._held.values(), *self._apart])

    def _end_all(self, unneeded: list[Held]) -> None:
        errors: list[Exception] = []

        def end(held: Held) -> None:
            try:
                self.end(held)
            except Exception as error:  # noqa: BLE001 - raised below, after the others' turn
                errors.append(error)

        if len(unneeded) == 1:
            end(unneeded[0])
        else:
            # Daemon threads: a second Ctrl-C leaves at once, and the beds' own leases end them.
            threads = [threading.Thread(target=end, args=(held,), daemon=True) for held in unneeded]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        if errors:
            raise errors[0]

    def _forget(self, held: Held) -> None:
        if self._held.get(held.ask.key) is held:
            del self._held[held.ask.key]
        if held in self._apart:
            self._apart.remove(held)

    def _start(self, ask: Ask, user: str) -> Held:
        first = self._failed.get("machine") or self._failed.get(ask.content)
        if first is not None:
            raise SameCauseError(*first)
        if ask.content in self._known:
            with self._noting(ask.content, user):
                pass
        with self._noting(("bed", ask.bed_content), user):
            try:
                self._busy(True)
                bed = self._open_bed(ask.topology, ask.images, ask.seed)
            except MachineError as error:
                self._failed["machine"] = (user, error)
                raise
        held = Held(ask, user, bed)
        try:
            with self._noting(ask.content, user):
                self._ready(bed, None)
                if ask.package is not None:
                    held.service = bed.start(ask.package, **ask.options)
                    self._ready(bed, held.service)
        except BaseException:
            bed.end()
            self._busy(bool(self))
            raise
        return held

    @contextmanager
    def _noting(self, content: Hashable, user: str) -> Iterator[None]:
        first = self._failed.get(content)
        if first is not None:
            raise SameCauseError(*first)
        try:
            if content in self._known:
                raise self._known[content]
            yield
        except Exception as error:
            self._failed[content] = (user, error)
            raise


def is_lack(error: BaseException) -> bool:
    """Whether the machine lacks something, so that `--sonemu-missing=skip` may skip."""
    cause = error.error if isinstance(error, SameCauseError) else error
    return isinstance(cause, (MachineError, CapabilityError))
