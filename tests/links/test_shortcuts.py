"""What nothing is done to is carried by the kernel alone; what is impaired, is; and nobody can tell."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_sonemu.emulation import namespaces
from pytest_sonemu.relay.core import CORE, CorePath
from pytest_sonemu.relay.model import Impairment, LinkSpec
from pytest_sonemu.relay.redirects import Redirects
from pytest_sonemu.relay.shortcuts import Shortcuts
from tests.links.lab import Lab, Site, end, flows, quantile, train, until
from tests.links.test_relay import noise, tcp

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
    pytest.mark.skipif(not CORE.exists(), reason="the core was not built: make core"),
]


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        lab.start_relay("--engine", "core", shortcuts=True)
        yield lab
        assert lab.log() == ""


def by_kernel(lab: Lab, site: Site) -> int:
    count = lab.client.counters()["flows"][site.name]["kernel"]
    assert isinstance(count, int)
    return count


def delay(lab: Lab, a: Site, b: Site) -> float:
    return quantile([arrival.delay for arrival in train(a, b, 30, 0.002)], 0.5)


def both(**impairment: Any) -> LinkSpec:
    return LinkSpec("l", Impairment(**impairment), Impairment(**impairment))


def test_the_direction_that_is_not_impaired(lab: Lab) -> None:
    a, b = lab.pair()
    lab.join(a, b, LinkSpec("l", forward=Impairment(delay=0.02)))
    assert delay(lab, a, b) >= 0.02
    assert delay(lab, b, a) < 0.01
    assert by_kernel(lab, a) == 0
    assert by_kernel(lab, b) >= 30


def test_counters_go_on_whoever_carries(lab: Lab) -> None:
    a, b = lab.pair()
    lab.join(a, b, both())
    tcp(a, b, 1_000_000)
    before = lab.client.counters()
    assert by_kernel(lab, a) >= 1_000_000 / 1448
    for impairment in (both(delay=0.001), both(), both(delay=0.001), both()):
        lab.client.change([impairment])
        until(lambda: lab.client.counters()["held"] == 0, "all frames have left")
        assert len(train(a, b, 100, 0.0005, size=200)) == 100
    after = lab.client.counters()
    flow, earlier = after["flows"][a.name], before["flows"][a.name]
    assert flow["packets"] == flow["sent_packets"]
    # Address resolution is among them.
    assert 400 <= flow["packets"] - earlier["packets"] < 420
    assert 400 * 242 <= flow["bytes"] - earlier["bytes"] < 400 * 242 + 20 * 60
    hop, link = flow["hops"][0], after["links"]["l"]["a->b"]
    assert hop["packets"] == link["packets"] == flow["packets"]
    assert hop["bytes"] == link["sent_bytes"] == flow["bytes"]


def test_no_frame_overtakes_one_that_is_on_its_way(lab: Lab) -> None:
    a, b = lab.pair()
    lab.join(a, b, both(delay=0.2))
    inbox = b.socket()
    inbox.bind((b.address, 4000))
    inbox.settimeout(5)
    out = a.socket()
    train(a, b, 1, 0.001, port=4001)  # addresses are known
    out.sendto(b"early", (b.address, 4000))
    lab.client.change([both()])
    out.sendto(b"late", (b.address, 4000))
    assert [inbox.recv(10), inbox.recv(10)] == [b"early", b"late"]
    before = by_kernel(lab, a)
    until(lambda: send(out, b) > 0 and by_kernel(lab, a) > before, "the kernel carries it once all have come")


def send(out: socket.socket, b: Site) -> int:
    return out.sendto(b"x", (b.address, 4000))


def test_few_frames_are_lost_or_doubled_by_going_over(lab: Lab) -> None:
    a, b = lab.pair()
    lab.join(a, b, both())
    with noise(b, a):
        for number in range(10):
            lab.client.change([both(delay=0.001 * (number % 2))])
            arrivals = train(a, b, 100, 0.0002)
            numbers = [arrival.number for arrival in arrivals]
            assert len(set(numbers)) >= 98
            assert len(numbers) <= 102


def test_a_flow_that_is_taken_away(lab: Lab) -> None:
    a, b = lab.pair()
    lab.join(a, b, both())
    assert len(train(a, b, 10, 0.001)) == 10
    lab.client.change(remove_flows=[a.name, b.name])
    assert train(a, b, 10, 0.001, settle=0.1) == []


def test_another_egress(lab: Lab) -> None:
    (a, b), c = lab.pair(), lab.site("c1", "10.1.0.2")
    lab.join(a, b, both())
    assert len(train(a, b, 5, 0.001)) == 5
    lab.client.change([], flows(a, c, both()), remove_flows=[b.name])
    namespaces.run_inside(a.namespace, ["ip", "neigh", "flush", "all"])
    assert len(train(a, c, 5, 0.001)) == 5


def test_a_relay_after_one_that_was_killed(lab: Lab) -> None:
    """The filters of the first are still there; what is impaired now must not go by them."""
    a, b = lab.pair()
    lab.join(a, b, both())
    relay = lab.relay
    assert relay is not None
    relay.send_signal(signal.SIGKILL)
    relay.wait()
    assert len(train(a, b, 5, 0.001)) == 5, "what nothing is done to outlives the relay"
    end(relay)
    (lab.folder / "relay").unlink()
    lab.start_relay("--engine", "core", shortcuts=True)
    lab.join(a, b, LinkSpec("l", forward=Impairment(delay=0.02)))
    assert delay(lab, a, b) >= 0.02
    assert delay(lab, b, a) < 0.01


def test_where_the_kernel_refuses() -> None:
    """A kernel without u32: the relay listens to all, as ever."""

    class Refusing(Redirects):
        def __init__(self) -> None: ...

        def add(self, ingress: int, egress: int) -> None:
            raise OSError(2, "no such filter")

        def remove(self, ingress: int) -> bool:
            return False

    heard: list[set[int]] = []
    paths = {1: CorePath("v", "", 0, [], 2), 2: CorePath("v", "", 0, [], 1)}
    Shortcuts(Refusing()).settle(paths, {1, 2}, heard.append)
    assert heard == [{1, 2}]


def test_redirects_of_nothing(lab: Lab) -> None:
    redirects = namespaces.inside(lab.fabric, Redirects)
    try:
        assert not redirects.remove(1)
        assert redirects.counted(1) == (0, 0)
        with pytest.raises(OSError, match="refused"):
            redirects.add(4711, 4712)
    finally:
        redirects.close()
