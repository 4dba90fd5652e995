"""What is wrong of an impairment is said where it is written; one without a block warns."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pytest_sonemu.emulation.client import BedClient
from pytest_sonemu.errors import SettingsError
from pytest_sonemu.handles.impairing import Impairable
from pytest_sonemu.handles.layers import Layers
from pytest_sonemu.handles.undo import UndoStack


def link(ends: tuple[str, str] | None = ("fw:input", "input")) -> Impairable:
    """A link of no bed: whoever asks its client for anything fails."""
    return Impairable(Layers(cast(BedClient, object())), "firewall/link-1", ends, UndoStack())


@pytest.mark.parametrize(
    ("direction", "values"),
    [
        (None, {"delay": "5 apples"}),
        (None, {"dely": "5ms"}),
        ("input->nobody", {"delay": "5ms"}),
        (None, {"delay": "5000s"}),
        (None, {"rate": 0}),
        (None, {"loss": "1%", "seed": -1}),
    ],
)
def test_what_cannot_be_is_said_without_a_block(direction: str | None, values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        link().impaired(direction, values)


def test_an_impairment_without_a_block_warns() -> None:
    with pytest.warns(RuntimeWarning, match="impair of link-1 did nothing: it works for a block") as caught:
        link().impaired(None, {"delay": "5ms"})
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("ends", "there", "back"),
    [
        (("fw:output", "server:data"), ["fw->server", "fw:output -> server", "a->b"], ["server->fw:output"]),
        (("fw:input", "input"), ["fw->input"], ["input -> fw"]),
        (("pop1", "pop2"), ["pop1->pop2"], ["pop2->pop1"]),
        # Names go before places.
        (("b", "a"), ["b->a"], ["a->b"]),
        (("endpoint", "link"), ["out"], ["in"]),
    ],
)
def test_directions_are_named_by_their_ends(ends: tuple[str, str], there: list[str], back: list[str]) -> None:
    assert [link(ends)._direction(asked) for asked in there] == ["a->b"] * len(there)
    assert [link(ends)._direction(asked) for asked in back] == ["b->a"] * len(back)


def test_a_direction_that_two_ends_may_be_is_none() -> None:
    with pytest.raises(SettingsError, match="neither 'fw:left->fw:right' nor"):
        link(("fw:left", "fw:right")).impaired("fw->fw", {"delay": "5ms"})


def test_a_link_of_many_ends_has_no_direction() -> None:
    for asked in ("a->b", "b->a", "link-1->endpoints"):
        with pytest.raises(SettingsError, match="interface, direction 'out' or 'in'"):
            link(None).impaired(asked, {"delay": "5ms"})
