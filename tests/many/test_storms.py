"""Two bridges between two LANs make a loop: it is cut, named where a person looks, and the bed goes on."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_sonemu import NetworkFunction, NetworkService, TestBed
from pytest_sonemu.emulation import netlink
from pytest_sonemu.handles.sap import Sap
from pytest_sonemu.handles.service import Service
from tests.support.machine import wait

pytestmark = pytest.mark.alone

BRIDGE = ["sonemu-forward", "bridge", "input", "output"]
LOOP = NetworkService.of(
    "loop",
    [NetworkFunction(name, image="sonemu/vnf-base", command=BRIDGE) for name in ("fw", "ids")],
    {},
    lans={
        "left": ["fw:input", "ids:input", "user", "other"],
        "right": ["fw:output", "ids:output", "far"],
    },
)
NAMED = "loop through fw:input, fw:output, ids:input, ids:output"


def send(sap: Sap, frames: int, target: bytes = b"\xff" * 6) -> None:
    with sap.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((sap.id, 0))
        for number in range(frames):
            sock.send(target + b"\x02\0\0\0\0\1\x88\xb5" + number.to_bytes(4, "big") + bytes(42))


@pytest.fixture(scope="module")
def bed() -> Iterator[TestBed]:
    with TestBed() as bed:
        yield bed


@pytest.fixture
def loop(bed: TestBed) -> Iterator[Service]:
    service = bed.start(LOOP, vnfs={"*": {"transparent": True}})
    yield service
    service.stop()


@pytest.mark.parametrize("frames", [1, 200])
def test_a_loop_is_cut_and_named_and_the_bed_goes_on(bed: TestBed, loop: Service, frames: int) -> None:
    began, told = time.time(), len(bed.notes)
    send(loop.sap("user"), frames)
    assert wait(lambda: len(bed.notes) > told, 15)
    assert time.time() - began < 10
    note = bed.notes[told]
    assert note == f"{loop.id}: {NAMED}: fw:input was taken down"
    (event,) = [e for e in loop._core.bed.client.events(began) if e.instance == loop.id]
    assert (event.endpoint, event.text) == ("fw", f"{NAMED}: fw:input was taken down")
    # It is quiet, and what is not the loop works: within the LAN, and on the bed.
    heard = loop.sap("user").interface("user").stats.rx_packets
    time.sleep(0.5)
    assert loop.sap("user").interface("user").stats.rx_packets - heard < 50
    assert loop.ping("user", "other", count=5, interval=0.01).received == 5
    another = bed.start(NetworkService.of("pair", [], {"line": ["a", "b"]}))
    assert another.ping("a", "b", count=3).received == 3
    another.stop()
    # What was cut may be had back by hand, and stands in the way of sharing all the same.
    assert loop.vnf("fw").interface("input").is_up is False
    loop.vnf("fw").interface("input").up()
    assert loop.vnf("fw").interface("input").is_up
    loop.view().close_view()
    assert loop.dirty == f"{NAMED}: fw:input was taken down"


def test_much_unicast_is_no_storm(bed: TestBed, loop: Service) -> None:
    """One bridge is taken out of the loop; what the other passes on is fast, and goes to one."""
    told = bed.notes
    loop.vnf("ids").stop()
    assert loop.sap("user").throughput("far", "udp", duration=4).rate > 0
    assert bed.notes == told


SUITE = """
import socket, time
import pytest
from pytest_sonemu import NetworkFunction, NetworkService

BRIDGE = ["sonemu-forward", "bridge", "input", "output"]
LOOP = NetworkService.of(
    "loop", [NetworkFunction(name, image="sonemu/vnf-base", command=BRIDGE) for name in ("fw", "ids")], {},
    lans={"left": ["fw:input", "ids:input", "user", "other"], "right": ["fw:output", "ids:output"]})
pytestmark = pytest.mark.sonemu(package=LOOP)

def test_that_makes_a_loop(service, testbed):
    user = service.sap("user")
    with user.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind(("user", 0))
        sock.send(b"\\xff" * 6 + b"\\x02\\0\\0\\0\\0\\1\\x88\\xb5" + bytes(46))
    input = service.vnf("fw").interface("input")
    service.vnf("fw").wait_until(lambda fw: not input.is_up, timeout=8)
    assert service.ping("user", "other").lost == 3

def test_the_next_has_another_instance(service):
    assert service.vnf("fw").interface("input").is_up
"""


def test_a_failing_test_says_what_stormed_and_the_next_has_a_new_instance(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "test_suite.py"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    rows = re.findall(r"^(PASSED|FAILED) test_suite.py::(\w+)", done.stdout, re.MULTILINE)
    assert {name: outcome for outcome, name in rows} == {
        "test_that_makes_a_loop": "FAILED",
        "test_the_next_has_another_instance": "PASSED",
    }, done.stdout
    story = done.stdout.partition("sonemu: what happened")[2]
    assert re.search(rf"! now +fw: {NAMED}: fw:input was taken down", story), done.stdout


def test_watching_costs_next_to_nothing(bed: TestBed) -> None:
    """Once a second: one request, answered in well below a millisecond for each hundred links."""
    service = bed.start(NetworkService.of("many", [], {f"l{n}": [f"a{n}", f"b{n}"] for n in range(50)}))
    with service._core.bed.client.socket(None, None, socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.settimeout(5)
        times = []
        for _ in range(20):
            start = time.perf_counter()
            counts = netlink.read_received(sock)
            times.append(time.perf_counter() - start)
    service.stop()
    assert len(counts) >= 100
    assert sorted(times)[10] < 0.005
