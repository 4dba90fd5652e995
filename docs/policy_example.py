"""A table of what may pass: the guide's example, which runs as a test."""

from __future__ import annotations

import pytest

from pytest_sonemu import Service

pytestmark = pytest.mark.sonemu(
    topology="../example_packages/firewall/two-pops.yml", package="../example_packages/firewall"
)


def test_the_policy(service: Service) -> None:
    result = service.policy("""
        from    to      proto  port       verdict
        input   server  tcp    80         allow
        input   server  tcp    22,443     drop
        input   server  tcp    8080       reject
        input   server  udp    5000       allow
        input   server  icmp   -          allow
        server  input   tcp    1024-1030  deny
    """)
    result.check()
