"""What is wrong of an impairment is said where it is written; one without a block warns."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pytest_sonemu.emulation.client import BedClient
from pytest_sonemu.errors import SettingsError
from pytest_sonemu.handles.impairing import Impairable
from pytest_sonemu.handles.undo import UndoStack


def link() -> Impairable:
    """A link of no bed: whoever asks its client for anything fails."""
    return Impairable(cast(BedClient, object()), "firewall/link-1", ("fw:input", "input"), UndoStack())


@pytest.mark.parametrize(
    ("direction", "values"),
    [(None, {"delay": "5 apples"}), (None, {"dely": "5ms"}), ("input->nobody", {"delay": "5ms"})],
)
def test_what_cannot_be_is_said_without_a_block(direction: str | None, values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        link().impaired(direction, values)


def test_an_impairment_without_a_block_warns() -> None:
    with pytest.warns(RuntimeWarning, match="impair of link-1 did nothing: it works for a block") as caught:
        link().impaired(None, {"delay": "5ms"})
    assert caught[0].filename == __file__
