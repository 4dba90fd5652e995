"""Who may be swept: a table of what labels say and what is seen here (ruling 12)."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner

from pytest_sonemu.cli import main
from pytest_sonemu.emulation.places import SOCKET_NAME
from pytest_sonemu.emulation.sweep import (
    BOOT,
    KEEPER_PID,
    KEEPER_START,
    MACHINE,
    PIDNS,
    Here,
    judge,
    labels,
    sweep,
)

HERE = Here("machine-1", "boot-1", "pid:[1]")
KEEPERS = {(100, 5000)}
GOOD = {KEEPER_PID: "100", KEEPER_START: "5000", BOOT: "boot-1", MACHINE: "machine-1", PIDNS: "pid:[1]"}


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "alive"),
        ({KEEPER_PID: "101"}, "dead"),
        ({KEEPER_START: "5001"}, "dead"),  # the pid is somebody else's by now
        ({PIDNS: "pid:[2]"}, "unknown"),
        ({PIDNS: "pid:[2]", KEEPER_PID: "101"}, "unknown"),
        ({BOOT: "boot-0"}, "dead"),
        ({BOOT: "boot-0", PIDNS: "pid:[2]"}, "dead"),
        ({BOOT: "boot-0", MACHINE: "machine-2"}, "unknown"),
        ({BOOT: "boot-0", MACHINE: ""}, "unknown"),
        ({BOOT: None}, "unknown"),
        ({PIDNS: None}, "unknown"),
        ({KEEPER_PID: None}, "unknown"),
        ({KEEPER_START: "soon"}, "unknown"),
    ],
)
def test_judging(change: dict[str, str | None], verdict: str) -> None:
    found = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    assert judge(found, HERE, lambda pid, started: (pid, started) in KEEPERS) == verdict


def test_a_machine_without_a_name_judges_no_other_boot() -> None:
    assert judge({**GOOD, BOOT: "boot-0", MACHINE: ""}, Here("", "boot-1", "pid:[1]")) == "unknown"


def test_our_own_labels_are_alive() -> None:
    mine = labels("bed", "run", 1000)
    assert judge(mine, Here.read()) == "alive"
    assert mine["sonemu.testbed"] == "bed"
    assert mine["sonemu.uid"] == "1000"
    assert judge({**mine, KEEPER_START: "1"}, Here.read()) == "dead"


def test_run_directories_without_a_keeper_go(tmp_path: Path) -> None:
    api = mock.Mock(containers=lambda **_: [])
    beds = {name: tmp_path / str(os.getuid()) / name for name in ("lives", "dead", "starting", "other")}
    for folder in beds.values():
        folder.mkdir(parents=True)
        (folder / "state.json").write_text("{}")
    with socket.socket(socket.AF_UNIX) as lives, socket.socket(socket.AF_UNIX) as dead:
        for name, keeper in (("lives", lives), ("dead", dead)):
            keeper.bind(str(beds[name] / SOCKET_NAME))
        lives.listen()
        dead.close()
        removed = sweep(api, run_root=tmp_path)
    assert [(each.kind, each.bed, each.removed) for each in removed] == [("run directory", "dead", True)]
    assert sorted(path.name for path in beds["lives"].parent.iterdir()) == ["lives", "other", "starting"]


@pytest.mark.parametrize(
    ("status", "removed", "under_way", "exit_code", "said"),
    [
        (404, True, False, 0, "removed container fw of bed dead"),
        (409, False, True, 0, "left container fw of bed dead: its removal is under way in Docker"),
        (500, False, False, 1, "left container fw of bed dead: no"),
    ],
)
def test_what_docker_says_of_a_removal(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    status: int,
    removed: bool,
    under_way: bool,
    exit_code: int,
    said: str,
) -> None:
    from docker.errors import APIError

    tags = {**labels("dead", "run", os.getuid()), KEEPER_START: "1"}
    response = mock.Mock(status_code=status, reason="Refused")
    api = mock.Mock(
        containers=lambda **_: [{"Id": "1" * 64, "Names": ["/fw"], "Labels": tags}],
        remove_container=mock.Mock(side_effect=APIError("no", response, "no")),
    )
    (found,) = remnants = sweep(api, bed="dead", run_root=tmp_path)
    assert (found.removed, found.under_way) == (removed, under_way)
    monkeypatch.setattr("pytest_sonemu.emulation.docker_api.connect", lambda: api)
    monkeypatch.setattr("pytest_sonemu.emulation.sweep.sweep", lambda *_, **__: remnants)
    done = CliRunner().invoke(main, ["clean", "dead"])
    assert (done.exit_code, done.output) == (exit_code, f"{said}\n")
