"""The suite in lanes side by side (`make test`, by xdist): a test marked `alone` runs while no other does.

Two locks of the run. Whoever begins passes the door; a test shares the room with others, or has it whole.
One that waits for the whole room holds the door meanwhile, so nobody else begins before it.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest


def _locks(config: pytest.Config) -> tuple[Path, Path] | None:
    """Door and room of this run; None where there is one lane."""
    if not hasattr(config, "workerinput"):
        return None
    # Of a worker of xdist; beside it lie those of the others.
    own: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    return own.parent / "door", own.parent / "room"


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    locks = _locks(item.config)
    if locks is None:
        yield
        return
    door_path, room_path = locks
    with room_path.open("wb") as room:
        with door_path.open("wb") as door:
            fcntl.flock(door, fcntl.LOCK_EX)
            fcntl.flock(room, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
            fcntl.flock(door, fcntl.LOCK_UN)
        yield
        # Said, and not only closed: what the test forked may have it open still.
        fcntl.flock(room, fcntl.LOCK_UN)
