"""What a test changed through its handles, and how it is changed back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from pytest_sonemu.errors import EmulationError, UndoError
from pytest_sonemu.handles.journal import Journal


@dataclass(frozen=True, slots=True)
class UndoFailure:
    """A step that could not be undone."""

    label: str
    error: Exception

    def __str__(self) -> str:
        return f"{self.label}: {type(self.error).__name__}: {self.error}"


class UndoStack:
    """Steps that take back what one view changed; the last change is taken back first.

    Thread-safe: two threads of a test may push at the same time.

        stack = UndoStack()
        stack.push(link.up, "link-1 up")
        failures = stack.close()

    `began` is when the view that owns it began, in seconds since the epoch (0: it sees all there was);
    what is undone is noted in `journal`. `test` is whose view it is: seeds come from it.
    """

    def __init__(self, journal: Journal | None = None, began: float = 0.0, test: str = "") -> None:
        self.began, self.test = began, test
        self._journal = journal
        self._steps: list[tuple[str, Callable[[], object]]] = []
        self._lock = threading.Lock()
        self._closed = False
        # Of blocks: whatever becomes of their errors, the view has not been put back as it was.
        self._failed: list[UndoFailure] = []

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def labels(self) -> tuple[str, ...]:
        """What stands to be undone, in the order in which it was done."""
        with self._lock:
            return tuple(label for label, _ in self._steps)

    def did(self, text: str, place: str = "", *, failed: bool = False) -> None:
        """Note for the report of a failure what was done, here or to a link."""
        if self._journal is not None:
            self._journal.note("did", text, place, failed=failed)

    def doing(self, text: str, place: str = "") -> AbstractContextManager[None]:
        """As `did`, for what a block does; if it raises, with the first line of why."""
        if self._journal is None:
            return nullcontext()
        return self._journal.noting("did", text, place)

    def push(self, step: Callable[[], object], label: str = "") -> None:
        """Call `step` when the view ends. Raises EmulationError if it has ended: nothing would undo it."""
        with self._lock:
            if self._closed:
                raise EmulationError(f"the view has ended, '{label or _name(step)}' would never be undone")
            self._steps.append((label or _name(step), step))

    def close(self) -> tuple[UndoFailure, ...]:
        """Undo everything, also after a step failed; the failures, first to last. A second call does nothing.

        Ctrl-C passes at once.
        """
        with self._lock:
            self._closed = True
            failed, self._failed = self._failed, []
        return (*failed, *self._unwind(0))

    @contextmanager
    def block(self) -> Iterator[None]:
        """Undo at the end of a `with` block what was done inside it. Raises UndoError.

        An error of the block itself goes before; `close` tells of what was not undone in any case.
        """
        floor = len(self._steps)
        try:
            yield
        finally:
            failures = self._unwind(floor)
            self._failed += failures
        if failures:
            raise UndoError.of(failures)

    def _unwind(self, floor: int) -> tuple[UndoFailure, ...]:
        failures: list[UndoFailure] = []
        while True:
            with self._lock:
                if len(self._steps) <= floor:
                    return tuple(failures)
                label, step = self._steps.pop()
            try:
                step()
            except Exception as error:  # noqa: BLE001 - reported by the caller: the remaining steps must run too
                failures.append(UndoFailure(label, error))
            if self._journal is not None:
                failed = bool(failures) and failures[-1].label == label
                self._journal.note("undone", label, failed=failed)


def _name(step: Callable[[], object]) -> str:
    return getattr(step, "__qualname__", None) or repr(step)
