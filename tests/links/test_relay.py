"""The relay on real interfaces: what comes out of it, how it is steered, how it ends."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from pytest_sonemu.emulation import namespaces
from pytest_sonemu.errors import EmulationError, SettingsError
from pytest_sonemu.relay.client import RelayClient
from pytest_sonemu.relay.core import CORE
from pytest_sonemu.relay.model import FlowSpec, Impairment, LinkSpec
from tests.links.lab import Lab, Site, end, flows, quantile, train, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")


@pytest.fixture(params=["core", pytest.param("python", marks=pytest.mark.reference)])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    if request.param == "core" and not CORE.exists():
        pytest.skip("the core was not built: make core")
    with Lab() as lab:
        assert lab.start_relay("--engine", request.param).hello().engine == request.param
        yield lab
        assert lab.relay is not None
        assert lab.log() == ""


def link(name: str = "l", **impairment: Any) -> LinkSpec:
    return LinkSpec(name, Impairment(**impairment), Impairment(**impairment))


def packet_socket(site: Site) -> socket.socket:
    """Sees every frame at a site's own end, and sends any."""

    def make() -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        made.setsockopt(263, 8, 1)  # PACKET_AUXDATA: the tags
        made.bind(("eth", 0x0003))
        made.settimeout(2)
        return made

    return site.lab.stack.enter_context(site.inside(make))


def tcp(a: Site, b: Site, amount: int) -> float:
    """Send bytes over one connection and compare them at the other end; seconds it took."""
    chunk = random.Random(1).randbytes(2**16)
    with (
        b.inside(lambda: socket.create_server((b.address, 0))) as server,
        a.inside(socket.socket) as out,
    ):
        begun = time.monotonic()
        out.settimeout(20)
        out.connect(server.getsockname())
        into, _ = server.accept()
        with into:
            into.settimeout(20)
            sent = got = 0
            out.setblocking(False)
            expected = chunk * 2
            while got < amount:
                if sent < amount:
                    with contextlib.suppress(BlockingIOError):
                        sent += out.send(expected[sent % len(chunk) :][: amount - sent])
                into.settimeout(0.0 if sent < amount else 20)
                try:
                    data = into.recv(2**16)
                except BlockingIOError:
                    time.sleep(0.0002)
                    continue
                assert data, "the connection was closed early"
                assert data == expected[got % len(chunk) :][: len(data)]
                got += len(data)
        return time.monotonic() - begun


def lost_numbers(a: Site, b: Site, count: int) -> set[int]:
    came = {arrival.number for arrival in train(a, b, count, 0.0002, settle=0.3)}
    return set(range(count)) - came


def test_what_goes_in_comes_out(lab: Lab) -> None:
    a, b = lab.pair()
    lab.join(a, b)
    assert lost_numbers(a, b, 200) == set()
    assert tcp(a, b, 5_000_000) < 20
    counters = lab.client.counters()["flows"]
    assert counters["a1"]["bytes"] == counters["a1"]["sent_bytes"] > 5_000_000
    # Wire frames, not super-frames: 1448 bytes of data in each.
    assert counters["a1"]["packets"] > 5_000_000 / 1448
    assert counters["b1"]["refused"] == 0


@pytest.mark.kernel
def test_nothing_crosses_that_was_not_joined(lab: Lab) -> None:
    (a, b), (c, d) = lab.pair(1), lab.pair(2)
    lab.join(a, b, link(delay=0.001))
    ends = {site.name: packet_socket(site) for site in (a, b, c, d)}
    broadcast = b"\xff" * 6 + b"\x02\0\0\0\0\1" + b"\x88\xb5" + b"private".ljust(50)
    for name in ("a1", "a2"):
        ends[name].send(broadcast)
    assert ends["b1"].recv(2000) == broadcast
    for name in ("a1", "a2", "b2"):
        ends[name].settimeout(0.2)
    with pytest.raises(TimeoutError):
        ends["a1"].recv(2000)
    with pytest.raises(TimeoutError):
        ends["b2"].recv(2000)


@pytest.mark.parametrize("tags", ["81000007", "88a80003", "88a8000381000007"])
def test_vlan_tags_stay(lab: Lab, tags: str) -> None:
    a, b = lab.pair()
    lab.join(a, b)
    ours, theirs = packet_socket(a), packet_socket(b)
    body = b"\x88\xb5" + b"tagged".ljust(50)
    ours.send(b"\xff" * 6 + b"\x02\0\0\0\0\1" + bytes.fromhex(tags) + body)
    data, ancillary, _, _ = theirs.recvmsg(2000, 64)
    *_, tag, tag_type = struct.unpack("=IIIHHHH", ancillary[0][2])
    outer = struct.pack("!HH", tag_type, tag)
    assert outer + data[12:] == bytes.fromhex(tags) + body


@pytest.mark.kernel
def test_tcp_over_vlan_interfaces(lab: Lab) -> None:
    a, b = lab.pair()
    for impaired in (link(), link(loss=0.001, delay=0.001)):
        lab.join(a, b, impaired)
        if impaired == link():
            for site in (a, b):
                batch = "link add link eth name eth.7 type vlan id 7\nlink set eth.7 up\n"
                try:
                    namespaces.run_inside(site.namespace, ["ip", "-batch", "-"], batch)
                except EmulationError as error:
                    pytest.skip(f"this kernel has no VLAN interfaces: {error}")
                site.address = site.address.replace("10.1.0.", "10.1.7.")
                batch = f"addr add {site.address}/24 dev eth.7\n"
                namespaces.run_inside(site.namespace, ["ip", "-batch", "-"], batch)
        tcp(a, b, 2_000_000)


@pytest.mark.parametrize("delay", [0.001, 0.01, 0.05])
def test_delay(lab: Lab, delay: float) -> None:
    a, b = lab.pair()
    lab.join(a, b, link(delay=delay))
    delays = [arrival.delay for arrival in train(a, b, 200, 0.002)][20:]
    assert len(delays) == 180
    assert min(delays) >= delay
    assert quantile(delays, 0.5) <= delay + max(0.05 * delay, 0.001)


def test_each_direction_alone(lab: Lab) -> None:
    a, b = lab.pair()
    lab.join(a, b, LinkSpec("l", forward=Impairment(delay=0.03)))
    there = [arrival.delay for arrival in train(a, b, 20, 0.002)]
    back = [arrival.delay for arrival in train(b, a, 20, 0.002)]
    assert min(there) >= 0.03
    assert quantile(back, 0.5) < 0.01


def test_three_links_in_a_row(lab: Lab) -> None:
    a, b = lab.pair()
    lab.join(a, b, *(link(name, delay=0.005) for name in "xyz"))
    delays = [arrival.delay for arrival in train(a, b, 50, 0.002)]
    assert min(delays) >= 0.015
    assert quantile(delays, 0.5) < 0.018


def test_the_same_seed_loses_the_same_packets(lab: Lab) -> None:
    (a, b), (c, d) = lab.pair(1), lab.pair(2)
    lossy = link(loss=0.05, seed=11)

    def pattern(seed: int) -> set[int]:
        # Taken away and set anew: numbering starts again.
        lab.client.change([link()])
        lab.client.change([link(loss=0.05, seed=seed)])
        return lost_numbers(a, b, 1000)

    lab.client.change([lossy], [*flows(a, b, lossy, name="one"), *flows(c, d, lossy, name="two")])
    first = pattern(11)
    assert abs(len(first) - 50) < 5 * math.sqrt(1000 * 0.05 * 0.95)
    with noise(c, d):
        assert pattern(11) == first, "another virtual link on the same link shifts nothing"
    assert pattern(12) != first


@contextlib.contextmanager
def noise(a: Site, b: Site) -> Iterator[None]:
    """Datagrams that nobody waits for, as long as this lasts."""
    program = "import socket, sys, time\nout = socket.socket(2, 2)\n"
    program += "while True:\n out.sendto(b'noise', (sys.argv[1], 9))\n time.sleep(.0007)\n"
    process = a.popen([sys.executable, "-c", program, b.address])
    yield
    end(process)


@pytest.mark.kernel
def test_tcp_loses_wire_frames(lab: Lab) -> None:
    """Of super-frames it would be one in 44, and 44 segments each."""
    a, b = lab.pair()
    lab.join(a, b, LinkSpec("l", forward=Impairment(loss=0.01, seed=4)))
    tcp(a, b, 8_000_000)
    hop = lab.client.counters()["flows"]["a1"]["hops"][0]
    assert hop["packets"] > 8_000_000 / 1448
    assert abs(hop["lost"] - 0.01 * hop["packets"]) < 5 * math.sqrt(0.01 * hop["packets"])


@pytest.mark.parametrize("rate", [2_000_000, 50_000_000])
def test_udp_is_held_to_the_rate(lab: Lab, rate: int) -> None:
    a, b = lab.pair()
    lab.join(a, b, link(rate=rate))
    size = 1000 if rate < 10**7 else 1400
    count = int(1.5 * rate / 8 / (size + 42))
    arrivals = train(a, b, count, 1 / count, size=size, settle=1.0)
    # By the median of ten parts: a machine that stands still for a moment spoils one or two of them.
    part = len(arrivals) // 10
    edges = [arrivals[number * part].at for number in range(11) if number * part < len(arrivals)]
    measured = quantile([part * (size + 42) * 8 / (then - since) for since, then in pairwise(edges)], 0.5)
    assert 0.9 * rate < measured < 1.03 * rate
    assert lab.client.counters()["links"]["l"]["a->b"]["overflowed"] > 0


def test_super_frames_wait_whole(lab: Lab) -> None:
    """Of a link that delays and does nothing to single frames; not a byte is another's afterwards."""
    a, b = lab.pair()
    lab.join(a, b, link(delay=0.002))
    tcp(a, b, 6_000_000)
    until(lambda: lab.client.counters()["held"] == 0, "all frames have left")
    flow = lab.client.counters()["flows"]["a1"]
    assert flow["bytes"] == flow["sent_bytes"] > 6_000_000


def test_duplicates_and_corruption(lab: Lab) -> None:
    a, b = lab.pair()
    lab.join(a, b, link(duplicate=0.1, corrupt=0.1, seed=2))
    arrivals = train(a, b, 1000, 0.0002)
    counters = lab.client.counters()["links"]["l"]["a->b"]
    numbers = [arrival.number for arrival in arrivals]
    twice = {number for number in numbers if numbers.count(number) == 2}
    assert abs(len(twice) - 90) < 60
    assert abs(counters["corrupted"] - 100) < 60
    # Nearly every flipped bit is seen by a checksum (or makes it another host's packet) and costs the packet.
    gone = set(range(1000)) - set(numbers)
    assert len(gone) > 0.7 * 0.9 * counters["corrupted"]


def test_an_impairment_comes_and_goes_while_running(lab: Lab) -> None:
    a, b = lab.pair()
    lab.join(a, b, link())
    with noise(a, b):
        until(lambda: lab.client.counters()["flows"]["a1"]["packets"] > 5, "frames come")
        for number in range(20):
            lab.client.change([link(delay=0.002 * (number % 3), rate=10**8 if number % 2 else None)])
            time.sleep(0.02)
        lab.client.change([link()])
    until(lambda: lab.client.counters()["held"] == 0, "all frames have left")
    flow = lab.client.counters()["flows"]["a1"]
    assert flow["packets"] == flow["sent_packets"] > 100, "none was lost by the changes"
    assert quantile([arrival.delay for arrival in train(a, b, 50, 0.001)], 0.5) < 0.002


def test_wrong_requests_change_nothing(lab: Lab) -> None:
    a, b = lab.pair()
    lab.join(a, b, link(delay=0.001))
    cases: list[tuple[Callable[[], None], str]] = [
        (lambda: lab.client.change([], [FlowSpec("v", "nowhere", (), b.name)]), "no interface 'nowhere'"),
        (
            lambda: lab.client.change([], [FlowSpec("v", a.name, (("m", "a->b"),), b.name)]),
            "link 'm', which is not",
        ),
        (lambda: lab.client.change(remove_links=["l"]), "crosses link 'l'"),
        (lambda: lab.client.change(remove_flows=["x"]), "no flow 'x'"),
    ]
    for change, message in cases:
        with pytest.raises(SettingsError, match=message):
            change()
    assert len(train(a, b, 20, 0.001)) == 20
    lab.client.change(remove_flows=[a.name, b.name], remove_links=["l"])
    assert train(a, b, 5, 0.001, settle=0.1) == []


def test_garbage_on_the_socket_ends_nothing(lab: Lab) -> None:
    a, b = lab.pair()
    lab.join(a, b)
    dice = random.Random(3)
    for _ in range(100):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(lab.folder / "relay"))
            body = dice.randbytes(dice.randrange(200))
            length = dice.choice([len(body), len(body) + 5, 2**32 - 1])
            connection.sendall(struct.pack("!I", length) + body)
    deep = b'{"op":' * 50_000
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(lab.folder / "relay"))
        connection.sendall(struct.pack("!I", len(deep)) + deep)
        assert b"error" in connection.recv(1000)
    assert lab.client.hello().pid == lab.relay.pid  # type: ignore[union-attr]
    assert len(train(a, b, 20, 0.001)) == 20


def test_500_links_end_with_the_relay(lab: Lab) -> None:
    names = [(f"x{number}", f"y{number}") for number in range(500)]
    # Both ends in the fabric: only how many the relay listens to matters here.
    batch = "".join(
        f"link add {x} type veth peer name {y}\nlink set {x} up\nlink set {y} up\n" for x, y in names
    )
    namespaces.run_inside(lab.fabric, ["ip", "-batch", "-"], batch)
    specs = [FlowSpec("v", one, (("l", "a->b"),), other) for x, y in names for one, other in ((x, y), (y, x))]
    lab.client.change([link(delay=0.001)], specs)
    assert len(lab.client.counters()["flows"]) == 1000
    relay = lab.relay
    assert relay is not None
    begun = time.monotonic()
    relay.send_signal(signal.SIGKILL)
    relay.wait(5)
    assert time.monotonic() - begun < 0.5
    with pytest.raises(EmulationError, match="does not answer"):
        lab.client.hello()
    # The namespace is as it was: nothing of the relay holds an interface.
    begun = time.monotonic()
    namespaces.run_inside(lab.fabric, ["ip", "link", "del", "x0"])
    assert time.monotonic() - begun < 0.5


def test_it_ends_with_its_parent() -> None:
    """The parent is killed; the relay notices by itself."""
    program = """
import json, os, sys, time
sys.path.insert(0, sys.argv[1])
from tests.links.lab import Lab
lab = Lab()
lab.start_relay()
print(lab.relay.pid, flush=True)
time.sleep(60)
"""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parent = subprocess.Popen([sys.executable, "-c", program, root], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
        watch = os.pidfd_open(pid)
        parent.kill()
        parent.wait()
        until(lambda: _ended(watch), "the relay has ended", 2)
    os.close(watch)


def _ended(pidfd: int) -> bool:
    return bool(select.select([pidfd], [], [], 0)[0])


def test_stop(lab: Lab) -> None:
    lab.client.stop()
    assert lab.relay is not None
    assert lab.relay.wait(2) == 0
    with pytest.raises(EmulationError, match="no relay answers"):
        RelayClient(lab.folder / "relay")
    assert json.dumps(lab.log()) == '""'
