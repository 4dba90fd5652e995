"""How readiness is written, and how waiting counts its time."""

from __future__ import annotations

import time
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from pytest_sonemu.errors import NotReadyError, SettingsError
from pytest_sonemu.handles.settling import Listener, listeners
from pytest_sonemu.handles.waiting import (
    Called,
    Command,
    File,
    Log,
    Port,
    State,
    parse_conditions,
    wait_until,
)


@pytest.mark.parametrize(
    ("written", "conditions"),
    [
        (80, (Port(80),)),
        ("80", (Port(80),)),
        ("tcp:80", (Port(80),)),
        ("udp:53", (Port(53, "udp"),)),
        ("tcp:127.0.0.1:80", (Port(80, "tcp", IPv4Address("127.0.0.1")),)),
        ("tcp:[::1]:80", (Port(80, "tcp", IPv6Address("::1")),)),
        ("log:rules: loaded", (Log("rules: loaded"),)),
        ("file:/run/x", (File("/run/x"),)),
        ("exec:pgrep nginx", (Command("pgrep nginx"),)),
        ([80, "log:up"], (Port(80), Log("up"))),
        (print, (Called(print),)),
        ([], ()),
    ],
)  # fmt: skip
def test_forms(written: object, conditions: tuple[object, ...]) -> None:
    assert parse_conditions(written) == conditions


@pytest.mark.parametrize(
    "written", ["", "web", "log:", "file:run/x", "tcp:x", 0, 70000, True, None, 1.5, "http:/x"]
)
def test_what_is_no_condition(written: object) -> None:
    with pytest.raises(SettingsError, match=r"vnfs.fw.ready: .*a callable"):
        parse_conditions(written, "vnfs.fw.ready")


def test_wait_until_tells_the_last_state() -> None:
    states = iter([State(False, "one"), State(False, "two"), *[State(False, "many")] * 1000])
    with pytest.raises(NotReadyError, match=r"^rules: not within 0.05 s; last: many; look at the log$"):
        wait_until(lambda: next(states), 0.05, "rules", "look at the log", pauses=(0.001,))


def test_wait_until_asks_once_even_without_time() -> None:
    wait_until(lambda: True, 0.0, "rules")


def test_wait_until_returns_as_soon_as_it_holds() -> None:
    answers = iter([False, False, True])
    start = time.monotonic()
    wait_until(lambda: next(answers), 10, "rules")
    assert time.monotonic() - start < 1


def test_listeners_from_the_kernels_tables(tmp_path: Path) -> None:
    net = tmp_path / "7" / "net"
    net.mkdir(parents=True)
    rest = "00000000:00000000 00:00000000 00000000     0        0 {} 1"
    (net / "tcp").write_text(
        "head\n"
        f" 0: 0100007F:1F90 00000000:0000 0A {rest.format(11)}\n"
        f" 1: 0200A8C0:0050 0300A8C0:C350 01 {rest.format(12)}\n"
    )
    (net / "tcp6").write_text(f"head\n 0: {'0' * 24}01000000:0050 {'0' * 32}:0000 0A {rest.format(13)}\n")
    (net / "udp").write_text(f"head\n 0: 00000000:0035 00000000:0000 07 {rest.format(14)}\n")
    assert listeners(7, tmp_path) == {
        Listener("tcp", IPv4Address("127.0.0.1"), 8080),
        Listener("tcp", IPv6Address("::1"), 80),
        Listener("udp", IPv4Address("0.0.0.0"), 53),
    }
    assert listeners(8, tmp_path) == frozenset()
