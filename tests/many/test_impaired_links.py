"""Links behave as told on a bed: PoP links, virtual links, E-LANs; while they run; repeatably."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from pytest_sonemu.descriptors.model import NetworkFunction, NetworkService
from pytest_sonemu.errors import NotFoundError, SettingsError
from pytest_sonemu.handles.interface import InterfaceHandle
from pytest_sonemu.handles.link import Link
from pytest_sonemu.handles.pop_link import PopLinkHandle
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.testbed import TestBed
from pytest_sonemu.relay.model import MOST_HOPS
from pytest_sonemu.topology.model import PoP, PopLink, Topology
from tests.support.frames import Ear, Mouth, frame, ip_packet, numbered, numbers_in, wait_for
from tests.support.machine import wait
from tests.support.traffic import Broadcast, Numbered, bulk

SAPS = NetworkService.of("saps", [], {"near": ["a", "b"], "far": ["c", "d"]}, lans={"lan": ["e", "f", "g"]})
WHERE = {sap: {"pop": "pop1"} for sap in "abcef"} | {sap: {"pop": "pop2"} for sap in "dg"}
DELAY = 0.02
LINES = ("E-Line", "PoP link under an E-Line")
TOPOLOGY = Topology((PoP("pop1"), PoP("pop2")), (PopLink("pop1", "pop2", delay=DELAY),))
CHAIN = NetworkService.chain("in", NetworkFunction("vnf", image="sonemu/vnf-base"), "out")


@pytest.fixture(scope="module")
def bed() -> Iterator[TestBed]:
    with TestBed(TOPOLOGY, seed=7) as bed:
        yield bed


@pytest.fixture(scope="module")
def service(bed: TestBed) -> Service:
    return bed.start(SAPS, saps=WHERE)


@pytest.fixture(scope="module")
def plain_bed() -> Iterator[TestBed]:
    """The same where nothing is impaired."""
    with TestBed(Topology((PoP("pop1"), PoP("pop2")), (PopLink("pop1", "pop2"),)), seed=7) as bed:
        yield bed


@pytest.fixture(scope="module")
def plain(plain_bed: TestBed) -> Service:
    return plain_bed.start(SAPS, saps=WHERE)


def rtt(service: Service, source: str, target: str) -> float:
    return service.ping(source, target, 5, interval=0.01).rtt.min


def about(seconds: float) -> object:
    """Delays are held within 5 % or 0.3 ms; a busy machine may be late by more, never early."""
    return pytest.approx(seconds + 0.001, abs=0.0012 + seconds * 0.05)


def test_a_delay_of_the_topology_is_one_way_and_only_on_its_link(service: Service) -> None:
    assert service.link("near").realisation == "direct"
    assert service.link("far").realisation == service.link("lan").realisation == "relayed"
    assert rtt(service, "c", "d") == about(2 * DELAY)
    assert rtt(service, "e", "g") == about(2 * DELAY)
    assert rtt(service, "a", "b") < 0.002
    assert rtt(service, "e", "f") < 0.002


def test_a_pop_link_is_impaired_for_a_block_and_is_as_before_after_it(bed: TestBed, service: Service) -> None:
    with bed.link("pop2", "pop1").impair(delay="50ms"):
        assert rtt(service, "c", "d") == about(0.1)
        with bed.link("pop1", "pop2").impair(jitter="20ms", direction="pop1->pop2"):
            times = service.ping("g", "e", 20, interval=0.01).rtt
            assert times.min >= 0.08
            assert times.median - times.min > 0.003
        assert rtt(service, "a", "b") < 0.002
    assert rtt(service, "c", "d") == about(2 * DELAY)


def test_a_direction_alone(service: Service) -> None:
    with service.link("near").impair(delay="30ms", direction="a->b"):
        assert one_way(service, "a", "b") >= 0.03
        assert one_way(service, "b", "a") < 0.02
    with service.link("near").impair(delay="30ms", direction="b -> a"):
        assert one_way(service, "b", "a") >= 0.03
        assert one_way(service, "a", "b") < 0.02
    assert rtt(service, "a", "b") < 0.002


def one_way(service: Service, source: str, target: str) -> float:
    with service.flow(source, target, udp=4000, rate="100pps") as flow:
        assert wait(lambda: flow.received >= 5, 5)
    latency = flow.stats().latency
    assert latency is not None
    return latency.min


def test_what_cannot_be_done_to_a_link_does_not_stand_in_the_way() -> None:
    """A virtual link over as many impaired PoP links as a relay can carry it over."""
    pops = [f"p{number}" for number in range(MOST_HOPS + 1)]
    links = tuple(PopLink(a, b, delay=1e-4) for a, b in itertools.pairwise(pops))
    ends = {"c": {"pop": pops[0]}, "d": {"pop": pops[-1]}, "a": {"pop": pops[0]}, "b": {"pop": pops[0]}}
    with TestBed(Topology(tuple(map(PoP, pops)), links), seed=7) as bed:
        service = bed.start(NetworkService.of("far", [], {"far": ["c", "d"], "near": ["a", "b"]}), saps=ends)
        with pytest.raises(SettingsError, match="far/far': 129 hops; most is 128"):
            service.link("far").impair(delay="1ms").__enter__()
        with service.link("near").impair(delay="5ms"):
            assert rtt(service, "a", "b") >= 0.01
        assert bed.start(CHAIN).ping("in", "out", 1).received == 1


def test_a_virtual_link_is_impaired_alone_and_beside_its_pop_link(service: Service) -> None:
    with service.link("far").impair(delay="10ms"):
        assert rtt(service, "c", "d") == about(2 * DELAY + 0.02)
        assert rtt(service, "e", "g") == about(2 * DELAY)
    with service.link("lan").impair(delay="10ms"):
        assert rtt(service, "e", "f") == about(0.02)
        assert rtt(service, "e", "g") == about(2 * DELAY + 0.02)
        assert rtt(service, "c", "d") == about(2 * DELAY)
    assert rtt(service, "e", "f") < 0.002


def test_the_same_seed_loses_the_same_packets_whatever_else_crosses_the_link(
    bed: TestBed, service: Service
) -> None:
    def lost(*, beside: bool) -> list[int]:
        with bed.link("pop1", "pop2").impair(loss="20%", delay=0, direction="pop1->pop2", seed=11):
            return numbers_lost(service, beside=beside)

    first = lost(beside=False)
    assert 20 <= len(first) <= 100  # of 300; 99.99 % of all seeds lie within
    assert lost(beside=False) == first
    assert lost(beside=True) == first


def numbers_lost(service: Service, *, beside: bool) -> list[int]:
    """Which of 300 numbered IP packets from `c` did not come to `d`."""
    ear, mouth = Ear(service.sap("d")), Mouth(service.sap("c"), "c")
    other = Mouth(service.sap("e"), "e")
    source, target = service.sap("c").mac(), service.sap("d").mac()
    for number in range(300):
        if beside:
            other.send(frame(service.sap("g").mac(), service.sap("e").mac(), ip_packet(b"beside"), 0x0800))
        mouth.send(frame(target, source, numbered(number), 0x0800))
    heard = wait_for([ear], b"number", timeout=2.0).get("d:d", [])
    for each in (ear, mouth, other):
        each.close()
    return sorted(set(range(300)) - numbers_in(heard))


def test_a_rate_holds_tcp(service: Service) -> None:
    with service.link("near").impair(rate="20Mbit"):
        a, b = service.sap("a"), service.sap("b")
        began = time.monotonic()
        assert bulk(a, b, b.ip(), 5_000_000) == 5_000_000
        took = time.monotonic() - began
    assert 1.9 < took < 3.0  # 40 Mbit over 20 Mbit/s


@pytest.mark.parametrize(
    ("source", "target", "kind"),
    [
        ("a", "b", "E-Line"),
        ("e", "f", "E-LAN"),
        ("e", "g", "E-LAN over two PoPs"),
        ("e", "f", "what one member sends"),
        ("e", "f", "what one member is given"),
        ("c", "d", "PoP link under an E-Line"),
        ("e", "g", "PoP link under an E-LAN"),
    ],
)
def test_going_over_and_back_loses_nothing_and_no_endpoint_notices(
    plain_bed: TestBed, plain: Service, source: str, target: str, kind: str
) -> None:
    """At 1,000 packets a second, over ten changes; on an E-LAN a packet may come twice on the way back."""
    impairable: PopLinkHandle | Link | InterfaceHandle
    if kind.startswith("PoP link"):
        impairable = plain_bed.link("pop1", "pop2")
    elif "member" in kind:
        member = plain.sap("e" if "sends" in kind else "f")
        impairable = member.interface(member.id)
    else:
        impairable = plain.link("near" if kind == "E-Line" else "lan")
    numbered = Numbered(plain.sap(source), plain.sap(target), 1000)
    before = [noticed(plain, sap) for sap in (source, target)]
    with numbered:
        for _ in range(5):
            with impairable.impair(delay="5ms"):
                assert numbered.more(60)
            assert numbered.more(60)
    assert numbered.lost <= 3, numbered
    assert numbered.twice <= (5 if kind in LINES else 20), numbered
    assert [noticed(plain, sap) for sap in (source, target)] == before


@pytest.mark.parametrize(
    ("source", "others", "kind"),
    [("e", "fg", "E-LAN"), ("e", "f", "one member of an E-LAN"), ("e", "g", "PoP link under an E-LAN")],
)
def test_going_over_nobody_hears_himself_or_others_twice(
    plain_bed: TestBed, plain: Service, source: str, others: str, kind: str
) -> None:
    """Relay and bridge both have a port's frames for a while: only one of them may pass them on."""
    sap = plain.sap(source)
    impairable: PopLinkHandle | Link | InterfaceHandle = plain.link("lan")
    if kind.startswith("PoP link"):
        impairable = plain_bed.link("pop1", "pop2")
    elif "member" in kind:
        impairable = sap.interface(source)
    disturbed = lost = 0
    for _ in range(8):
        with Broadcast(sap, [plain.sap(other) for other in others]) as broadcast:
            assert broadcast.more(20)
            with impairable.impair(delay="5ms"):
                assert broadcast.more(40)
            assert broadcast.more(40)
        came = [broadcast.heard[other] for other in others]
        lost += sum(broadcast.sent - len(set(numbers)) for numbers in came)
        disturbed += bool(broadcast.heard[source] or any(len(n) > len(set(n)) for n in came))
    # Where both passed frames on while the relay was told, five to eight of eight were disturbed each way.
    assert disturbed <= 3
    assert lost <= 3


def noticed(service: Service, sap: str) -> tuple[int, str, str]:
    """How often an endpoint's carrier has changed; its addresses; its routes."""
    tool = service.sap(sap).tool
    (link,) = json.loads(tool(["ip", "-j", "-s", "-s", "link", "show", sap]).stdout)
    return (
        link["stats64"]["tx"]["carrier_changes"],
        tool(["ip", "-o", "addr", "show", sap]).stdout,
        tool(["ip", "route"]).stdout,
    )


def test_probes_see_what_crosses_a_relayed_link(service: Service) -> None:
    result = service.connect("c", "d", tcp=4000, listen=True)
    assert (result.outcome, result.path.open) == ("open", True)
    assert service.connect("c", "d", tcp=4000).outcome == "refused"
    assert service.trace("c", "d", tcp=4000).hops == ["d"]
    with service.link("far").capture("icmp", direction="in") as capture:
        assert service.ping("c", "d", 3).loss == 0
    assert {packet.at for packet in capture.packets} == {"c", "d"}


def test_a_relayed_link_is_taken_down_like_any_other(bed: TestBed, service: Service) -> None:
    far, pop_link = service.link("far"), bed.link("pop1", "pop2")
    for take_down in (far.down, partial(far.down, carrier=False), pop_link.down):
        with take_down():
            assert service.ping("c", "d", 1, timeout=0.2).received == 0
        assert wait(lambda: service.ping("c", "d", 1, timeout=0.2).received == 1, 3)
    with bed.link("pop1", "pop2").down():
        assert service.ping("e", "g", 1, timeout=0.2).received == 0
        assert service.ping("e", "f", 1).received == 1
    assert wait(lambda: service.ping("e", "g", 1, timeout=0.2).received == 1, 3)


def test_a_vnf_that_restarts_has_its_impaired_links_again(bed: TestBed) -> None:
    service = bed.start(CHAIN)
    try:
        with service.link("link-1").impair(delay="10ms"):
            assert rtt(service, "in", "out") == about(0.02)
            service.vnf("vnf").restart()
            assert rtt(service, "in", "out") == about(0.02)
        assert rtt(service, "in", "out") < 0.003
        service.vnf("vnf").restart()
        assert rtt(service, "in", "out") < 0.003
    finally:
        service.stop()


def test_a_relay_that_is_killed_is_named_and_another_goes_on(bed: TestBed, service: Service) -> None:
    assert rtt(service, "c", "d") == about(2 * DELAY)
    before = _relay_of(bed)
    os.kill(before, signal.SIGKILL)
    assert wait(lambda: service.ping("c", "d", 1, timeout=0.2).received == 1, 5)
    assert _relay_of(bed) not in (0, before)
    assert rtt(service, "c", "d") == about(2 * DELAY)
    assert any("relay ended" in note for note in bed.notes)


def test_a_port_is_whole_again_after_a_relay_that_died_too_often() -> None:
    """What the kernel carried for the relay, out of `a`, outlives it, and must not swallow frames."""
    lan = NetworkService.of("lan", [], {}, lans={"lan": ["a", "b"]})
    with TestBed() as bed:
        service = bed.start(lan)
        (own,) = service.sap("a").interfaces
        with service.sap("a").interface(own.name).impair(direction="in", delay="5ms"):
            assert rtt(service, "a", "b") == about(0.005)
            for _ in range(4):
                assert wait(lambda: service.ping("b", "a", 1, timeout=0.2).received == 1, 5)
                os.kill(_relay_of(bed), signal.SIGKILL)
            assert wait(lambda: any("ended too often" in note for note in bed.notes), 5)
        assert service.ping("a", "b").loss == service.ping("b", "a").loss == 0


def _relay_of(bed: TestBed) -> int:
    """The pid of the bed's relay; 0 if there is none."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                if int(parent) == bed.keeper_pid and "relay" in (entry / "cmdline").read_text():
                    return int(entry.name)
            except OSError:
                continue
    return 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"delayy": "1ms"}, r"delayy: no such impairment \(did you mean 'delay'\?\)"),
        ({"loss": "200%"}, "loss: '200%' is more than 100 %"),
        ({"delay": "1ms", "direction": "a->c"}, "neither 'a->b' nor 'b->a'"),
    ],
)
def test_what_cannot_be_asked_is_said(service: Service, values: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message), service.link("near").impair(**values):
        pytest.fail("nothing was said")


def test_an_unknown_pop_link_is_named(bed: TestBed) -> None:
    with pytest.raises(NotFoundError, match="no PoP link 'pop1-pop9'"):
        bed.link("pop1", "pop9")


def test_stats_say_what_the_relay_did(bed: TestBed, service: Service) -> None:
    link = service.link("near")
    before = link.stats()["a"]
    with link.impair(loss="50%", direction="a->b", seed=3):
        received = service.ping("a", "b", 40, interval=0.002, timeout=0.2).received
        stats = link.stats()
    now = stats["a"]
    assert stats.late is not None
    assert 0 <= stats.late < 10
    gone = now.lost - before.lost
    assert gone == now.dropped - before.dropped
    assert 40 - received <= gone <= 43 - received  # ARP may be lost too
    assert 8 <= gone <= 32
    assert link.stats()["a"].lost == now.lost  # what was counted stays when the link is direct again
    assert link.stats()["b"].lost == 0
    with service.link("near").impair(duplicate="100%", delay="300ms", direction="a->b"):
        service.ping("a", "b", 3, interval=0.001, timeout=0.01)
        under_way = link.stats()["a"]
    assert under_way.dropped == now.dropped
    assert under_way.duplicated - now.duplicated >= 2


def test_stats_of_a_pop_link_have_the_relays_counters(bed: TestBed, service: Service) -> None:
    assert service.ping("c", "d", 1).received == 1
    before = bed.link("pop1", "pop2").stats()["pop1"]
    with bed.link("pop1", "pop2").impair(loss="100%", direction="pop1->pop2"):
        assert service.ping("c", "d", 3, timeout=0.1).received == 0
    after = bed.link("pop1", "pop2").stats()["pop1"]
    assert after.lost - before.lost >= 3
    assert after.dropped - before.dropped == after.lost - before.lost


def test_an_interface_has_a_cable_of_its_own(bed: TestBed) -> None:
    vnfs = {"vnf": {"interfaces": {"input": {"delay": "10ms", "in": {"delay": "30ms"}}}}}
    service = bed.start(CHAIN, vnfs=vnfs, saps={"out": {"interfaces": {"out": {"delay": "5ms"}}}})
    try:
        assert rtt(service, "in", "out") == about(0.05)
        with service.vnf("vnf").interface("input").impair(delay=0):
            assert rtt(service, "in", "out") == about(0.01)
        service.vnf("vnf").restart()
        with service.vnf("vnf").interface("output").impair(delay="20ms", direction="out"):
            assert rtt(service, "in", "out") == about(0.07)
    finally:
        service.stop()


def test_an_interface_of_an_e_lan_is_impaired_alone(service: Service) -> None:
    with service.sap("e").interface("e").impair(delay="20ms", direction="in"):
        assert rtt(service, "e", "f") == about(0.02)
        assert rtt(service, "f", "e") == about(0.02)
    assert rtt(service, "e", "f") < 0.002
