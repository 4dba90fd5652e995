"""Taking ends of links down for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from pytest_sonemu.emulation.protocol import Cut, CutKind
from pytest_sonemu.errors import BedGoneError, NotFoundError
from pytest_sonemu.handles.undo import UndoStack

if TYPE_CHECKING:
    from typing_extensions import Self

    from pytest_sonemu.emulation.client import BedClient

# Ends of one instance.
Ends = tuple[str, tuple[str, ...]]


class Down:
    """What was taken down; it is up again at the end of a `with` block, or with the view.

    with service.link("link-1").down():
        assert service.ping("input", "fw").loss == 1
    """

    def __init__(
        self, client: BedClient, undo: UndoStack, what: str, ends: Iterable[Ends], how: CutKind
    ) -> None:
        self._client, self._undo, self.what, self._how = client, undo, what, how
        self._ends = list(ends)
        with undo.doing(f"{what} taken down"):
            for instance, names in self._ends:
                client.request(Cut(instance, names, how, what))

    def up(self) -> None:
        """Bring it up again; may be called again."""
        up_again(self._client, self._undo, self.what, self._ends)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.up()

    def __repr__(self) -> str:
        return f"<{self.what} taken down>"


def take_down(client: BedClient, undo: UndoStack, what: str, ends: Iterable[Ends], how: CutKind) -> Down:
    """Cut ends off until the view ends. `what` names them, and is what they are mended by."""
    chosen = list(ends)
    # First the undo: it does nothing where nothing was cut.
    undo.push(lambda: bring_up(client, what, chosen), f"{what} up again")
    return Down(client, undo, what, chosen, how)


def up_again(client: BedClient, undo: UndoStack, what: str, ends: Iterable[Ends]) -> None:
    """`bring_up`, as a test asks for it."""
    with undo.doing(f"{what} brought up"):
        bring_up(client, what, ends)


def bring_up(client: BedClient, what: str, ends: Iterable[Ends]) -> None:
    """Mend what was cut under this name, in whichever way; nothing if that instance is gone."""
    for instance, names in ends:
        for how in _WAYS:
            with contextlib.suppress(BedGoneError, NotFoundError):
                client.request(Cut(instance, names, how, what, cut=False))


_WAYS: tuple[CutKind, ...] = ("frames", "carrier")
