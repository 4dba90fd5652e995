"""Both servers answer, by turns, and only through the balancer."""

from __future__ import annotations

from collections import Counter
from time import monotonic

import pytest

from pytest_sonemu import Service

pytestmark = pytest.mark.sonemu(topology="two-sites.yml", package=".")


def answers(service: Service, count: int) -> Counter[str]:
    """Who answered how many of `count` requests to the balancer."""
    with service.sap("input").session() as browser:
        pages = [browser.get("http://lb/", timeout=5) for _ in range(count)]
    assert [page.status_code for page in pages] == [200] * count
    return Counter(page.text.partition(",")[0] for page in pages)


def test_both_servers_answer_by_turns(service: Service) -> None:
    assert answers(service, 20) == {"web1": 10, "web2": 10}


def test_the_servers_see_the_balancer(service: Service) -> None:
    page = service.sap("input").http("http://lb/").text
    who = f"asked by {service.vnf('lb').ip('back')} for {service.sap('input').ip()}\n"
    assert page.endswith(who)


@pytest.mark.parametrize("server", ["web1", "web2"])
def test_a_server_is_reached_through_the_balancer_only(service: Service, server: str) -> None:
    assert service.connect("lb", server, tcp=80).outcome == "open"
    probe = service.connect("input", server, tcp=80, timeout=0.3)
    assert (probe.outcome, probe.lost_at) == ("dropped", "lb")  # it balances, it does not route
    assert service.sap("input").ping(server, count=1, timeout=0.3).received == 0


def test_one_server_down_is_not_noticed(service: Service) -> None:
    service.vnf("web1").kill()  # it is started again after this test
    assert answers(service, 10) == {"web2": 10}


def test_a_server_that_came_back_is_used_again(service: Service) -> None:
    service.vnf("web2").restart()
    seen = answers(service, 2)
    deadline = monotonic() + 10  # the balancer tries a server again a second after it failed
    while len(seen) < 2 and monotonic() < deadline:
        seen += answers(service, 2)
    assert set(seen) == {"web1", "web2"}
