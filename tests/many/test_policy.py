"""Tables of what may pass are tried on a real firewall."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_sonemu.errors import NotFoundError
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.testbed import TestBed

FIREWALL = Path(__file__).parents[2] / "example_packages" / "firewall"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with TestBed(FIREWALL / "two-pops.yml") as bed:
        yield bed.start(FIREWALL)


def test_a_table_that_holds(service: Service) -> None:
    result = service.policy(
        """
        from    to      proto  port        verdict
        input   server  tcp    80          allow
        input   server  tcp    22,23,443   drop
        input   server  tcp    8080        reject
        input   server  udp    5000        open
        input   server  udp    53          deny
        input   server  icmp   -           allow
        server  input   tcp    80          dropped
        server  input   icmp   -           deny
        """
    )
    assert result, str(result)
    assert len(result.rows) == 10
    probes = {str(row.rule): row for row in result.rows}
    assert probes["input server tcp 8080 reject"].seen == "rejected by fw"
    assert probes["input server udp 53 deny"].seen == "dropped, lost at fw"


def test_a_table_that_does_not(service: Service) -> None:
    result = service.policy([("input", "server", "tcp", 80, "deny"), ("input", "server", "tcp", 22, "allow")])
    assert not result
    assert [row.outcome for row in result.differences] == ["open", "dropped"]
    assert "+ input  server  tcp    22    dropped, lost at fw" in str(result)
    assert len(repr(result)) < 200


def test_two_hundred_rows_in_three_seconds(service: Service) -> None:
    rows: list[tuple[object, ...]]
    rows = [("input", "server", "tcp", port, "drop") for port in range(1000, 1150)]
    rows += [("input", "server", "udp", port, "drop") for port in range(1000, 1025)]
    rows += [("input", "server", "tcp", 80, "allow"), ("input", "fw:input", "icmp", "-", "allow")]
    rows += [("fw", "server", "tcp", port, "allow") for port in range(2000, 2023)]
    result = service.policy(rows)
    assert result, str(result)
    assert len(result.rows) == 200
    assert result.duration < 3


def test_listeners_are_ours_for_the_time_of_the_table(service: Service) -> None:
    result = service.policy("fw server tcp 81 allow\nfw server tcp 80 allow\nfw server udp 81 open")
    assert [getattr(row.probe, "listener", None) for row in result.rows] == ["ours", "theirs", "ours"]
    assert service.connect("fw", "server", tcp=81).outcome == "refused"


def test_who_is_not_there_is_named(service: Service) -> None:
    with pytest.raises(NotFoundError, match="servr"):
        service.policy("input servr tcp 80 allow\n")


def test_a_router_without_a_route_rejects_every_row(service: Service) -> None:
    # Of these errors a kernel sends five, then one a second.
    rows = "".join(
        f"input 198.51.100.1 {way} {port} reject\n" for way in ("tcp", "udp") for port in range(80, 86)
    )
    sap, fw = service.sap("input"), service.vnf("fw").ip("input")
    sap.run("ip", "route", "add", "198.51.100.1", "via", str(fw)).check()
    try:
        result = service.policy(rows, timeout=0.3)
    finally:
        sap.run("ip", "route", "del", "198.51.100.1").check()
    assert result, str(result)
    assert len(result.rows) == 12
