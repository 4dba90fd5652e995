"""Who shares: the part of a session within which equal asks get the same bed."""

from __future__ import annotations

import pytest

from pytest_sonemu.sharing.settings import Scope


def place_of(item: pytest.Item, scope: Scope) -> str:
    """The node id of the session (""), module, class or function that `item` shares in.

    As with pytest's own fixtures, a function outside any class is a class of its own.
    """
    if scope == "session":
        return ""
    if scope == "module":
        module = item.getparent(pytest.Module)
        return module.nodeid if module is not None else item.nodeid
    if scope == "class":
        owner = item.getparent(pytest.Class)
        return owner.nodeid if owner is not None else item.nodeid
    return item.nodeid
