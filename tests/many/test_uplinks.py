"""A SAP with a way out of the bed: to a server that the test made outside, where nothing else is changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
needs_slirp = pytest.mark.skipif(shutil.which("slirp4netns") is None, reason="no slirp4netns")


def play(scene: str) -> dict[str, Any]:
    """A scene of `tests/support/outside.py` in a namespace of its own that stands for the machine's."""
    if os.geteuid() != 0:
        pytest.skip("a namespace of the test's own needs root")
    done = subprocess.run(
        ["unshare", "-n", sys.executable, "-m", "tests.support.outside", scene],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


@needs_slirp
def test_nat_reaches_what_the_machine_reaches_and_not_the_machine() -> None:
    assert play("nat") == {
        # By connections of the machine's own, from the SAP and from VNFs behind it.
        "calls": dict.fromkeys(("out", "fw", "app"), "198.51.100.1"),
        "second": "198.51.100.1",
        "loopback": ["", ""],
        "addresses": ["10.10.0.1/30", "10.10.1.1/30"],
        "rules": "",
        "taps": 2,
        "taps after one stopped": 1,
        "dirty": None,
        "taps after the end": 0,
    }


@needs_slirp
def test_a_killed_keeper_takes_the_way_out_with_it() -> None:
    assert play("nat_of_a_killed_keeper") == {"before": 1, "gone": True}


def test_an_interface_of_the_machine_moves_in_and_back_with_all_it_has() -> None:
    seen = play("interface")
    assert seen["before"] == [
        "eth7@if2 UP 198.51.100.1/24",
        "198.51.100.0/24 proto kernel scope link src 198.51.100.1",
        "203.0.113.0/24 via 198.51.100.2 metric 77",
    ]
    assert seen["calls"] == dict.fromkeys(("out", "fw", "app"), "198.51.100.1")
    assert (seen["here meanwhile"], seen["away again"]) == ([], True)
    assert (seen["back after a stop"], seen["back"]) == (True, True)


def test_it_comes_back_when_the_owner_is_killed() -> None:
    seen = play("interface_of_a_killed_owner")
    assert seen["back"], seen


def test_what_cannot_be_given_is_refused_and_stays() -> None:
    seen = play("refused")
    assert seen["still here"]
    assert "the default route of this machine leads out of 'eth7'" in seen["errors"]["eth7"]
    assert seen["errors"]["eth8"].startswith("NotFoundError")
    assert seen["errors"]["lo"].startswith("NotFoundError")
