"""A firewall between two networks, and the table of what it may let through."""

from __future__ import annotations

import pytest

from pytest_sonemu import NetworkFunction, NetworkService, Service

RULES = """
table inet firewall {
    chain forward {
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        iifname "input" tcp dport 80 accept
        iifname "input" udp dport 5000 accept
        iifname "input" tcp dport 8080 reject
        iifname "input" meta l4proto icmp accept
    }
}
"""

FW = NetworkFunction(
    "fw",
    image="sonemu/vnf-base",  # or build="path/to/the/folder/of/a/Dockerfile"
    environment={"RULES": RULES},
    command=["sh", "-c", 'nft "$RULES" && exec sleep infinity'],
)

pytestmark = pytest.mark.sonemu(package=NetworkService.chain("input", FW, "output", name="firewall"))


def test_the_policy(service: Service) -> None:
    service.policy("""
        from    to      proto  port       verdict
        input   output  tcp    80         allow
        input   output  tcp    22,443     drop
        input   output  tcp    8080       reject
        input   output  udp    5000       allow
        input   output  icmp   -          allow
        output  input   tcp    1024-1030  deny
    """).check()


def test_one_rule_at_a_time(service: Service) -> None:
    dropped = service.connect("input", "output", tcp=22, listen=True, timeout=0.3)
    assert (dropped.outcome, dropped.lost_at) == ("dropped", "fw")  # seen into fw, not out of it
    rejected = service.connect("input", "output", tcp=8080, listen=True)
    assert (rejected.outcome, rejected.by) == ("rejected", "fw")


def test_a_row_that_does_not_hold_is_shown(service: Service) -> None:
    result = service.policy([("input", "output", "tcp", 22, "allow")])
    assert not result
    assert [row.seen for row in result.differences] == ["dropped, lost at fw"]
