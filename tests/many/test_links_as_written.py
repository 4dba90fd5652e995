"""Impairments where people write them, on a bed: a topology's PoP links, virtual links of the options."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_sonemu.descriptors.model import NetworkService
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.testbed import TestBed
from pytest_sonemu.topology.read import read_topology
from tests.many.test_impaired_links import one_way
from tests.many.test_scheduled_links import numbers_that_came

TOPOLOGY = """\
pops: [pop1, pop2, pop3]
links:
  - {between: [pop1, pop2], delay: 2ms, "pop2 -> pop1": {delay: 30ms}}
  - between: [pop3, pop1]
    rate: 100Mbit
    burst: 15K
    "pop1->pop3": {loss: 40%, loss_correlation: 20%, seed: 5}
"""
SERVICE = NetworkService.of(
    "written",
    [],
    {"far": ["a", "b"], "beside": ["d", "c"], "lossy": ["l", "m"]},
    lans={"lan": ["e", "f", "g"], "slow": ["h", "i", "j"]},
)
POPS = {"pop1": "acefhil", "pop2": "bdgj", "pop3": "m"}
LINKS = {"far": {"delay": "20ms", "b->a": {"delay": "60ms"}}, "slow": {"delay": "50ms"}}


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestBed]:
    file = tmp_path_factory.mktemp("topology") / "topology.yml"
    file.write_text(TOPOLOGY)
    with TestBed(read_topology(file), seed=7) as bed:
        yield bed


@pytest.fixture(scope="module")
def service(bed: TestBed) -> Service:
    where = {sap: {"pop": pop} for pop, saps in POPS.items() for sap in saps}
    return bed.start(SERVICE, saps=where, links=LINKS)


def rtt(service: Service, source: str, target: str) -> float:
    result = service.ping(source, target, 5, interval=0.01).rtt
    assert result is not None
    return result.min


def test_one_direction_of_a_pop_link_of_the_file_is_another(service: Service) -> None:
    """For an E-Line whose first end is behind it, and for an E-LAN over it."""
    for there, back in (("c", "d"), ("e", "g")):
        assert 0.002 <= one_way(service, there, back) < 0.02
        assert 0.03 <= one_way(service, back, there) < 0.09
    assert rtt(service, "e", "f") < 0.02, "members in one PoP cross no PoP link"


def test_a_virtual_link_of_the_options_has_its_own_on_top_and_no_other_has(service: Service) -> None:
    assert 0.022 <= one_way(service, "a", "b") < 0.06
    assert one_way(service, "b", "a") >= 0.09
    assert 0.032 <= rtt(service, "c", "d") < 0.1, "over the same PoP link"
    assert 0.1 <= rtt(service, "h", "i") < 0.15, "frames are impaired where they enter an E-LAN"
    assert 0.132 <= rtt(service, "h", "j") < 0.19


def test_a_block_changes_what_is_written_only_for_its_time(bed: TestBed, service: Service) -> None:
    with service.link("far").impair(delay="1ms"), bed.link("pop1", "pop2").impair(delay=None):
        assert rtt(service, "a", "b") < 0.02
        assert rtt(service, "c", "d") < 0.02
    assert rtt(service, "b", "a") >= 0.112
    assert 0.032 <= rtt(service, "c", "d") < 0.1


def test_the_seed_of_the_file_loses_the_same_packets_in_its_direction_alone(service: Service) -> None:
    view = service.view("test_one")
    first = numbers_that_came(service, 60, "l", "m")
    assert not view.close_view()
    view = service.view("test_two")
    again, back = numbers_that_came(service, 60, "l", "m"), numbers_that_came(service, 60, "m", "l")
    assert not view.close_view()
    assert first == again
    assert 10 < len(first) < 58
    assert back == list(range(60))
