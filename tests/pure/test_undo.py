"""The undo stack of a view."""

from __future__ import annotations

import pytest

from pytest_sonemu.errors import EmulationError, UndoError
from pytest_sonemu.handles.undo import UndoStack


def test_reverse_order_and_all_failures() -> None:
    stack, order = UndoStack(), list[str]()

    def refuse() -> None:
        raise OSError("gone")

    stack.push(lambda: order.append("a"), "a")
    stack.push(refuse, "b")
    stack.push(lambda: order.append("c"), "c")
    assert stack.labels == ("a", "b", "c")
    assert [str(failure) for failure in stack.close()] == ["b: OSError: gone"]
    assert order == ["c", "a"]
    assert stack.close() == ()


def test_nothing_is_pushed_on_an_ended_view() -> None:
    stack = UndoStack()
    stack.close()
    with pytest.raises(EmulationError, match="'x' would never be undone"):
        stack.push(lambda: None, "x")


def test_a_step_may_push_another() -> None:
    """A step that itself changes something (a start after a stop) is undone too, within a block."""
    stack, order = UndoStack(), list[str]()
    stack.push(lambda: order.append("outer"))
    with stack.block():
        stack.push(lambda: stack.push(lambda: order.append("inner")))
    assert order == ["inner"]
    stack.close()
    assert order == ["inner", "outer"]


def test_a_block_tells_what_it_could_not_undo() -> None:
    stack = UndoStack()

    def refuse() -> None:
        raise OSError("gone")

    with (
        pytest.raises(UndoError, match=r"1 of the .*\n  link up: OSError: gone"),
        stack.block(),
    ):
        stack.push(refuse, "link up")


def test_what_a_block_could_not_undo_is_told_at_the_end_whatever_became_of_its_error() -> None:
    stack = UndoStack()

    def refuse() -> None:
        raise OSError("gone")

    def fail() -> None:
        stack.push(refuse, "link up")
        raise ValueError("the test's own")

    with pytest.raises(ValueError, match="the test's own"), stack.block():
        fail()
    with pytest.raises(UndoError), stack.block():
        stack.push(refuse, "link down")
    assert [failure.label for failure in stack.close()] == ["link up", "link down"]
    assert stack.close() == ()


def test_ctrl_c_passes_at_once() -> None:
    stack, order = UndoStack(), list[str]()

    def interrupt() -> None:
        raise KeyboardInterrupt

    stack.push(lambda: order.append("a"))
    stack.push(interrupt)
    with pytest.raises(KeyboardInterrupt):
        stack.close()
    assert order == []
