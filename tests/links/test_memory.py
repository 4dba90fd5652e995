"""What waits in a relay takes no more memory than it may, however small the frames are."""

from __future__ import annotations

import os
import re
import socket
from functools import partial
from pathlib import Path

import pytest

from benchmarks.traffic import both
from pytest_sonemu.relay.core import CORE
from tests.links.lab import Lab, Site, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")
BOUND = 16 * 2**20
# Beside the frames: what a read and a reply need for a moment, and what pools keep for the next frames.
MARGIN = 8 * 2**20
COUNT = 40_000


def resident(lab: Lab) -> int:
    """The relay's resident memory in bytes."""
    assert lab.relay is not None
    status = Path(f"/proc/{lab.relay.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


def send(a: Site, size: int, count: int) -> None:
    """Frames of a private type, a few at a time: none is to be lost before the relay has read it."""
    with a.inside(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)) as out:
        out.bind(("eth", 0))
        frame = b"\xff" * 6 + b"\x02\0\0\0\0\1" + b"\x88\xb5" + bytes(size - 14)
        for number in range(1, count + 1):
            out.send(frame)
            if number % 2000 == 0:
                until(partial(read, a, number), "all were read")


def read(a: Site, count: int) -> bool:
    return bool(a.lab.client.counters()["flows"][a.name]["packets"] >= count)


@pytest.mark.parametrize("engine", ["core", pytest.param("python", marks=pytest.mark.reference)])
@pytest.mark.parametrize("size", [60, 300])
def test_many_small_frames_of_a_long_delay(engine: str, size: int) -> None:
    if engine == "core" and not CORE.exists():
        pytest.skip("the core was not built: make core")
    with Lab() as lab:
        lab.start_relay("--engine", engine, "--most-held", str(BOUND))
        a, b = lab.pair()
        lab.join(a, b, both(delay=100))
        before = resident(lab)
        send(a, size, COUNT)
        counters = lab.client.counters()
        assert counters["flows"][a.name]["memory"] > COUNT // 4, "there was no memory for the rest"
        assert BOUND * 0.9 < counters["held"] < BOUND * 1.1
        assert resident(lab) - before < BOUND + MARGIN
        assert lab.log() == ""
