"""Results say their diagnosis in one line, and are not mistaken for a truth value."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from ipaddress import ip_address

import pytest

from pytest_sonemu.errors import ProbeError
from pytest_sonemu.handles.results import (
    CommandResult,
    ConnectResult,
    DirectionStats,
    InterfaceStats,
    LinkStats,
    PathVerdict,
    PingResult,
    Rtt,
)

ADDRESS = ip_address("10.30.1.2")
DROPPED = ConnectResult(
    "dropped", "input", "server", ADDRESS, "tcp", 23, PathVerdict(False, "fw", "there"),
    "seen into fw:input, not out of fw", lost_at="fw", duration=1.0,
)  # fmt: skip


def test_one_line() -> None:
    assert repr(DROPPED) == (
        "<dropped: tcp input -> server (10.30.1.2) port 23: seen into fw:input, not out of fw (1.000 s)>"
    )
    endless = ConnectResult("open", "x" * 300, "server", ADDRESS, "tcp", 1, PathVerdict(True), "y\nz")
    assert len(repr(endless)) < 200
    assert "\n" not in repr(endless)


@pytest.mark.parametrize(
    "result",
    [DROPPED, DROPPED.path, PingResult("a", "b", ADDRESS, 3, 3), CommandResult(("true",), 0, "", "", 0.1)],
)
def test_no_truth_value(result: object) -> None:
    with pytest.raises(TypeError, match="neither true nor false; compare its "):
        assert result


def test_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        DROPPED.outcome = "open"  # type: ignore[misc]


def test_round_trip_times() -> None:
    assert Rtt.of([0.3, 0.1, 0.2]) == Rtt(0.1, 0.2, 0.3, 0.3)
    many = Rtt.of([number / 1000 for number in range(1, 201)])
    assert (many.p99, many.max) == (0.198, 0.2)


def test_ping() -> None:
    result = PingResult("input", "server", ADDRESS, 4, 3, Rtt(0.0001, 0.000123, 0.1, 0.1))
    assert result.loss == pytest.approx(0.25)
    assert repr(result) == (
        "<ping input -> server (10.30.1.2): 3 of 4 answered, 25% lost, rtt median 0.123 ms (max 100 ms)>"
    )
    assert PingResult("input", "server", ADDRESS, 0, 0, error="no route").loss == 1


def test_command() -> None:
    failed = CommandResult(("nft", "list"), 1, "", "no such\nfile\n", 0.25, "fw")
    assert not failed.ok
    with pytest.raises(ProbeError, match=r"fw: `nft list` ended with 1 after 0.250 s:\n  no such\n  file$"):
        failed.check()
    assert repr(failed) == "<fw: `nft list` ended with 1 after 0.250 s: file>"
    good = CommandResult(("echo", "a b"), 0, "a b\n", "", 0.1)
    assert good.check() is good


def test_counters() -> None:
    older, newer = InterfaceStats(1, 10, 0, 2, 20, 0), InterfaceStats(4, 50, 1, 2, 20, 0)
    assert newer - older == InterfaceStats(3, 40, 1, 0, 0, 0)
    assert (newer - older) + older == newer
    stats = LinkStats(
        "l",
        (DirectionStats("input", "fw:in", 3, 300), DirectionStats("fw:in", "input", 2, 20, 1)),
    )
    assert stats["input"].packets == 3
    assert (stats.packets, stats.dropped) == (5, 1)
    with pytest.raises(KeyError, match="there are: input, fw:in"):
        stats["fw:out"]
